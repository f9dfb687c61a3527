"""Neighbours of every atom, in a dense table."""

from dataclasses import dataclass

import numpy as np
import vesin
from ase import Atoms
from numpy.typing import NDArray

Integers = NDArray[np.int64]
MANY_ATOMS = 1000  # from which on threads are worth starting


@dataclass(frozen=True)
class Neighbours:
    """All pairs of one structure within a cutoff, one row per atom, rows padded to the longest.

    A periodic image counts as a neighbour of its own. Each pair stands in two rows, once from either end;
    `neighbour` and `slot` say where the other one is. Padding has `image` zero and points to itself.

    Attributes
    ----------
    neighbour
        Index of the neighbour, [n_atoms, n_neighbours].
    slot
        Place of the same pair in the row of the neighbour, [n_atoms, n_neighbours].
    image
        Lattice vectors from the atom's cell to the neighbour's, [n_atoms, n_neighbours, 3], integers.
    is_pair
        False where the row is padded, [n_atoms, n_neighbours].
    """

    neighbour: NDArray[np.int32]
    slot: NDArray[np.int32]
    image: NDArray[np.int32]
    is_pair: NDArray[np.bool_]

    def vectors(self, atoms: Atoms, padding: float) -> NDArray[np.float64]:
        """Pair vectors `r_ij = r_j + image - r_i`.

        Parameters
        ----------
        atoms
            The structure, perhaps moved since the table was made.
        padding
            Length given to the vectors of padding, Å; beyond the cutoff they contribute nothing.

        Returns
        -------
        ndarray
            Å, [n_atoms, n_neighbours, 3].
        """
        positions = atoms.get_positions()
        vectors = positions[self.neighbour] - positions[:, None] + self.image @ atoms.cell.array
        vectors[~self.is_pair] = (padding, 0.0, 0.0)
        return vectors  # type: ignore[no-any-return]


def neighbours(atoms: Atoms, cutoff: float) -> Neighbours:
    """All neighbours within the cutoff; `atoms.pbc` decides which directions repeat.

    Parameters
    ----------
    atoms
        Any cell: molecules, wires, slabs, crystals smaller than the cutoff.
    cutoff
        Å.

    Raises
    ------
    ValueError
        If a position is not finite, or the cell of a periodic direction has no volume.
    """
    check_geometry(atoms)
    i, j, image = _pairs(atoms, cutoff)
    n_atoms = len(atoms)
    counts = np.bincount(i, minlength=n_atoms)
    width = max(1, int(counts.max(initial=0)))
    slot = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    other = _reverse_pairs(i, j, image)
    table = Neighbours(
        neighbour=np.repeat(np.arange(n_atoms, dtype=np.int32)[:, None], width, axis=1),
        slot=np.repeat(np.arange(width, dtype=np.int32)[None], n_atoms, axis=0),
        image=np.zeros((n_atoms, width, 3), np.int32),
        is_pair=np.zeros((n_atoms, width), bool),
    )
    table.neighbour[i, slot] = j
    table.slot[i, slot] = slot[other]
    table.image[i, slot] = image
    table.is_pair[i, slot] = True
    return table


def check_geometry(atoms: Atoms) -> None:
    """Refuse a structure that has no neighbour list.

    Raises
    ------
    ValueError
        Naming the first atom whose position is not finite, or the cell.
    """
    if len(atoms) == 0:
        raise ValueError("expected a structure with atoms, got one without")
    bad = np.flatnonzero(~np.isfinite(atoms.get_positions()).all(axis=1))
    if len(bad):
        raise ValueError(
            f"expected finite positions, got {atoms.positions[bad[0]]} for atom {bad[0]} of {atoms.symbols}"
        )
    if atoms.pbc.any() and not (np.isfinite(atoms.cell.array).all() and _spans(atoms)):
        raise ValueError(
            f"expected a cell with three independent vectors along the periodic directions {atoms.pbc} "
            f"of {atoms.symbols}, got {atoms.cell.array.tolist()}"
        )


def _spans(atoms: Atoms) -> bool:
    return bool(abs(np.linalg.det(atoms.cell.complete().array)) > 1e-8) and bool(
        (atoms.cell.lengths()[atoms.pbc] > 0).all()
    )


def _pairs(atoms: Atoms, cutoff: float) -> tuple[Integers, Integers, Integers]:
    """Both atoms of every pair and the image of the second, in order."""
    n_threads = 1 if len(atoms) < MANY_ATOMS else 0  # all cores
    search = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=n_threads)
    cell = atoms.cell.complete().array if atoms.pbc.any() else atoms.cell.array
    i, j, image = search.compute(atoms.positions, cell, atoms.pbc, "ijS")
    i, j, image = i.astype(np.int64), j.astype(np.int64), image.astype(np.int64)
    order = _order(i, j, image)
    return i[order], j[order], image[order]


def _reverse_pairs(i: Integers, j: Integers, image: Integers) -> Integers:
    """For pairs in order: the index of (j, i, -image)."""
    return _order(j, i, -image)


def _order(i: Integers, j: Integers, image: Integers) -> Integers:
    """What sorts by (i, j, image): one number for each pair takes a fifth of the time of sorting by five."""
    low = image.min(axis=0, initial=0)
    n_images = image.max(axis=0, initial=0) - low + 1
    key = i * (i.max(initial=0) + 1) + j  # as many different j as i: each pair is there twice
    for axis in range(3):
        key = key * n_images[axis] + (image[:, axis] - low[axis])
    return np.argsort(key, kind="stable")
