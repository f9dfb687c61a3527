"""Pairs of labelled structures on both sides of another one: what the reference's second derivatives come from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from molecules import label

from ase_bmdal.common.randomness import stream

STEP = 0.01  # Å, of the atom that moves most
BONDED = 1.25  # times the sum of the covalent radii
OFFSETS = (-0.1, 0.0, 0.1, 0.2)  # Å, by which a bond is stretched
N_STRUCTURES = 10


@dataclass(frozen=True)
class Curvature:
    """Two structures and the direction between them.

    Attributes
    ----------
    kind
        Such as ``"inside, random"``.
    before, after
        Labelled by the reference.
    """

    kind: str
    before: Atoms
    after: Atoms

    def of(self, before: np.ndarray, after: np.ndarray) -> float:
        """Second derivative of the energy, eV/Å², from the forces on both sides."""
        step = self.after.positions - self.before.positions
        return float(-((after - before) * step).sum() / (step**2).sum())

    @property
    def reference(self) -> float:
        """That of the reference."""
        return self.of(self.before.get_forces(), self.after.get_forces())


def pairs_around(frames: Sequence[Atoms], calculator: Callable[[], Any], place: str) -> Iterator[Atoms]:
    """Pairs in a random direction, and along the stretching of a random bond."""
    rng = stream(0, "curvature", place)
    for index in np.linspace(0, len(frames) - 1, min(N_STRUCTURES, len(frames))).astype(int):
        atoms = Atoms(frames[index])
        reference = calculator()
        direction = rng.standard_normal(atoms.positions.shape)
        yield from _pair(atoms, direction, f"{place}, random", reference)
        bond = _bond(atoms, rng)
        for offset in OFFSETS:
            stretched = atoms.copy()
            stretched.positions += offset * bond
            yield from _pair(stretched, bond, f"{place}, bond", reference)


def _pair(atoms: Atoms, direction: np.ndarray, kind: str, calculator: Any) -> Iterator[Atoms]:
    direction = STEP * direction / np.linalg.norm(direction, axis=1).max()
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions += sign * direction
        moved = label(moved, calculator)
        moved.info["kind"] = kind
        yield moved


def _bond(atoms: Atoms, rng: np.random.Generator) -> np.ndarray:
    """Displacements that stretch a random bond by one Å."""
    radii = covalent_radii[atoms.numbers]
    vectors = atoms.get_all_distances(mic=bool(atoms.pbc.any()), vector=True)
    distances = np.linalg.norm(vectors, axis=-1)
    near = distances < BONDED * (radii[:, None] + radii)
    first, second = rng.choice(np.argwhere(np.triu(near, 1)))
    unit = vectors[first, second] / distances[first, second] / 2
    bond = np.zeros_like(atoms.positions)
    bond[first], bond[second] = -unit, unit
    return bond


def read_pairs(frames: Sequence[Atoms]) -> list[Curvature]:
    """Pairs as `pairs_around` made them."""
    return [
        Curvature(before.info["kind"], before, after)
        for before, after in zip(frames[::2], frames[1::2], strict=True)
    ]
