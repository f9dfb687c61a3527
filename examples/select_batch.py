"""Choose which structures of a pool to label next, without a simulation, and write them to a file."""

import sys

from ase.io import read, write

from ase_bmdal import load_model, select_batch

if len(sys.argv) != 5:
    sys.exit("usage: python select_batch.py MODEL LABELLED POOL CHOSEN")
model, labelled, pool = load_model(sys.argv[1]), read(sys.argv[2], ":"), read(sys.argv[3], ":")

chosen = select_batch(model, pool, min(10, len(pool)), known=labelled, selection="MAXDET + GP(LL)", seed=0)
print("label next:", *chosen)
write(sys.argv[4], [pool[index] for index in chosen])
