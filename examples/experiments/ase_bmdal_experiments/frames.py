"""Many labelled structures as a few flat arrays; a structure is made when it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frames(Sequence[Atoms]):
    """Labelled structures, those of a whole file.

    Attributes
    ----------
    sizes
        Number of atoms of each structure, [n].
    numbers
        Atomic numbers of all atoms, structure after structure, [sum of sizes].
    positions
        Å, [sum of sizes, 3].
    energies
        eV, [n].
    forces
        eV/Å, [sum of sizes, 3]; None for data with energies only.
    cells
        Å, [n, 3, 3]; None for molecules.
    periodic
        Directions in which each structure repeats, [n, 3]; None if it is all three wherever there are cells.
    """

    sizes: NDArray[np.integer[Any]]
    numbers: NDArray[np.integer[Any]]
    positions: NDArray[np.floating[Any]]
    energies: NDArray[np.float64]
    forces: NDArray[np.float64] | None = None
    cells: NDArray[np.float64] | None = None
    periodic: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Atoms]: ...

    def __getitem__(self, index: int | slice) -> Atoms | Sequence[Atoms]:
        """One structure with its label, or some of them."""
        if isinstance(index, slice):
            return Some(self, np.arange(len(self))[index])
        rows = self.rows(range(len(self))[index])
        cell = None if self.cells is None else self.cells[index]
        periodic: Any = cell is not None if self.periodic is None else self.periodic[index]
        atoms = Atoms(self.numbers[rows], self.positions[rows], cell=cell, pbc=periodic)
        results: dict[str, Any] = {"energy": float(self.energies[index])}
        if self.forces is not None:
            results["forces"] = self.forces[rows]
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def rows(self, index: int) -> slice:
        """Where the atoms of a structure stand in the flat arrays."""
        return slice(int(self._starts[index]), int(self._starts[index + 1]))

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)])


@dataclass(frozen=True, eq=False)
class Some(Sequence[Atoms]):
    """Some of many structures, by their places.

    Attributes
    ----------
    frames
        All of them.
    places
        Which ones, [n].
    """

    frames: Frames
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Atoms]: ...

    def __getitem__(self, index: int | slice) -> Atoms | Sequence[Atoms]:
        """One structure with its label, or some of them."""
        if isinstance(index, slice):
            return Some(self.frames, self.places[index])
        return self.frames[int(self.places[index])]

    @property
    def energies(self) -> NDArray[np.float64]:
        """Reference energies, eV, [n]."""
        return self.frames.energies[self.places]

    @property
    def forces(self) -> list[NDArray[np.float64]] | None:
        """Reference forces of each structure, eV/Å, n arrays [n_atoms, 3]; None for energies only."""
        if self.frames.forces is None:
            return None
        return [self.frames.forces[self.frames.rows(int(place))] for place in self.places]
