"""Makes the data of the benchmark, each file once; a file that is there is whole.

Energies in eV, forces in eV/Å, stresses in eV/Å³ where cells are periodic in three directions, as extended XYZ.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import curvature
import molecules
import published
import solids
from ase import Atoms
from ase.io import read, write

Maker = Callable[[], Iterator[Atoms]]


@dataclass(frozen=True)
class DataSet:
    """What is trained on and what is tested.

    Attributes
    ----------
    train
        File of the training structures.
    inside, outside
        Files of structures like those, and of others.
    reference
        Makes the calculator of the labels; None for published ones, which nothing is simulated of.
    cutoff
        Å.
    temperature
        Of the training structures, K.
    timestep
        Of simulations, fs.
    pool
        File of more structures like the training ones, to draw some from.
    """

    train: str
    inside: tuple[str, ...]
    outside: tuple[str, ...]
    reference: Callable[[], object] | None
    cutoff: float
    temperature: float = 0.0
    timestep: float = 0.0
    pool: str = ""


MAKERS: dict[str, Maker] = {**molecules.MAKERS, **solids.MAKERS}

DATA = {
    "acac": DataSet(
        "acac_train", ("acac_300",), ("acac_600", "acac_oh", "acac_acetyl"), molecules.gfn2, 5.0, 300.0, 0.5
    ),
    "ethanol": DataSet(
        "ethanol_train", ("ethanol_500",), ("ethanol_1000",), molecules.gfn2, 5.0, 500.0, 0.5, "ethanol_pool"
    ),
    "silicon": DataSet(
        "silicon_train",
        ("silicon_600",),
        ("silicon_1200", "silicon_volumes", "silicon_vacancy", "silicon_surface"),
        solids.tersoff,
        5.0,
        600.0,
        1.0,
    ),
    "copper": DataSet(
        "copper_train",
        ("copper_600",),
        ("copper_1200", "copper_volumes", "copper_vacancy", "copper_surface"),
        solids.emt,
        6.0,
        600.0,
        2.0,
    ),
    "compound": DataSet(
        "compound_train", ("compound_test",), ("compound_strained",), solids.emt, 5.5, 600.0, 2.0
    ),
    "aspirin_md17": DataSet("aspirin_md17_pool", ("aspirin_md17_test",), (), None, 4.0),
    "aspirin_rmd17": DataSet("aspirin_rmd17_pool", ("aspirin_rmd17_test",), (), None, 5.0),
    "tio2": DataSet("tio2_pool", ("tio2_test",), (), None, 6.5),
    "lmnto": DataSet("lmnto_pool", ("lmnto_test",), (), None, 6.5),
}


def with_reference() -> list[str]:
    """Names of the sets that can be simulated, and made anew."""
    return [name for name, of in DATA.items() if of.reference]


FILES = [*MAKERS, *published.MAKERS, *(f"{name}_curvature" for name in with_reference())]


@dataclass(frozen=True)
class LongRun:
    """A simulation that is learned on the fly.

    Attributes
    ----------
    structure, reference
        Make the first frame and the calculator that is learned.
    temperature
        K.
    timestep
        fs.
    cutoff
        Å.
    trajectory
        File of frames of the reference, the first held-out set.
    """

    structure: Callable[[], Atoms]
    reference: Callable[[], object]
    temperature: float
    timestep: float
    cutoff: float
    trajectory: str


LONG_RUNS = {
    "ethanol": LongRun(molecules.ethanol, molecules.gfn2, 500.0, 0.5, 5.0, "ethanol_500"),
    "copper": LongRun(solids.copper, solids.emt, 1200.0, 2.0, 6.0, "copper_1200"),
    "silicon": LongRun(solids.silicon, solids.tersoff, 1200.0, 1.0, 5.0, "silicon_1200"),
}


def make(folder: Path, names: list[str] | None = None) -> None:
    """Make the files that are missing, one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or [file for file in FILES if file not in published.MAKERS]:
        path = folder / f"{name}.extxyz"
        if path.exists():
            continue
        start = time.perf_counter()
        frames = list(_maker(name, folder)())
        unfinished = path.with_suffix(f".{os.getpid()}.extxyz")
        write(unfinished, frames)
        unfinished.rename(path)
        print(f"{path}: {len(frames)} structures, {time.perf_counter() - start:.0f} s", flush=True)


def _maker(name: str, folder: Path) -> Maker:
    if name in published.MAKERS:
        return partial(published.MAKERS[name], folder)
    return MAKERS[name] if name in MAKERS else partial(_curvature, name, folder)


def _curvature(name: str, folder: Path) -> Iterator[Atoms]:
    of = DATA[name.removesuffix("_curvature")]
    for place, file in (("inside", of.inside[0]), ("outside", of.outside[0])):
        yield from curvature.pairs_around(load(file, folder), of.reference, place)


def load(name: str, folder: Path) -> list[Atoms]:
    """Labelled structures of one file, made if it is missing."""
    make(folder, [name])
    return list(_loaded(folder / f"{name}.extxyz"))


@lru_cache
def _loaded(path: Path) -> tuple[Atoms, ...]:
    return tuple(read(path, index=":"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder of the data")
    options.add_argument("--files", nargs="+", choices=FILES, help="only these")
    wanted = options.parse_args()
    make(wanted.data, wanted.files)


if __name__ == "__main__":
    main()
