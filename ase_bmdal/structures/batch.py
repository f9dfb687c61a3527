"""Structures as flat, padded arrays: what the potential computes with.

All atoms of all structures stand in one axis `A`, their neighbours in a dense second axis `K`. Padding needs
no mask: a padded atom has species -1, whose one-hot vector is zero; a padded pair is longer than the cutoff.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar, overload

import numpy as np
from ase import Atoms
from numpy.typing import DTypeLike, NDArray

from ase_bmdal.common.errors import UnknownElementError
from ase_bmdal.structures.buckets import WORTH_COMPILING, bucket
from ase_bmdal.structures.neighbours import Neighbours, neighbours, neighbours_of_each

Real = TypeVar("Real", bound=np.floating)
Structures = TypeVar("Structures", bound=Sequence[Atoms])
LaidOut = tuple[list[int], "Batch"]
ATOMS_PER_SEARCH = 1000  # as many as stay in the cache
HARDLY_ANY = WORTH_COMPILING // 512  # pairs, as good as none
USUAL = 8  # neighbours; with fewer, an atom costs more than they


@dataclass(frozen=True)
class Geometry:
    """One structure with its neighbours: numbers [n], pair vectors [n, k, 3] in Å, volume in Å³ (or 0)."""

    numbers: NDArray[np.int64]
    table: Neighbours
    pairs: NDArray[np.float64]
    volume: float

    @staticmethod
    def of(atoms: Atoms, cutoff: float) -> "Geometry":
        """Find the neighbours of a structure.

        Raises
        ------
        ValueError
            As `neighbours`.
        """
        table = neighbours(atoms, cutoff)
        return Geometry(atoms.numbers, table, table.vectors(atoms, padding=2 * cutoff), volume(atoms))

    @staticmethod
    def of_each(structures: Sequence[Atoms], cutoff: float) -> "list[Geometry]":
        """Find the neighbours of many structures, which for small ones takes a fraction of the time.

        Raises
        ------
        ValueError
            As `neighbours`.
        """
        found: list[Geometry] = []
        for group in _groups(range(len(structures)), structures, ATOMS_PER_SEARCH):
            some = [structures[index] for index in group]
            tables = neighbours_of_each(some, cutoff, padding=2 * cutoff)
            found += (
                Geometry(atoms.numbers, *each, volume(atoms))
                for atoms, each in zip(some, tables, strict=True)
            )
        return found

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def width(self) -> int:
        """Largest number of neighbours."""
        return int(self.pairs.shape[1])


@dataclass(frozen=True)
class Batch:
    """Structures side by side.

    Attributes
    ----------
    species
        Place of each atom's element in the model's list, -1 for padding, [A].
    structure
        Structure of each atom, [A].
    pairs
        Pair vectors, Å, [A, K, 3].
    reverse
        Where the same pair stands seen from the neighbour, as an index into the flattened [A · K], [A, K].
    volumes
        Å³, 0 without a full cell, [S].
    sizes
        Number of atoms of each structure, without padding, [n_structures].
    """

    species: NDArray[np.int32]
    structure: NDArray[np.int32]
    pairs: NDArray[np.floating]
    reverse: NDArray[np.int32]
    volumes: NDArray[np.floating]
    sizes: NDArray[np.int64]

    @property
    def shape(self) -> "BatchShape":
        """Padded size."""
        n_atoms, n_neighbours, _ = self.pairs.shape
        return BatchShape(n_atoms, n_neighbours, len(self.volumes))

    def split(self, per_atom: NDArray[Real]) -> list[NDArray[Real]]:
        """Cut an array [A, ...] into one array per structure, leaving the padding out."""
        return np.split(per_atom[: self.sizes.sum()], np.cumsum(self.sizes)[:-1])


@dataclass(frozen=True)
class BatchShape:
    """Padded size of a batch: atoms A, neighbours K, structures S."""

    atoms: int
    neighbours: int
    structures: int

    @staticmethod
    def fitting(geometries: Sequence[Geometry]) -> "BatchShape":
        """Smallest buckets that hold these structures."""
        return BatchShape(
            bucket(sum(map(len, geometries))),
            bucket(max(geometry.width for geometry in geometries)),
            bucket(len(geometries), bits=0),
        )

    @staticmethod
    def shared(geometries: Sequence[Geometry]) -> "BatchShape":
        """One of few that hold these structures: nothing is compiled to save what takes less than compiling it."""
        n_neighbours = bucket(max(geometry.width for geometry in geometries), bits=1)
        least = HARDLY_ANY // max(n_neighbours, USUAL)
        n_atoms = bucket(max(least, sum(map(len, geometries))), bits=0)
        return BatchShape(n_atoms, n_neighbours, bucket(-(-n_atoms // min(map(len, geometries))), bits=0))


def assemble(
    geometries: Sequence[Geometry],
    elements: Sequence[int],
    shape: BatchShape,
    padding: float,
    dtype: DTypeLike,
) -> Batch:
    """Lay structures side by side and pad.

    Parameters
    ----------
    geometries
        One per structure.
    elements
        Atomic numbers the model knows, in its order.
    shape
        Padded size; not smaller than what it holds.
    padding
        Length of the pair vectors that pad, Å; beyond the model's cutoff.
    dtype
        Of the pair vectors.

    Raises
    ------
    UnknownElementError
        If a structure holds another element.
    """
    pairs = np.zeros((shape.atoms, shape.neighbours, 3), dtype)
    pairs[..., 0] = padding
    reverse = np.arange(shape.atoms * shape.neighbours, dtype=np.int32).reshape(pairs.shape[:2])
    species = np.full(shape.atoms, -1, np.int32)
    structure = np.zeros(shape.atoms, np.int32)
    volumes = np.zeros(shape.structures, dtype)
    numbers = np.concatenate([geometry.numbers for geometry in geometries])
    species[: len(numbers)] = species_of(numbers, elements)
    start = 0
    for index, geometry in enumerate(geometries):
        rows = slice(start, start + len(geometry))
        structure[rows] = index
        pairs[rows, : geometry.width] = geometry.pairs
        table = geometry.table
        reverse[rows, : geometry.width] = (start + table.neighbour) * shape.neighbours + table.slot
        volumes[index] = geometry.volume
        start = rows.stop
    return Batch(species, structure, pairs, reverse, volumes, np.array([len(g) for g in geometries]))


class Remembered(Sequence[Atoms], Generic[Structures]):
    """Structures that are computed with again and again: `batches` finds their neighbours once.

    Parameters
    ----------
    structures
        Must not change.
    """

    def __init__(self, structures: Structures) -> None:
        self.structures = structures
        self._how: tuple[object, ...] = ()
        self._batches: list[LaidOut] = []

    def __len__(self) -> int:
        return len(self.structures)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Atoms]: ...

    def __getitem__(self, index: int | slice) -> Atoms | Sequence[Atoms]:
        """One structure, or some of them."""
        return self.structures[index]

    def batches(
        self, elements: Sequence[int], cutoff: float, dtype: DTypeLike, atoms_per_batch: int
    ) -> list[LaidOut]:
        """As the function `batches`; kept until something else is asked for."""
        how = (tuple(elements), cutoff, np.dtype(dtype), atoms_per_batch)
        if how != self._how:
            self._batches = list(batches(self.structures, *how))
            self._how = how
        return self._batches


def batches(
    structures: Sequence[Atoms],
    elements: Sequence[int],
    cutoff: float,
    dtype: DTypeLike,
    atoms_per_batch: int,
) -> Iterable[LaidOut]:
    """Lay out any number of structures in batches of similar size.

    Parameters
    ----------
    structures
        In any order and of any size; `Remembered` ones are laid out once.
    elements
        As in `assemble`.
    cutoff
        Å.
    dtype
        Of the pair vectors.
    atoms_per_batch
        A batch is closed before it would hold more atoms than this.

    Yields
    ------
    tuple
        Places of the batch's structures in the input, and the batch.

    Raises
    ------
    ValueError, UnknownElementError
        As `assemble` and `neighbours`.
    """
    if isinstance(structures, Remembered):
        return structures.batches(elements, cutoff, dtype, atoms_per_batch)
    return _ahead(_lay_out(structures, elements, cutoff, dtype, atoms_per_batch))


def _ahead(laid_out: Iterator[LaidOut]) -> Iterator[LaidOut]:
    """Have the next batch laid out while the last one is computed with."""
    with ThreadPoolExecutor(1) as helper:
        coming = helper.submit(next, laid_out, None)
        while (found := coming.result()) is not None:
            coming = helper.submit(next, laid_out, None)
            yield found


def _lay_out(
    structures: Sequence[Atoms],
    elements: Sequence[int],
    cutoff: float,
    dtype: DTypeLike,
    atoms_per_batch: int,
) -> Iterator[LaidOut]:
    order = sorted(range(len(structures)), key=lambda index: len(structures[index]))
    for members in _groups(order, structures, atoms_per_batch):
        geometries = Geometry.of_each([structures[index] for index in members], cutoff)
        is_large = len(members) == 1 and 2 * len(geometries[0]) > atoms_per_batch
        shape = BatchShape.fitting(geometries) if is_large else BatchShape.shared(geometries)
        yield members, assemble(geometries, elements, shape, 2 * cutoff, dtype)


def species_of(numbers: NDArray[np.int64], elements: Sequence[int]) -> NDArray[np.int32]:
    """Place of each atomic number in the model's list.

    Raises
    ------
    UnknownElementError
        Naming the elements that are not in it.
    """
    known = np.asarray(elements)
    place = np.searchsorted(known, numbers).clip(max=len(known) - 1)
    is_unknown = known[place] != numbers
    if is_unknown.any():
        unknown = np.unique(numbers[is_unknown])
        raise UnknownElementError(
            f"expected only the elements the model was trained on ({_symbols(elements)}), "
            f"got also {_symbols(unknown)}"
        )
    return place.astype(np.int32)


def volume(atoms: Atoms) -> float:
    """Volume of a cell that repeats in all three directions, Å³; 0 for anything else, which has no stress."""
    return float(atoms.get_volume()) if atoms.pbc.all() else 0.0


def _symbols(numbers: Sequence[int] | NDArray[np.int64]) -> str:
    from ase.data import chemical_symbols

    return ", ".join(chemical_symbols[number] for number in numbers)


def _groups(order: Sequence[int], structures: Sequence[Atoms], limit: int) -> Iterator[list[int]]:
    group: list[int] = []
    held = 0
    for index in order:
        if group and held + len(structures[index]) > limit:
            yield group
            group, held = [], 0
        group.append(index)
        held += len(structures[index])
    if group:
        yield group
