"""Sets that were published, from archives in the folder of the data: 2000 structures to draw from, 400 to test."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ase import Atoms

from ase_bmdal.common.randomness import stream
from ase_bmdal_experiments.data import read_frames

POOL, TEST = 2000, 400


def some(archive: str, labels: str | None, n: int, folder: Path) -> Iterator[Atoms]:
    """Random structures of an archive, the same whatever their labels."""
    frames = read_frames(folder / archive, labels)
    for index in sorted(stream(0, archive).permutation(len(frames))[:n].tolist()):
        yield frames[index]


def files(name: str, archive: str, labels: str | None) -> dict[str, partial[Iterator[Atoms]]]:
    """What makes the two files of a set, given the folder of the archives."""
    return {
        f"{name}_pool": partial(some, f"{archive}_pool.npz", labels, POOL),
        f"{name}_test": partial(some, f"{archive}_test.npz", labels, TEST),
    }


MAKERS = (
    files("aspirin_md17", "aspirin", "md17")
    | files("aspirin_rmd17", "aspirin", "rmd17")
    | files("tio2", "tio2", None)
    | files("lmnto", "lmnto", None)
)
