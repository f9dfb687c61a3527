"""Neighbours of every atom, in a dense table."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import vesin
from ase import Atoms
from numpy.typing import NDArray

Integers = NDArray[np.int64]
MANY_ATOMS = 1000  # from which on threads are worth starting
FAR = 1000  # cutoffs between atoms, from which on the space between them is closed
FARTHEST = 1e9  # Å from the origin; 2³¹ lattice vectors away vesin 0.6 loses neighbours in silence


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
        return self._vectors(atoms.positions, atoms.cell.array if atoms.pbc.any() else None, padding)

    def _vectors(
        self, positions: NDArray[np.float64], cell: NDArray[np.float64] | None, padding: float
    ) -> NDArray[np.float64]:
        vectors: NDArray[np.float64] = positions[self.neighbour] - positions[:, None]
        if cell is not None:
            vectors += self.image @ cell
        vectors[~self.is_pair] = (padding, 0.0, 0.0)
        return vectors

    def part(self, start: int, end: int) -> "Neighbours":
        """Neighbours of some atoms in a row, none of which has a neighbour among the others."""
        rows = slice(start, end)
        return Neighbours(
            self.neighbour[rows] - np.int32(start), self.slot[rows], self.image[rows], self.is_pair[rows]
        )


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
    cell = atoms.cell.complete().array if atoms.pbc.any() else atoms.cell.array
    return _table(len(atoms), *_pairs(atoms.positions, cell, atoms.pbc, cutoff))


def neighbours_of_each(
    structures: Sequence[Atoms], cutoff: float, padding: float
) -> list[tuple[Neighbours, NDArray[np.float64]]]:
    """Neighbours and pair vectors of every structure, of all molecules at once.

    Parameters
    ----------
    structures, cutoff
        As in `neighbours`.
    padding
        As in `Neighbours.vectors`.

    Raises
    ------
    ValueError
        As `neighbours`.
    """
    molecules = [atoms for atoms in structures if not atoms.pbc.any()]
    of_molecules = iter(_of_molecules(molecules, cutoff, padding) if molecules else [])
    found = []
    for atoms in structures:
        if atoms.pbc.any():
            table = neighbours(atoms, cutoff)
            found.append((table, table.vectors(atoms, padding)))
        else:
            found.append(next(of_molecules))
    return found


def _of_molecules(
    molecules: Sequence[Atoms], cutoff: float, padding: float
) -> list[tuple[Neighbours, NDArray[np.float64]]]:
    """By one search, in which they lie out of reach of one another."""
    for atoms in molecules:
        check_geometry(atoms)
    sizes = np.array([len(atoms) for atoms in molecules])
    ends = np.cumsum(sizes)
    positions = np.concatenate([atoms.positions for atoms in molecules])
    low, high = (side.reduceat(positions, ends - sizes) for side in (np.minimum, np.maximum))
    lengths = high[:, 0] - low[:, 0] + 2 * cutoff
    low[:, 0] -= np.cumsum(lengths) - lengths
    apart = positions - np.repeat(low, sizes, axis=0)
    table = _table(len(positions), *_pairs(apart, np.zeros((3, 3)), np.zeros(3, bool), cutoff))
    vectors = table._vectors(positions, None, padding)
    return [(table.part(start, end), vectors[start:end]) for start, end in pairwise([0, *ends.tolist()])]


def check_geometry(atoms: Atoms) -> None:
    """Refuse a structure that has no neighbour list.

    Raises
    ------
    ValueError
        Naming the first atom whose position is not finite, or absurdly far, or the cell.
    """
    if len(atoms) == 0:
        raise ValueError("expected a structure with atoms, got one without")
    bad = lost(atoms)
    if len(bad):
        where = f"{atoms.positions[bad[0]]} for atom {bad[0]} of {atoms.symbols}"
        raise ValueError(f"expected finite positions, within {FARTHEST:.0e} Å of the origin, got {where}")
    if atoms.pbc.any() and not (np.isfinite(atoms.cell.array).all() and _spans(atoms)):
        raise ValueError(
            f"expected a cell with three independent vectors along the periodic directions {atoms.pbc} "
            f"of {atoms.symbols}, got {atoms.cell.array.tolist()}"
        )


def lost(atoms: Atoms) -> Integers:
    """Atoms whose position is no number, or so far away that it means nothing."""
    return np.flatnonzero(~(np.abs(atoms.positions) <= FARTHEST).all(axis=1))


def drawn_together(
    positions: NDArray[np.float64], lattice: NDArray[np.float64], cutoff: float
) -> NDArray[np.float64]:
    """Positions with the same pairs within the cutoff, without gaps that no pair reaches across.

    Along directions that do not repeat, what is further than the cutoff from all else is moved to twice the cutoff: a
    search whose cells fill space would have too many of them, and kills the process (vesin 0.6).

    Parameters
    ----------
    positions
        Å, [n_atoms, 3].
    lattice
        Vectors of the directions that repeat, [n_periodic, 3].
    cutoff
        Å.

    Returns
    -------
    ndarray
        Å, [n_atoms, 3]; the same array where nothing is far.
    """
    if np.ptp(positions, axis=0).max() <= FAR * cutoff:
        return positions
    for direction in np.linalg.svd(lattice)[2][len(lattice) :]:  # those that do not repeat
        along = positions @ direction
        order = along.argsort()
        too_much = np.maximum(np.diff(along[order]) - 2 * cutoff, 0.0)
        shift = np.zeros(len(positions))
        shift[order[1:]] = np.cumsum(too_much)
        positions = positions - shift[:, None] * direction
    return positions


def _spans(atoms: Atoms) -> bool:
    return bool(abs(np.linalg.det(atoms.cell.complete().array)) > 1e-8) and bool(
        (atoms.cell.lengths()[atoms.pbc] > 0).all()
    )


def _pairs(
    positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> tuple[Integers, Integers, Integers]:
    """Both atoms of every pair and the image of the second, in order."""
    n_threads = 1 if len(positions) < MANY_ATOMS else 0  # all cores
    search = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=n_threads)
    i, j, image = search.compute(drawn_together(positions, cell[pbc], cutoff), cell, pbc, "ijS")
    i, j, image = i.astype(np.int64), j.astype(np.int64), image.astype(np.int64)
    order = _order(i, j, image)
    return i[order], j[order], image[order]


def _table(n_atoms: int, i: Integers, j: Integers, image: Integers) -> Neighbours:
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


def _reverse_pairs(i: Integers, j: Integers, image: Integers) -> Integers:
    """For pairs in order: the index of (j, i, -image)."""
    return _order(j, i, -image)


def _order(i: Integers, j: Integers, image: Integers) -> Integers:
    """What sorts by (i, j, image): one number for each pair takes a fifth of the time of sorting by five."""
    key = i * (i.max(initial=0) + 1) + j  # as many different j as i: each pair is there twice
    for component in image.T:
        low, high = component.min(initial=0), component.max(initial=0)
        key = key * (high - low + 1) + (component - low)
    return np.argsort(key, kind="stable")
