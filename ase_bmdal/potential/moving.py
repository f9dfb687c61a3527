"""Predictions for one structure that moves: the neighbour table stays while the Verlet skin holds."""

import numpy as np
import tensorflow as tf
from ase import Atoms

from ase_bmdal.potential.gmnn import GMNN, Potential, mean_label, stress_of
from ase_bmdal.potential.gradients import compiled_step
from ase_bmdal.structures.batch import species_of, volume
from ase_bmdal.structures.buckets import bucket
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.skin import SkinnedNeighbours

SKIN = 0.5


class MovingStructure:
    """Remembers the neighbours of the last structure it saw.

    Parameters
    ----------
    skin
        Å; the table is made anew when an atom may have crossed it. Changes speed, never results.
    """

    def __init__(self, skin: float = SKIN) -> None:
        self._skin = skin
        self._neighbours: SkinnedNeighbours | None = None
        self._made_for: tuple[float, tuple[int, ...]] | None = None
        self._cell = np.zeros((3, 3))

    def empty(self) -> "MovingStructure":
        """One with the same skin that has seen nothing."""
        return MovingStructure(self._skin)

    def predict(self, model: Potential, atoms: Atoms) -> Label:
        """Energy, forces and, if fully periodic, stress of the structure as it is now.

        Raises
        ------
        UnknownElementError, ValueError
            As `GMNN.predict`.
        """
        self._follow(model, atoms)
        return mean_label([self._evaluate(member, atoms) for member in model.members])

    def _follow(self, model: Potential, atoms: Atoms) -> None:
        made_for = (model.settings.cutoff, model.elements)
        if self._neighbours and self._made_for == made_for and self._neighbours.hold_for(atoms):
            if (atoms.cell.array != self._cell).any():
                self._set_shifts(atoms, model.settings.cutoff)
            return
        species = species_of(atoms.numbers, model.elements)
        self._neighbours = SkinnedNeighbours.of(atoms, model.settings.cutoff, self._skin)
        self._made_for = made_for
        table = self._neighbours.table
        n_atoms, width = table.neighbour.shape
        self._shape = bucket(n_atoms), bucket(width)
        reverse = np.arange(np.prod(self._shape), dtype=np.int32).reshape(self._shape)
        reverse[:n_atoms, :width] = table.neighbour * self._shape[1] + table.slot
        self._reverse = tf.constant(reverse)
        self._species = tf.constant(np.pad(species, (0, self._shape[0] - n_atoms), constant_values=-1))
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

    def _evaluate(self, model: GMNN, atoms: Atoms) -> Label:
        n_atoms = len(atoms)
        positions = np.zeros((self._shape[0], 3))
        positions[:n_atoms] = atoms.positions
        energies, forces, virials = compiled_step(model.settings, self._shape)(
            model.tensors, self._species, self._reverse, tf.constant(positions), self._shifts
        )
        energy = model.free_atom_energy(atoms.numbers) + energies.numpy().sum(dtype=np.float64)
        stress = stress_of(virials.numpy()[0].astype(np.float64), volume(atoms))
        return Label(float(energy), forces.numpy()[:n_atoms].astype(np.float64), stress)
