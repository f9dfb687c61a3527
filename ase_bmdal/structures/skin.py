"""A neighbour table that lasts for several steps (Verlet skin)."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ase_bmdal.structures.neighbours import Neighbours, neighbours


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
        if len(atoms) != len(old) or (atoms.numbers != old.numbers).any() or (atoms.pbc != old.pbc).any():
            return False
        moves = atoms.positions - old.positions
        moved = np.sqrt(np.sort(np.einsum("ij,ij->i", moves, moves))[-2:]).sum()
        stretched = 0.0
        change = atoms.cell.array - old.cell.array
        if change.any():
            stretched = float(np.linalg.norm(self.table.image @ change, axis=-1).max())
        return bool(moved + stretched <= self.skin)
