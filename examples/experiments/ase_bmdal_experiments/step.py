"""One step of a learning curve: train, test, ask the kernel, pick."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_bmdal import Acquisition, Epoch, Label, Potential, Remembered, mean_label, rank, train
from ase_bmdal.common.randomness import stream
from ase_bmdal.kernels import absolute_error_forces
from ase_bmdal_experiments.frames import Frames, Some
from ase_bmdal_experiments.metrics import (
    Errors,
    correlations,
    energy_errors,
    force_errors,
    mean_errors,
)
from ase_bmdal_experiments.settings import BenchmarkSettings
from ase_bmdal_experiments.split import Split
from ase_bmdal_experiments.uncertainty import uncertainty


@dataclass(frozen=True, eq=False)
class Task:
    """What all methods of one seed share.

    Attributes
    ----------
    settings
        Sizes, architecture, training.
    data, test_data
        All structures of the data file, and of the test file; the same if there is no test file.
    split
        Who is who.
    seed
        Of all random numbers.
    """

    settings: BenchmarkSettings
    data: Frames
    test_data: Frames
    split: Split
    seed: int

    @cached_property
    def pool(self) -> Remembered[Some]:
        """The whole pool of the first step."""
        return Remembered(Some(self.data, self.split.pool))

    @cached_property
    def test(self) -> Remembered[Some]:
        """The test set."""
        return Remembered(Some(self.test_data, self.split.test))

    def train(
        self,
        places: Sequence[int],
        step: int,
        n_models: int,
        on_epoch: Callable[[Epoch], None] | None,
        start: Potential | None,
    ) -> Potential:
        """Train from scratch, or for a shorter time from `start`.

        The first potential of a committee from scratch is the one that is trained alone.
        """
        how, warm_epochs = self.settings.training, self.settings.warm_epochs
        if start and warm_epochs:
            how = replace(how, epochs=warm_epochs)
        return train(
            list(Some(self.data, np.asarray(places))),
            valid=list(Some(self.data, self.split.valid)) or None,
            seed=int(stream(self.seed, "training", step).integers(2**31)),
            model=start,
            n_models=n_models,
            architecture=self.settings.architecture,
            training=how,
            on_epoch=on_epoch,
            name_outliers=False,
        )


class Stopwatch:
    """Seconds spent on each part of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the time of a block to a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] = round(self.seconds.get(part, 0.0) + time.perf_counter() - start, 3)


@dataclass(frozen=True, eq=False)
class Tested:
    """What a potential says of the test set: errors averaged over the members of a committee, as in the paper.

    Attributes
    ----------
    errors
        Of ``energy`` and, where they are known, ``forces``.
    of_mean
        The same of the mean prediction, which is what a committee is used for; None for a single potential.
    each
        Actual error of every structure: the mean absolute error of its force components, or of its energy, [n_test].
    predicted
        By every member, for every structure.
    """

    errors: dict[str, Errors]
    of_mean: dict[str, Errors] | None
    each: NDArray[np.float64]
    predicted: list[list[Label]]


def evaluate(model: Potential, structures: Remembered[Some]) -> Tested:
    """Compare with the labels of the test set."""
    test = structures.structures
    predicted = [member.predict(structures) for member in model.members]
    reference = test.forces
    if reference is None:
        deviations = [np.abs([label.energy for label in labels] - test.energies) for labels in predicted]
    else:
        deviations = [absolute_error_forces(reference, _forces(labels)) for labels in predicted]
    of_mean = None
    if len(predicted) > 1:
        of_mean = _errors(test, [[mean_label(labels) for labels in zip(*predicted, strict=True)]])
    return Tested(_errors(test, predicted), of_mean, np.mean(deviations, axis=0), predicted)


def _errors(test: Some, predicted: Sequence[Sequence[Label]]) -> dict[str, Errors]:
    """Errors of several predictions for the test set, averaged over them."""
    energies = [np.array([label.energy for label in labels]) for labels in predicted]
    errors = {"energy": mean_errors([energy_errors(test.energies, each) for each in energies])}
    if test.forces is not None:
        forces = list(map(_forces, predicted))
        errors["forces"] = mean_errors([force_errors(test.forces, each) for each in forces])
    return errors


def finish_step(
    task: Task,
    combination: Acquisition,
    step: int,
    train_places: list[int],
    model: Potential,
    watch: Stopwatch,
) -> dict[str, Any]:
    """Everything after training; gives what is kept of the step, picked structures included."""
    train_set = Some(task.data, np.asarray(train_places))
    with watch.timing("evaluation"):
        tested = evaluate(model, task.test)
    with watch.timing("uncertainty"):
        guess = uncertainty(combination, model, tested.predicted, task.test, train_set, task.seed)
        found = None if guess is None else correlations(guess, tested.each)
        if found is not None and guess is not None and combination.kernel.is_conditioned:
            found["pearson_root"] = correlations(np.sqrt(guess), tested.each)["pearson"]
    picked = _pick(task, combination, step, train_set, model, watch)
    return {
        "n_train": len(train_places),
        "n_pool": len(task.pool) - (len(train_places) - len(task.split.initial)),
        "n_valid": len(task.split.valid),
        "n_test": len(task.test),
        "n_models": len(model.members),
        "errors": tested.errors,
        "errors_of_mean": tested.of_mean,
        "correlation": found,
        "seconds": watch.seconds,
        "picked": picked,
    }


def _pick(
    task: Task,
    combination: Acquisition,
    step: int,
    train_set: Some,
    model: Potential,
    watch: Stopwatch,
) -> list[int]:
    """Places in the data file of the next batch; none after the last step."""
    sizes = task.settings.sizes
    if step + 1 == len(sizes):
        return []
    with watch.timing("features"):
        found = rank(combination, model, task.pool, train_set, seed=task.seed, draw=step)
    with watch.timing("selection"):
        picked_before = np.flatnonzero(np.isin(task.split.pool, train_set.places))
        picks = found.best(sizes[step + 1] - len(train_set), tried=picked_before.tolist())
    return [int(place) for place in task.split.pool[picks]]


def _forces(labels: Sequence[Label]) -> list[NDArray[np.float64]]:
    return [label.forces_for("the errors") for label in labels]
