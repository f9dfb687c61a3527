"""Evaluates one structure that moves: the neighbour table stays while the Verlet skin holds."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from ase_bmdal.common.errors import PredictionError
from ase_bmdal.potential.gmnn import GMNN, Potential, mean_label, stress_of
from ase_bmdal.potential.gradients import Evaluation, compiled_step
from ase_bmdal.potential.uncertainty import Uncertainty, spread
from ase_bmdal.structures.batch import species_of, volume
from ase_bmdal.structures.buckets import Padding
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.skin import SkinnedNeighbours

SKIN = 0.5


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
        self._cell = np.zeros((3, 3))
        self._posterior: NDArray[np.floating] | None = None
        self._posterior_tensor: tf.Tensor | None = None

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
        self._follow(model, atoms)
        if posterior is not self._posterior:
            self._posterior = posterior
            self._posterior_tensor = (
                None if posterior is None else tf.constant(posterior, model.settings.dtype)
            )
        found = [self._evaluate(member, atoms, with_bias) for member in model.members]
        self._padding.used()
        labels = [prediction.label for prediction in found]
        if len(labels) == 1:
            return found[0]
        forces = np.stack([label.forces for label in labels if label.forces is not None])
        deviations = spread(forces, np.array([label.energy for label in labels]))
        return Prediction(mean_label(labels), Uncertainty(*deviations, found[0].uncertainty.closest))

    def _follow(self, model: Potential, atoms: Atoms) -> None:
        made_for = (model.settings.cutoff, model.elements)
        if self._neighbours and self._made_for == made_for and self._neighbours.hold_for(atoms):
            if (atoms.cell.array != self._cell).any():
                self._set_shifts(atoms, model.settings.cutoff)
            return
        self._places = species_of(atoms.numbers, model.elements)
        self._neighbours = SkinnedNeighbours.of(atoms, model.settings.cutoff, self._skin)
        self._made_for = made_for
        table = self._neighbours.table
        n_atoms, width = table.neighbour.shape
        self._shape = self._padding.choose((n_atoms, width))
        reverse = np.arange(np.prod(self._shape), dtype=np.int32).reshape(self._shape)
        reverse[:n_atoms, :width] = table.neighbour * self._shape[1] + table.slot
        self._reverse = tf.constant(reverse)
        padding = (0, self._shape[0] - n_atoms)
        self._species = tf.constant(np.pad(self._places, padding, constant_values=-1))
        self._radii = tf.constant(np.pad(covalent_radii[atoms.numbers], padding, constant_values=1.0))
        self._set_shifts(atoms, model.settings.cutoff)

    def _set_shifts(self, atoms: Atoms, cutoff: float) -> None:
        if self._neighbours is None:
            raise RuntimeError("expected neighbours before shifts")
        table = self._neighbours.table
        n_atoms, width = table.neighbour.shape
        shifts = np.zeros((*self._shape, 3))
        shifts[..., 0] = 2 * cutoff
        shifts[:n_atoms, :width][table.is_pair] = table.image[table.is_pair] @ atoms.cell.array
        self._shifts = tf.constant(shifts)
        self._cell = atoms.cell.array.copy()

    def _evaluate(self, model: GMNN, atoms: Atoms, with_bias: bool) -> Prediction:
        n_atoms = len(atoms)
        positions = np.zeros((self._shape[0], 3))
        positions[:n_atoms] = atoms.positions
        closest, evaluation, deviations, bias = compiled_step(model.settings, self._shape, with_bias)(
            model.tensors,
            self._species,
            self._reverse,
            tf.constant(positions),
            self._shifts,
            self._radii,
            self._posterior_tensor,
        )
        label = _label(evaluation, atoms, float(model.atomic_energies[self._places].sum()))
        if deviations is None:
            return Prediction(label, Uncertainty(np.full(n_atoms, np.inf), np.inf, float(closest)))
        of_atoms, of_energy = (each.numpy().astype(np.float64) for each in deviations)
        uncertainty = Uncertainty(of_atoms[:n_atoms], float(of_energy), float(closest))
        return Prediction(label, uncertainty, None if bias is None else _label(bias, atoms, 0.0))


def _label(evaluation: Evaluation, atoms: Atoms, energy: float) -> Label:
    """An evaluation of one padded structure as a label, its energy counted from another one."""
    energies, forces, virials = (each.numpy().astype(np.float64) for each in evaluation)
    energy += float(energies.sum())
    return Label(energy, forces[: len(atoms)], stress_of(virials[0], volume(atoms)))


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
