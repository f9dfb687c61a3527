"""The loss of a batch (paper, eq. 5), per structure."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import DTypeLike

from ase_bmdal.potential.compilation import Compiled
from ase_bmdal.potential.gradients import BatchTensors, Parameters, atomic_energies, evaluate
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.structures.batch import BatchShape, Geometry
from ase_bmdal.structures.labels import Label


class Targets(NamedTuple):
    """Labels of a batch and how much each counts; a weight of zero where there is no label.

    Energies [S] (eV, free atoms subtracted), forces [A, 3] (eV/Å), virials [S, 3, 3] (eV),
    and the weights of each energy [S], of each atom's force [A], of each virial [S].
    """

    energies: Any
    forces: Any
    virials: Any
    energy_weights: Any
    force_weights: Any
    virial_weights: Any


def assemble_targets(
    geometries: Sequence[Geometry],
    labels: Sequence[Label],
    how: TrainingSettings,
    shape: BatchShape,
    dtype: DTypeLike,
) -> Targets:
    """Lay the labels of structures side by side, as `assemble` does their atoms.

    Parameters
    ----------
    geometries, labels
        One per structure; energies are those the network has to give.
    how
        Weights of the loss. The force term of a structure is `lambda_F / (3 N_at) sum |dF|²` with
        `lambda_F = force_weight · N_at`, so that every atom counts `force_weight / 3`. Times those of the labels.
    shape
        Padded size.
    dtype
        Of all arrays.
    """
    targets = Targets(
        *(np.zeros(size, dtype) for size in (shape.structures, (shape.atoms, 3), (shape.structures, 3, 3))),
        *(np.zeros(size, dtype) for size in (shape.structures, shape.atoms, shape.structures)),
    )
    start = 0
    for index, (geometry, label) in enumerate(zip(geometries, labels, strict=True)):
        rows = slice(start, start + len(geometry))
        for_energy, for_forces, for_stress = label.weights
        targets.energies[index], targets.energy_weights[index] = label.energy, for_energy * how.energy_weight
        if label.forces is not None:
            targets.forces[rows] = label.forces
            targets.force_weights[rows] = for_forces * how.force_weight / 3
        if label.stress is not None:
            targets.virials[index] = geometry.volume * voigt_6_to_full_3x3_stress(label.stress)
            targets.virial_weights[index] = for_stress * how.stress_weight
        start = rows.stop
    return targets


class Terms(NamedTuple):
    """Terms of the loss of every structure of a batch, zero for padding: [S] each."""

    energy: tf.Tensor
    force: tf.Tensor
    virial: tf.Tensor

    def total(self, of_whole: tf.Tensor | float = 1.0) -> tf.Tensor:
        """The loss of every structure, where what concerns it as a whole, energy and virial, counts so much, [S]."""
        return of_whole * (self.energy + self.virial) + self.force


def loss_terms(
    parameters: Parameters, arrays: BatchTensors, targets: Targets, settings: ModelSettings, with_forces: bool
) -> Terms:
    """The loss of a batch, term by term.

    Parameters
    ----------
    with_forces
        Whether forces and virials are computed at all.
    """
    n_structures = targets.energies.shape[0]

    def per_structure(values: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(values, arrays.structure, n_structures)

    if not with_forces:
        energies = per_structure(atomic_energies(parameters, arrays.environments, settings))
        energy = targets.energy_weights * (energies - targets.energies) ** 2
        return Terms(energy, tf.zeros_like(energy), tf.zeros_like(energy))
    evaluation = evaluate(parameters, arrays, settings)
    energy = targets.energy_weights * (per_structure(evaluation.energies) - targets.energies) ** 2
    force = targets.force_weights * tf.reduce_sum((evaluation.forces - targets.forces) ** 2, axis=1)
    virial = tf.reduce_sum((evaluation.virials - targets.virials) ** 2, axis=(1, 2))
    return Terms(energy, per_structure(force), targets.virial_weights * virial)


@cache
def compiled_losses(settings: ModelSettings, shape: BatchShape, with_forces: bool) -> Any:
    """The loss of every structure, [S], compiled for an architecture and one shape of batch."""

    @Compiled
    def run(parameters: Parameters, arrays: BatchTensors, targets: Targets) -> tf.Tensor:
        return loss_terms(parameters, arrays, targets, settings, with_forces).total()

    return run
