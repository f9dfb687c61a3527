"""Fitting one network: small minibatches, Adam, learning rates that decay at the end, the best weights kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_bmdal.common.errors import TrainingError
from ase_bmdal.potential.adam import compiled_steps, initial_state
from ase_bmdal.potential.dataset import Dataset, capacity, stacked, stacks
from ase_bmdal.potential.gmnn import GMNN
from ase_bmdal.potential.gradients import Parameters
from ase_bmdal.potential.loss import compiled_losses
from ase_bmdal.potential.settings import TrainingSettings

VALIDATION_BATCH = 32


@dataclass(frozen=True)
class Epoch:
    """Where training stands; losses are means over the structures of the training and of the validation set.

    The validation loss is None without a validation set, and in epochs that were not validated.
    """

    number: int
    of: int
    train_loss: float
    valid_loss: float | None


OnEpoch = Callable[[Epoch], None]


def fit(
    network: GMNN,
    data: Dataset,
    valid: Dataset | None,
    how: TrainingSettings,
    rng: np.random.Generator,
    on_epoch: OnEpoch | None = None,
) -> GMNN:
    """Train a network on a data set.

    Parameters
    ----------
    network
        Where to start; not changed.
    data, valid
        Training set, and validation set or None.
    how
        Epochs, minibatches, learning rates.
    rng
        Order of the structures.
    on_epoch
        Called after every epoch.

    Returns
    -------
    GMNN
        With the parameters of the smallest validation loss, or of the last epoch.

    Raises
    ------
    TrainingError
        If the loss of a structure is not a number; names it.
    """
    descent = how.descent_for(data.with_forces)
    parameters = {name: network.tensors[name] for name in network.parameters}
    fixed = {name: value for name, value in network.tensors.items() if name not in parameters}
    state = initial_state(parameters)
    batch_size = how.batch_size_for(len(data))
    steps_per_epoch, n_epochs = math.ceil(len(data) / batch_size), how.epochs_for(len(data))
    best, best_loss = parameters, math.inf
    for epoch in range(1, n_epochs + 1):
        each = np.empty(len(data))
        done = 0
        for stack in stacks(data.minibatches(batch_size, rng)):
            shape = stack[0].arrays.shape
            steps = np.arange(done, done + capacity(shape))
            left = how.left_of_rates((epoch - 1 + steps / steps_per_epoch) / n_epochs)
            run = compiled_steps(network.settings, shape, descent, data.with_forces)
            fractions = left.astype(network.settings.dtype)
            state, values = run(state, fractions, np.int32(len(stack)), fixed, *stacked(stack))
            for minibatch, losses in zip(stack, values.numpy(), strict=False):
                each[minibatch.members] = losses[: len(minibatch.members)]
            done += len(stack)
        _check(each, f"training structure, epoch {epoch}")
        valid_loss = None
        if valid and _is_due(epoch, n_epochs, len(valid) / len(data)):
            valid_loss = _validate({**state.parameters, **fixed}, valid, network)
        if valid is None or (valid_loss is not None and valid_loss < best_loss):
            best, best_loss = state.parameters, math.inf if valid_loss is None else valid_loss
        if on_epoch:
            on_epoch(Epoch(epoch, n_epochs, float(each.mean()), valid_loss))
    return network.with_parameters({name: value.numpy() for name, value in best.items()})


def _is_due(epoch: int, of: int, size: float) -> bool:
    """Validate so often that it costs a small part of the training: two training sets for each validation set."""
    return epoch % math.ceil(2 * size) == 0 or epoch == of


def _validate(parameters: Parameters, valid: Dataset, network: GMNN) -> float:
    each = np.empty(len(valid))
    for minibatch in valid.minibatches(VALIDATION_BATCH):
        compiled = compiled_losses(network.settings, minibatch.arrays.shape, valid.with_forces)
        losses = compiled(parameters, *minibatch.tensors())
        each[minibatch.members] = losses[: len(minibatch.members)]
    _check(each, "validation structure")
    return float(each.mean())


def _check(each: NDArray[np.float64], what: str) -> None:
    bad = np.flatnonzero(~np.isfinite(each))
    if len(bad):
        raise TrainingError(
            f"the loss of {what}, is not a number: structures {bad[:5].tolist()} of {len(each)}; "
            "check their labels, or lower the learning rates"
        )
