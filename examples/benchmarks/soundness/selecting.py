"""Which selection needs the fewest labels: potentials from scratch on what each one picks from a labelled pool.

All selections of a seed begin with the same random structures. Writes a line for each training; started again, it goes
on with the curves that are not complete.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from data import load
from recipes import Recipe, add_arguments, recipe
from results import Record, append, commit, is_done, read

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measures

from ase_bmdal import train
from ase_bmdal.acquisition.acquisition import Acquisition
from ase_bmdal.acquisition.ranking import rank
from ase_bmdal.common.randomness import stream
from ase_bmdal.kernels import absolute_error_forces

SELECTIONS = (
    "MAXDIAG + RND",
    "LCMD + FEAT(RP)",
    "MAXDET + GP(RP)",
    "MAXDET + GP(LL)",
    "LCMD + FEAT(LL)",
)


@dataclass(frozen=True)
class Curve:
    """A pool, what is tested on, and the sizes of the training sets.

    Attributes
    ----------
    pool, tests
        Files.
    cutoff
        Å.
    sizes
        Structures in each training set; the first one is random.
    """

    pool: str
    tests: tuple[str, ...]
    cutoff: float
    sizes: tuple[int, ...] = (20, 60, 100)


CURVES = {
    "aspirin": Curve("aspirin_md17_pool", ("aspirin_md17_test",), 4.0),
    "temperatures": Curve("ethanol_mixed", ("ethanol_500", "ethanol_1000"), 5.0),
    "compound": Curve("compound_pool", ("compound_test", "compound_strained"), 5.5, (10, 25, 40)),
    "tio2": Curve("tio2_pool", ("tio2_test",), 6.5),
}


def curve(of: Curve, how: Recipe, selection: str, seed: int, data: Path) -> Iterator[Record]:
    """Train and test on growing training sets."""
    pool, tests = load(of.pool, data), {file: load(file, data) for file in of.tests}
    picked = stream(seed, "initial structures").permutation(len(pool))[: of.sizes[0]].tolist()
    for size, larger in zip(of.sizes, (*of.sizes[1:], None), strict=True):
        structures = [pool[index] for index in picked]
        start = time.perf_counter()
        model = train(
            structures,
            architecture=how.settings("architecture", cutoff=of.cutoff),
            training=how.settings("training"),
            seed=seed,
            name_outliers=False,
        )
        found: Record = {"n": size, "seconds": {"training": round(time.perf_counter() - start, 1)}}
        found["errors"] = {file: _errors(model.predict(frames), frames) for file, frames in tests.items()}
        if larger:
            start = time.perf_counter()
            choice = rank(Acquisition.parse(selection), model, pool, structures, seed=seed, draw=size)
            picked += choice.best(larger - size, tried=picked)
            found["seconds"]["selection"] = round(time.perf_counter() - start, 1)
        yield found


def _errors(predicted: Sequence[measures.Label], frames: Sequence[Atoms]) -> Record:
    """As `measures.errors`, with the largest mean absolute error of a structure, eq. 24 of the paper, in eV/Å."""
    each = absolute_error_forces(
        [atoms.get_forces() for atoms in frames], [label.forces for label in predicted]
    )
    return measures.errors(predicted, frames) | {"force_maxe": round(float(each.max()), 4)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    add_arguments(options)
    options.add_argument("--data", type=Path, required=True, help="folder of the data")
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--curves", nargs="+", choices=list(CURVES), default=list(CURVES))
    options.add_argument("--selections", nargs="+", choices=SELECTIONS, default=list(SELECTIONS))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    wanted = options.parse_args()
    how, version = recipe(wanted.recipe, wanted.changes), commit()
    for seed in wanted.seeds:
        for name in wanted.curves:
            for selection in wanted.selections:
                key = {"kind": "selection", "recipe": how.name, "data": name, "selection": selection}
                key |= {"seed": seed, "commit": version}
                if is_done(read(wanted.out), **key, n=CURVES[name].sizes[-1]):
                    continue
                for found in curve(CURVES[name], how, selection, seed, wanted.data):
                    append(wanted.out, key | found)
                    rmse = {file: each["force_rmse"] for file, each in found["errors"].items()}
                    print(key, found["n"], rmse, flush=True)


if __name__ == "__main__":
    main()
