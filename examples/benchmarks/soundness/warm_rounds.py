"""What warm rounds cost: labels of a data set, ten more in each round, as a run trains on them and from scratch.

No structure is selected: both ways learn from the same ones, drawn at random. Writes a line for each potential that is
measured; started again, it goes on.
"""

import argparse
from pathlib import Path

from accuracy import training_structures
from ase import Atoms
from data import DATA, load
from long_runs import replay
from measure_long import measure
from recipes import add_arguments, recipe

from ase_bmdal.common.randomness import stream
from ase_bmdal.run.dataset import Dataset
from ase_bmdal.run.events import Cause
from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.labels import labels_carried


def as_run(structures: list[Atoms], folder: Path, batch: int) -> None:
    """Write labelled structures as a run that was given a batch of them in each round."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = Dataset(LabelStore(folder / "labels.db"))
    for start in range(len(dataset.entries), len(structures), batch):
        chosen = structures[start : start + batch]
        dataset.add(
            chosen,
            round=start // batch,
            source="pool" if start else "initial",
            cause=Cause.POOL_FULL if start else Cause.INITIAL,
            walkers=[""] * len(chosen),
            records=labels_carried(chosen),
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    add_arguments(options)
    options.add_argument("--data", type=Path, required=True, help="folder of the data")
    options.add_argument("--work", type=Path, required=True, help="folder of the runs")
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--name", choices=list(DATA), default="aspirin_md17", help="data set (%(default)s)")
    options.add_argument("--structures", type=int, default=100, help="(%(default)s)")
    options.add_argument("--batch", type=int, default=10, help="of a round (%(default)s)")
    options.add_argument(
        "--every", type=int, default=2, help="from scratch every so many rounds (%(default)s)"
    )
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    wanted = options.parse_args()
    how, of = recipe(wanted.recipe, wanted.changes), DATA[wanted.name]
    tests = {file: load(file, wanted.data) for file in of.inside}
    for seed in wanted.seeds:
        structures = training_structures(wanted.name, wanted.structures, seed, wanted.data)
        order = stream(seed, "rounds").permutation(len(structures))
        source = wanted.work / f"{wanted.name}-{seed}"
        as_run([structures[index] for index in order], source, wanted.batch)
        for way, every in (("rounds", 1), ("from scratch", wanted.every)):
            folder = source.with_name(f"{source.name}-{way.replace(' ', '-')}")
            replay(source, how, folder, of.cutoff, seed, scratch=way != "rounds", every=every, last=None)
            about = {"kind": "rounds", "data": wanted.name, "seed": seed, "way": way}
            measure(folder, tests, wanted.out, wanted.every, about)


if __name__ == "__main__":
    main()
