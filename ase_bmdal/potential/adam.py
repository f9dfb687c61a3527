"""Training steps: gradient of the loss and Adam with a learning rate for each group of parameters."""

from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from ase_bmdal.potential.compilation import Compiled
from ase_bmdal.potential.gradients import Arrays, Parameters
from ase_bmdal.potential.loss import Targets, losses
from ase_bmdal.potential.settings import LearningRates, ModelSettings
from ase_bmdal.structures.batch import Shape

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
LONGEST = 1.0  # norm of a gradient, in units of what is usual
WARM_UP = 20  # steps after which it is known what is usual
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
def compiled_steps(settings: ModelSettings, shape: Shape, rates: LearningRates, with_forces: bool) -> Any:
    """Training steps compiled for an architecture, one shape of batch, and the learning rates.

    With few structures to a batch a call costs as much as the step it makes: so there are several in one, and the
    state stays where it is in between.

    The compiled function takes the state, the fraction of the learning rates that is left at each of T steps [T],
    how many of them to do, what of the model is fixed, and T batches with their targets, stacked. It returns the new
    state and the loss of every structure, [T, S].

    References
    ----------
    Kingma and Ba, arXiv:1412.6980.
    """

    @Compiled
    def run(
        state: State,
        fractions: tf.Tensor,
        n_steps: tf.Tensor,
        fixed: Parameters,
        arrays: Arrays,
        targets: Targets,
    ) -> tuple[State, tf.Tensor]:
        def step(index: tf.Tensor, state: State, found: tf.Tensor) -> tuple[tf.Tensor, State, tf.Tensor]:
            batch, labels = Arrays(*(a[index] for a in arrays)), Targets(*(t[index] for t in targets))
            with tf.GradientTape() as tape:
                tape.watch(state.parameters)
                each = losses({**state.parameters, **fixed}, batch, labels, settings, with_forces)
                total = tf.reduce_sum(each) / tf.math.count_nonzero(labels.energy_weights, dtype=each.dtype)
            now = {name: fractions[index] * rates.of(name) for name in state.parameters}
            moved = adam(state, tape.gradient(total, state.parameters), now)
            return index + 1, moved, tf.tensor_scatter_nd_update(found, [[index]], [each])

        nothing = tf.zeros_like(targets.energies)
        _, state, found = tf.while_loop(
            lambda index, *_: index < n_steps, step, (tf.constant(0), state, nothing)
        )
        return state, found

    return run


def adam(state: State, gradients: Parameters, rates: Parameters) -> State:
    """Move every parameter by its learning rate times `mean / sqrt(square)`, bias-corrected.

    A gradient larger than is usual, as of a structure with two colliding atoms, is shortened first: its share of `mean`
    is a tenth, but that of `square` a thousandth, so that one that is far larger would move every parameter of the
    network by thirty times the learning rate (docs/recipe.md).
    """
    step = state.step + 1.0
    correction = tf.sqrt(1.0 - BETA_2**step) / (1.0 - BETA_1**step)
    parameters, means, squares = {}, {}, {}
    for name, gradient in gradients.items():
        short = gradient * _shortening(gradient, state.square[name], state.step)
        means[name] = BETA_1 * state.mean[name] + (1 - BETA_1) * short
        squares[name] = BETA_2 * state.square[name] + (1 - BETA_2) * short * short
        size = rates[name] * tf.cast(correction, short.dtype)
        parameters[name] = state.parameters[name] - size * means[name] / (tf.sqrt(squares[name]) + EPSILON)
    return State(parameters, means, squares, step)


def _shortening(gradient: tf.Tensor, square: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """What brings the norm of a gradient to at most `LONGEST` times its root mean square so far."""
    so_far = tf.cast(tf.maximum(1.0 - BETA_2**step, 1.0 - BETA_2), gradient.dtype)
    usual, norm = tf.sqrt(tf.reduce_sum(square) / so_far), tf.norm(gradient)
    return tf.where(step < WARM_UP, 1.0, tf.minimum(1.0, LONGEST * usual / (norm + TINY)))
