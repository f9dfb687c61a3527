"""A neighbour table that lasts for several steps (Verlet skin)."""

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ase_bmdal.structures.neighbours import Neighbours, neighbours
from ase_bmdal.structures.same import is_equal


@dataclass(frozen=True)
class SkinnedNeighbours:
    """Neighbours within cutoff + skin of a structure, and that structure.

    The table holds every pair within the cutoff as long as no pair can have come closer by more than the skin.
    """

    atoms: Atoms
    table: Neighbours
    skin: float

    @staticmethod
    def of(atoms: Atoms, cutoff: float, skin: float) -> "SkinnedNeighbours":
        """Find the neighbours within ``cutoff + skin`` (Å)."""
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        return SkinnedNeighbours(frame, neighbours(frame, cutoff + skin), skin)

    def hold_for(self, atoms: Atoms) -> bool:
        """Whether the table still holds every pair within the cutoff.

        A pair vector changes by at most the two largest displacements plus the largest change of an image.
        Positions that are not finite never hold.
        """
        old = self.atoms
        if not (is_equal(atoms.numbers, old.numbers) and is_equal(atoms.pbc, old.pbc)):
            return False
        moves = atoms.positions - old.positions
        squares = np.einsum("ij,ij->i", moves, moves)
        moved = 2 * math.sqrt(squares.max())
        if moved > self.skin:  # seldom
            moved = np.sqrt(np.sort(squares)[-2:]).sum()
        stretched, cell, before = 0.0, atoms.cell.array, old.cell.array
        if not is_equal(cell, before):
            stretched = float(np.linalg.norm(self.table.image @ (cell - before), axis=-1).max())
        return bool(moved + stretched <= self.skin)
