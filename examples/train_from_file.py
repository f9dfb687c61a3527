"""Train on structures that are labelled already, choose which to label next, and use the potential."""

import sys

from ase.io import read
from ase.optimize import BFGS

from ase_bmdal import GMNNCalculator, select_batch, train

if len(sys.argv) != 3:
    sys.exit("usage: python train_from_file.py LABELLED POOL")
labelled, pool = read(sys.argv[1], ":"), read(sys.argv[2], ":")

model = train(labelled, cutoff=5.0, epochs=100, seed=0)
model.save("model.npz")

# MAXDET + GP(LL): the ten structures of the pool that tell most beyond what is labelled.
print("label next:", *select_batch(model, pool, min(10, len(pool)), known=labelled, seed=0))

atoms = pool[0].copy()
atoms.calc = GMNNCalculator("model.npz")
BFGS(atoms).run(fmax=0.05)
