"""Predictions for one structure that moves: the neighbour table stays while the Verlet skin holds."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from ase import Atoms
from ase.data import covalent_radii

from ase_bmdal.potential.gmnn import GMNN, Potential, mean_label, stress_of
from ase_bmdal.potential.gradients import Evaluation, compiled_step
from ase_bmdal.potential.uncertainty import Raw, Uncertainty, spread
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
    raw
        How unsure they are.
    pull
        Energy `-sum_i |P phi_i|` with its forces and stress, in no particular unit, if it was asked for.
    """

    label: Label
    raw: Raw
    pull: Label | None = None


class MovingStructure:
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
        self._trusted: Uncertainty | None = None
        self._posterior: tf.Tensor | None = None

    def empty(self) -> "MovingStructure":
        """One with the same skin that has seen nothing."""
        other = MovingStructure(self._skin)
        other._padding = self._padding.another()
        return other

    def predict(self, model: Potential, atoms: Atoms, *, pulled: bool = False) -> Prediction:
        """Predict for the structure as it is now.

        The raw uncertainty of a single network without a posterior is not known, that is infinite.

        Parameters
        ----------
        model
            Potential.
        atoms
            Structure.
        pulled
            Whether to give what pulls to where the potential knows least; only a single network with a posterior can.

        Raises
        ------
        UnknownElementError, ValueError
            As `GMNN.predict`.
        """
        self._follow(model, atoms)
        if model.uncertainty is not self._trusted:
            self._trusted = model.uncertainty
            matrix = None if self._trusted is None else self._trusted.posterior
            self._posterior = None if matrix is None else tf.constant(matrix, model.settings.dtype)
        found = [self._evaluate(member, atoms, pulled) for member in model.members]
        self._padding.used()
        labels = [prediction.label for prediction in found]
        if len(labels) == 1:
            return found[0]
        forces = np.stack([label.forces for label in labels if label.forces is not None])
        deviations = spread(forces, np.array([label.energy for label in labels]))
        return Prediction(mean_label(labels), Raw(*deviations, found[0].raw.closest))

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

    def _evaluate(self, model: GMNN, atoms: Atoms, pulled: bool) -> Prediction:
        n_atoms = len(atoms)
        positions = np.zeros((self._shape[0], 3))
        positions[:n_atoms] = atoms.positions
        closest, evaluation, deviations, pull = compiled_step(model.settings, self._shape, pulled)(
            model.tensors,
            self._species,
            self._reverse,
            tf.constant(positions),
            self._shifts,
            self._radii,
            self._posterior,
        )
        label = _label(evaluation, atoms, float(model.atomic_energies[self._places].sum()))
        if deviations is None:
            return Prediction(label, Raw(np.full(n_atoms, np.inf), np.inf, float(closest)))
        of_atoms, of_energy = (each.numpy().astype(np.float64) for each in deviations)
        raw = Raw(of_atoms[:n_atoms], float(of_energy), float(closest))
        return Prediction(label, raw, None if pull is None else _label(pull, atoms, 0.0))


def _label(evaluation: Evaluation, atoms: Atoms, energy: float) -> Label:
    """An evaluation of one padded structure as a label, its energy counted from another one."""
    energies, forces, virials = (each.numpy().astype(np.float64) for each in evaluation)
    energy += float(energies.sum())
    return Label(energy, forces[: len(atoms)], stress_of(virials[0], volume(atoms)))
