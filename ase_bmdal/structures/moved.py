"""The same structure elsewhere: copies that are turned, displaced or strained."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray


def turned(atoms: Atoms, turn: NDArray[np.float64]) -> Atoms:
    """Copy with positions and cell turned by a rotation matrix, [3, 3]."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ turn.T)
    copy.positions = atoms.positions @ turn.T
    return copy


def displaced(atoms: Atoms, by: NDArray[np.float64]) -> Atoms:
    """Copy with displaced atoms; `by` in Å, [n_atoms, 3], or [3] for all."""
    copy = atoms.copy()
    copy.positions += by
    return copy


def strained(atoms: Atoms, by: float, component: int) -> Atoms:
    """Copy with a strain in one of the six directions of Voigt."""
    voigt = np.eye(6)[component]
    strain = np.array([[voigt[k] for k in row] for row in ((0, 5, 4), (5, 1, 3), (4, 3, 2))])
    strain[~np.eye(3, dtype=bool)] /= 2
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + by * strain), scale_atoms=True)
    return copy
