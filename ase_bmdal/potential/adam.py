"""Training steps: gradient of the loss, and AdamW with a learning rate for each group of parameters."""

from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from ase_bmdal.potential.compilation import Compiled
from ase_bmdal.potential.gradients import BatchTensors, Parameters
from ase_bmdal.potential.loss import Targets, loss_terms
from ase_bmdal.potential.settings import Descent, ModelSettings
from ase_bmdal.structures.batch import BatchShape

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
TINY = 1e-30


class State(NamedTuple):
    """Parameters, running means of gradients and of their squares, number of steps done."""

    parameters: Parameters
    mean: Parameters
    square: Parameters
    step: tf.Tensor


def initial_state(parameters: Parameters) -> State:
    """State before the first step."""
    zeros = {name: tf.zeros_like(value) for name, value in parameters.items()}
    return State(parameters, zeros, dict(zeros), tf.constant(0.0))


@cache
def compiled_steps(settings: ModelSettings, shape: BatchShape, descent: Descent, with_forces: bool) -> Any:
    """Training steps compiled for an architecture, one shape of batch, and what the optimizer was told.

    With few structures to a batch a call costs as much as the step it makes: so there are several in one, and the
    state stays where it is in between.

    The compiled function takes the state, the fraction of the learning rates that is left at each of T steps [T],
    how many of them to do, what of the model is fixed, and T batches with their targets, stacked. It returns the new
    state and the loss of every structure, [T, S].
    """

    @Compiled
    def run(
        state: State,
        fractions: tf.Tensor,
        n_steps: tf.Tensor,
        fixed: Parameters,
        arrays: BatchTensors,
        targets: Targets,
    ) -> tuple[State, tf.Tensor]:
        def step(index: tf.Tensor, state: State, found: tf.Tensor) -> tuple[tf.Tensor, State, tf.Tensor]:
            batch, labels = BatchTensors(*(a[index] for a in arrays)), Targets(*(t[index] for t in targets))
            with tf.GradientTape() as tape:
                tape.watch(state.parameters)
                terms = loss_terms({**state.parameters, **fixed}, batch, labels, settings, with_forces)
                each = terms.total(of_whole(fractions[index], descent) if with_forces else 1.0)
                total = tf.reduce_sum(each) / tf.math.count_nonzero(labels.energy_weights, dtype=each.dtype)
            moved = adamw(state, tape.gradient(total, state.parameters), descent, fractions[index])
            return index + 1, moved, tf.tensor_scatter_nd_update(found, [[index]], [terms.total()])

        nothing = tf.zeros_like(targets.energies)
        _, state, found = tf.while_loop(
            lambda index, *_: index < n_steps, step, (tf.constant(0), state, nothing)
        )
        return state, found

    return run


def of_whole(fraction: tf.Tensor, descent: Descent) -> tf.Tensor:
    """How much energies and virials count beside the forces while a fraction of the learning rates is left.

    A step moves the energies of all atoms of a cell together, at full rates by far more than the error of their sum; as
    much as that noise counts, the forces are not learned (docs/recipe.md).
    """
    return 1.0 / (1.0 + (descent.energy_delay * fraction) ** 2)


def adamw(state: State, gradients: Parameters, descent: Descent, fraction: tf.Tensor | float) -> State:
    """Move every parameter `p` by `-rate (mean / sqrt(square) + decay p)`, with means corrected for their bias.

    Gradients are clipped to `clip_norm` times their running root mean square. Without it one outlier, such as a
    structure with two colliding atoms, moves every parameter by about 30 learning rates, because `mean` forgets in 10
    steps and `square` in 1000 (docs/recipe.md).

    Parameters
    ----------
    state
        Before the step.
    gradients
        Of the loss.
    descent
        Learning rates, weight decay, clipping.
    fraction
        Of the learning rates that is left at this step.

    References
    ----------
    Kingma and Ba, arXiv:1412.6980; the decoupled decay: Loshchilov and Hutter, arXiv:1711.05101.
    """
    step = state.step + 1.0
    correction = tf.sqrt(1.0 - BETA_2**step) / (1.0 - BETA_1**step)
    parameters, means, squares = {}, {}, {}
    for name, gradient in gradients.items():
        before, rate = state.parameters[name], fraction * descent.rates.of(name)
        clipped = gradient * _clipping(gradient, state.square[name], state.step, descent)
        means[name] = BETA_1 * state.mean[name] + (1 - BETA_1) * clipped
        squares[name] = BETA_2 * state.square[name] + (1 - BETA_2) * clipped * clipped
        downhill = tf.cast(correction, clipped.dtype) * means[name] / (tf.sqrt(squares[name]) + EPSILON)
        parameters[name] = before - rate * (downhill + descent.decay_of(name) * before)
    return State(parameters, means, squares, step)


def _clipping(gradient: tf.Tensor, square: tf.Tensor, step: tf.Tensor, descent: Descent) -> tf.Tensor:
    """What brings the norm of a gradient to at most `clip_norm` times its root mean square so far."""
    so_far = tf.cast(tf.maximum(1.0 - BETA_2**step, 1.0 - BETA_2), gradient.dtype)
    usual, norm = tf.sqrt(tf.reduce_sum(square) / so_far), tf.norm(gradient)
    clipped = tf.minimum(1.0, descent.clip_norm * usual / (norm + TINY))
    return tf.where(step < descent.clip_after, 1.0, clipped)
