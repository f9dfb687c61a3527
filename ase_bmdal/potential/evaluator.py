"""Evaluates structures that move: the neighbour table of each stays while the Verlet skin holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from ase_bmdal.common.errors import PredictionError
from ase_bmdal.potential.gmnn import GMNN, Potential, mean_label, stress_of
from ase_bmdal.potential.gradients import MANY_ATOMS, Evaluation, compiled_step
from ase_bmdal.potential.uncertainty import Uncertainty, spread
from ase_bmdal.structures.batch import species_of, volume
from ase_bmdal.structures.buckets import Padding, Size, bucket
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.neighbours import Neighbours
from ase_bmdal.structures.skin import SkinnedNeighbours

SKIN = 0.5
MOST_ROOM = 4  # times the structures there are
Shape = tuple[int, int, int]


class Prediction(NamedTuple):
    """What a potential says of a structure.

    Attributes
    ----------
    label
        Energy, forces and, if fully periodic, stress.
    uncertainty
        How unsure they are.
    bias_label
        Energy `-sum_i |P phi_i|` with its forces and stress, in no particular unit, if it was asked for.
    """

    label: Label
    uncertainty: Uncertainty
    bias_label: Label | None = None


@dataclass(frozen=True, eq=False)
class Layout:
    """What stays while a structure moves.

    Attributes
    ----------
    species
        Place of each atom's element in the model's list, [n_atoms].
    radii
        Covalent radii, Å, [n_atoms].
    table
        Neighbours within the cutoff and the skin.
    size
        Padded numbers of atoms and neighbours.
    padding
        Length of the shifts of padding, Å.
    """

    species: NDArray[np.int32]
    radii: NDArray[np.float64]
    table: Neighbours
    size: Size
    padding: float

    def is_like(self, other: "Layout") -> bool:
        """Whether tensors made of one are those of the other."""
        sizes = (self.size, self.padding) == (other.size, other.padding)
        return sizes and all(map(np.array_equal, self._arrays, other._arrays))

    @property
    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        table = self.table
        return self.species, self.radii, table.neighbour, table.slot, table.image, table.is_pair

    def fixed(self, size: Size) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Species [A], reverse [A, K] and radii [A], padded."""
        n_atoms, width = self.table.neighbour.shape
        reverse = np.arange(np.prod(size), dtype=np.int32).reshape(size)
        reverse[:n_atoms, :width] = self.table.neighbour * np.int32(size[1]) + self.table.slot
        rest = (0, size[0] - n_atoms)
        species = np.pad(self.species, rest, constant_values=-1)
        return species, reverse, np.pad(self.radii, rest, constant_values=1.0)

    def shifts(self, cell: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """What images add to pair vectors, Å, [A, K, 3], padded."""
        n_atoms, width = self.table.neighbour.shape
        shifts = np.zeros((*size, 3))
        shifts[..., 0] = self.padding
        shifts[:n_atoms, :width][self.table.is_pair] = self.table.image[self.table.is_pair] @ cell
        return shifts


class Asked(NamedTuple):
    """A structure that a potential is asked for; `Evaluator.ask` makes it."""

    model: Potential
    atoms: Atoms
    layout: Layout
    cell: NDArray[np.float64]  # the same object while it is the same cell
    posterior: NDArray[np.floating] | None
    with_bias: bool


class Evaluator:
    """Remembers the neighbours of the last structure it saw.

    Parameters
    ----------
    skin
        Å; the table is made anew when an atom may have crossed it. Changes speed, never results.
    varied
        Whether it is known from the beginning that the number of atoms will change. Changes speed, never results.
    """

    def __init__(self, skin: float = SKIN, *, varied: bool = False) -> None:
        self._skin = skin
        self._padding = Padding(varied=varied)
        self._neighbours: SkinnedNeighbours | None = None
        self._made_for: tuple[float, tuple[int, ...]] | None = None
        self._layout: Layout | None = None
        self._cell = np.zeros((3, 3))
        self._alone = Stack()

    def empty(self) -> "Evaluator":
        """One with the same skin that has seen nothing."""
        other = Evaluator(self._skin)
        other._padding = self._padding.another()
        return other

    def predict(
        self,
        model: Potential,
        atoms: Atoms,
        posterior: NDArray[np.floating] | None = None,
        *,
        with_bias: bool = False,
    ) -> Prediction:
        """Predict for the structure as it is now.

        The uncertainty of a single network without a posterior is not known, that is infinite.

        Parameters
        ----------
        model
            Potential.
        atoms
            Structure.
        posterior
            `P` of `ErrorModel`, [m, d_0 + 1]; a committee does without.
        with_bias
            Whether to give what pulls to where the potential knows least; only a single network with a posterior can.

        Raises
        ------
        UnknownElementError, ValueError
            As `GMNN.predict`.
        """
        return self._alone.predict([self.ask(model, atoms, posterior, with_bias=with_bias)])[0]

    def ask(
        self,
        model: Potential,
        atoms: Atoms,
        posterior: NDArray[np.floating] | None = None,
        *,
        with_bias: bool = False,
    ) -> Asked:
        """What `Together.predict` is asked for the structure as it is now; see `predict`."""
        made_for = (model.settings.cutoff, model.elements)
        holds = self._neighbours and self._made_for == made_for and self._neighbours.hold_for(atoms)
        if self._layout is None or not holds:
            species = species_of(atoms.numbers, model.elements)
            self._neighbours = SkinnedNeighbours.of(atoms, model.settings.cutoff, self._skin)
            self._made_for, table = made_for, self._neighbours.table
            size = self._padding.choose(table.neighbour.shape)
            radii = covalent_radii[atoms.numbers]
            layout = Layout(species, radii, table, size, 2 * model.settings.cutoff)
            if self._layout is None or not self._layout.is_like(layout):
                self._layout = layout
        if (atoms.cell.array != self._cell).any():
            self._cell = atoms.cell.array.copy()
        self._padding.used()
        return Asked(model, atoms, self._layout, self._cell, posterior, with_bias)


class Stack:
    """Structures side by side as tensors, each of which is made anew only when something in it has changed."""

    def __init__(self) -> None:
        self._rooms: set[int] = set()
        self._made_of: tuple[object, ...] = ()
        self._cells: tuple[object, ...] = ()
        self._posterior: NDArray[np.floating] | None = None
        self._posterior_tensor: tf.Tensor | None = None

    def predict(self, asked: Sequence[Asked]) -> list[Prediction]:
        """Predictions for structures with as many padded atoms, of which one potential is asked the same."""
        model, _, _, _, posterior, with_bias = asked[0]
        n_structures = self._room_for(len(asked))
        size = (asked[0].layout.size[0], max(each.layout.size[1] for each in asked))
        self._follow(asked, n_structures, size)
        if posterior is not self._posterior:
            self._posterior = posterior
            self._posterior_tensor = (
                None if posterior is None else tf.constant(posterior, model.settings.dtype)
            )
        positions = np.zeros((n_structures, size[0], 3))
        for place, each in zip(positions, asked, strict=False):
            place[: len(each.atoms)] = each.atoms.positions
        shape = (n_structures, *size)
        by_member = [self._evaluate(member, asked, positions, shape, with_bias) for member in model.members]
        if len(by_member) == 1:
            return by_member[0]
        return [_mean(found) for found in zip(*by_member, strict=True)]

    def _room_for(self, n: int) -> int:
        """A number of structures that was computed before, unless most would be padding: compiling takes seconds."""
        fitting = [room for room in self._rooms if n <= room <= MOST_ROOM * n]
        self._rooms.add(room := min(fitting, default=bucket(n, bits=0)))
        return room

    def _follow(self, asked: Sequence[Asked], n_structures: int, size: Size) -> None:
        made_of = (n_structures, size, *(each.layout for each in asked))
        is_same = _are_same(made_of[2:], self._made_of[2:]) and made_of[:2] == self._made_of[:2]
        if not is_same:
            fixed = zip(*(each.layout.fixed(size) for each in asked), strict=True)
            self._species, self._reverse, self._radii = (
                tf.constant(_filled(arrays, n_structures, fill))
                for arrays, fill in zip(fixed, (-1, 0, 1.0), strict=True)
            )
            self._made_of = made_of
        cells = tuple(each.cell for each in asked)
        if not (is_same and _are_same(cells, self._cells)):
            shifts = [each.layout.shifts(each.cell, size) for each in asked]
            far = asked[0].layout.padding
            self._shifts = tf.constant(_filled(shifts, n_structures, (far, 0.0, 0.0)))
            self._cells = cells

    def _evaluate(
        self,
        model: GMNN,
        asked: Sequence[Asked],
        positions: NDArray[np.float64],
        shape: Shape,
        with_bias: bool,
    ) -> list[Prediction]:
        closest, evaluation, deviations, bias = compiled_step(model.settings, shape, with_bias)(
            model.tensors,
            self._species,
            self._reverse,
            tf.constant(positions),
            self._shifts,
            self._radii,
            self._posterior_tensor,
        )
        closest = closest.numpy()
        labels = _arrays(evaluation, shape)
        biases = None if bias is None else _arrays(bias, shape)
        of_atoms, of_energy = (
            (np.full(shape[:2], np.inf), np.full(shape[0], np.inf))
            if deviations is None
            else (each.numpy().astype(np.float64) for each in deviations)
        )
        of_atoms = of_atoms.reshape(shape[:2])
        return [
            Prediction(
                _label(labels, place, each.atoms, float(model.atomic_energies[each.layout.species].sum())),
                Uncertainty(
                    of_atoms[place, : len(each.atoms)], float(of_energy[place]), float(closest[place])
                ),
                None if biases is None else _label(biases, place, each.atoms, 0.0),
            )
            for place, each in enumerate(asked)
        ]


class Together:
    """Evaluates several structures that move, those of a size at once."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[int, int], Stack] = {}

    def predict(self, asked: Sequence[Asked]) -> list[Prediction]:
        """As `Evaluator.predict` for each; forces may differ by the rounding of sums in another order."""
        found: dict[int, Prediction] = {}
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, each in enumerate(asked):
            n_atoms = each.layout.size[0]
            alike = groups.setdefault((n_atoms, id(each.model), id(each.posterior), each.with_bias), [])
            alike.append(index)
        for (n_atoms, *_), alike in groups.items():
            at_once = 1 << (max(1, MANY_ATOMS // n_atoms).bit_length() - 1)
            for start in range(0, len(alike), at_once):
                part = alike[start : start + at_once]
                stack = self._stacks.setdefault((n_atoms, start), Stack())
                found |= zip(part, stack.predict([asked[index] for index in part]), strict=True)
        return [found[index] for index in range(len(asked))]


def _are_same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _filled(arrays: Sequence[NDArray[np.generic]], n: int, fill: object) -> NDArray[np.generic]:
    """Arrays of one shape, and others of a number only, in a new first axis of length `n`."""
    stacked = np.full((n, *arrays[0].shape), fill, dtype=arrays[0].dtype)
    stacked[: len(arrays)] = arrays
    return stacked


def _mean(members: Sequence[Prediction]) -> Prediction:
    """What a committee says, and how far its members are apart."""
    labels = [each.label for each in members]
    forces = np.stack([label.forces for label in labels if label.forces is not None])
    deviations = spread(forces, np.array([label.energy for label in labels]))
    return Prediction(mean_label(labels), Uncertainty(*deviations, members[0].uncertainty.closest))


def _arrays(evaluation: Evaluation, shape: Shape) -> Evaluation:
    """Energies [S, A], forces [S, A, 3] and virials [S, 3, 3] as NumPy has them."""
    energies, forces, virials = (each.numpy().astype(np.float64) for each in evaluation)
    return Evaluation(energies.reshape(shape[:2]), forces.reshape(*shape[:2], 3), virials)


def _label(found: Evaluation, place: int, atoms: Atoms, energy: float) -> Label:
    """One structure of an evaluation as a label, its energy counted from another one."""
    energies, forces, virials = (array[place] for array in found)
    stress = stress_of(virials, volume(atoms))
    return Label(energy + float(energies.sum()), forces[: len(atoms)], stress)


def refuse_if_not_finite(label: Label, atoms: Atoms) -> None:
    """Refuse a prediction that is not a number.

    Raises
    ------
    PredictionError
        If a number is not finite.
    """
    for name, value in label.values.items():
        if not np.isfinite(value).all():
            raise PredictionError(
                f"the predicted {name} of {atoms.symbols} is not a number; are two atoms at the same place?"
            )
