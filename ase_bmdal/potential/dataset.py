"""Labelled structures, ready to be cut into minibatches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.potential.gradients import BatchTensors
from ase_bmdal.potential.loss import Targets, assemble_targets
from ase_bmdal.potential.regression import Reference
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.structures.batch import BatchShape, Geometry, assemble
from ase_bmdal.structures.buckets import bucket
from ase_bmdal.structures.labels import Label

STEPS_PER_CALL = 16
STACKED_PAIRS = 2**20


class Minibatch(NamedTuple):
    """Places of some structures in the data set, their arrays and their targets (NumPy)."""

    members: NDArray[np.int64]
    arrays: BatchTensors
    targets: Targets

    def tensors(self) -> tuple[BatchTensors, Targets]:
        """Arrays and targets as TensorFlow has them."""
        return BatchTensors(*map(tf.constant, self.arrays)), Targets(*map(tf.constant, self.targets))


class Dataset:
    """Structures with their neighbours and labels, energies counted from free atoms.

    Parameters
    ----------
    structures, labels
        One label per structure.
    reference
        What the energies are counted from.
    settings, how
        Architecture, and the weights of the loss.
    """

    def __init__(
        self,
        structures: Sequence[Atoms],
        labels: Sequence[Label],
        reference: Reference,
        settings: ModelSettings,
        how: TrainingSettings,
    ) -> None:
        self._reference, self._settings, self._how = reference, settings, how
        self._geometries = Geometry.of_each(structures, settings.cutoff)
        self._labels = [
            replace(label, energy=label.energy - reference.of(atoms))
            for atoms, label in zip(structures, labels, strict=True)
        ]
        self.with_forces = any(label.forces is not None for label in labels)
        self._width = bucket(max(geometry.width for geometry in self._geometries), bits=2)
        self._sizes = np.array([len(geometry) for geometry in self._geometries])

    def __len__(self) -> int:
        return len(self._geometries)

    def minibatches(self, batch_size: int, rng: np.random.Generator | None = None) -> Iterator[Minibatch]:
        """Every structure once, shuffled if there is an `rng`, in minibatches.

        Yields
        ------
        Minibatch
            In arrays of few different shapes.
        """
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for start in range(0, len(order), batch_size):
            members = order[start : start + batch_size]
            shape = self._shape(members, min(batch_size, bucket(len(self), bits=0)))
            geometries = [self._geometries[index] for index in members]
            settings = self._settings
            dtype, padding = settings.numpy_dtype, 2 * settings.cutoff
            batch = assemble(geometries, self._reference.elements, shape, padding, dtype)
            labels = [self._labels[index] for index in members]
            targets = assemble_targets(geometries, labels, self._how, shape, dtype)
            yield Minibatch(
                members, BatchTensors(*(getattr(batch, name) for name in BatchTensors._fields)), targets
            )

    def _shape(self, members: NDArray[np.int64], batch_size: int) -> BatchShape:
        """One shape if all structures are of one size, else a coarse ladder that starts at the mean size."""
        alike = (self._sizes == self._sizes[0]).all()
        bits = 3 if alike else 1
        usual = bucket(round(batch_size * self._sizes.mean()), bits)
        return BatchShape(max(usual, bucket(int(self._sizes[members].sum()), bits)), self._width, batch_size)


def stacks(minibatches: Iterable[Minibatch]) -> Iterator[list[Minibatch]]:
    """Bring minibatches of one shape together, as many as one call takes or fewer; each as soon as it can be."""
    waiting: dict[BatchShape, list[Minibatch]] = {}
    for each in minibatches:
        stack = waiting.setdefault(each.arrays.shape, [])
        stack.append(each)
        if len(stack) == capacity(each.arrays.shape):
            yield waiting.pop(each.arrays.shape)
    yield from waiting.values()


def capacity(shape: BatchShape) -> int:
    """How many minibatches one call takes."""
    return max(1, min(STEPS_PER_CALL, STACKED_PAIRS // (shape.atoms * shape.neighbours)))


def stacked(stack: Sequence[Minibatch]) -> tuple[BatchTensors, Targets]:
    """The arrays of some minibatches with a new first axis, as long as the capacity; zero where there are fewer."""
    size = capacity(stack[0].arrays.shape)

    def stack_parts(parts: tuple[Any, ...]) -> tf.Tensor:
        whole = np.zeros((size, *parts[0].shape), parts[0].dtype)
        np.stack(parts, out=whole[: len(parts)])
        return tf.constant(whole)

    arrays, targets = ([each.arrays for each in stack], [each.targets for each in stack])
    tensors = BatchTensors(*map(stack_parts, zip(*arrays, strict=True)))
    return tensors, Targets(*map(stack_parts, zip(*targets, strict=True)))
