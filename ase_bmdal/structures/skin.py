"""A neighbour table that lasts for several steps (Verlet skin)."""

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.structures.neighbours import Neighbours, neighbours
from ase_bmdal.structures.same import is_equal


@dataclass(frozen=True)
class SkinnedNeighbours:
    """Neighbours within cutoff + skin of a structure, and that structure.

    The table holds every pair within the cutoff as long as no pair can have come closer by more than the skin.
    """

    atoms: Atoms
    table: Neighbours
    cutoff: float
    skin: float

    @staticmethod
    def of(atoms: Atoms, cutoff: float, skin: float) -> "SkinnedNeighbours":
        """Find the neighbours within ``cutoff + skin`` (Å)."""
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        return SkinnedNeighbours(frame, neighbours(frame, cutoff + skin), cutoff, skin)

    def hold_for(self, atoms: Atoms) -> bool:
        """Whether the table still holds every pair within the cutoff.

        With a cell that is deformed by `F`, and atoms that moved by `u` besides, a pair vector `r` is now `F r` and the
        difference of two `u`: at least the smallest singular value of `F` times `|r|`, less the two largest `|u|`. So
        it is with vectors that are not in the table, all of which were longer than cutoff + skin. Positions that are
        not finite never hold.
        """
        old = self.atoms
        if not (is_equal(atoms.numbers, old.numbers) and is_equal(atoms.pbc, old.pbc)):
            return False
        room, moves = self.skin, atoms.positions - old.positions
        if not is_equal(atoms.cell.array, old.cell.array):
            deformed = _deformation(old, atoms)
            moves = atoms.positions - old.positions @ deformed
            moves -= moves.mean(axis=0)
            shrunk = float(np.linalg.svd(deformed, compute_uv=False).min())
            room = shrunk * (self.cutoff + self.skin) - self.cutoff
        squares = np.einsum("ij,ij->i", moves, moves)
        moved = 2 * math.sqrt(squares.max())
        if moved > room:  # seldom
            moved = np.sqrt(np.sort(squares)[-2:]).sum()
        return bool(moved <= room)


def _deformation(old: Atoms, new: Atoms) -> NDArray[np.float64]:
    """What takes the periodic lattice vectors of one structure, as rows, to those of the other, [3, 3].

    Raises
    ------
    LinAlgError
        If those of the first are linearly dependent, with which there are no neighbours.
    """
    cells = []
    for atoms in (old, new):
        periodic = atoms.cell.copy()
        periodic[~atoms.pbc] = 0.0  # these do not matter
        cells.append(periodic.complete().array)
    return np.linalg.solve(*cells)
