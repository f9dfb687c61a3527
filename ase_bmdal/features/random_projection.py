"""FEAT(RP): random projections of the gradient by all weights and biases (paper, eq. 19)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike

from ase_bmdal.common.randomness import stream
from ase_bmdal.potential.network import Forward, augmented_inputs, output_gradients

N_PROJECTIONS = 512


class Projections(NamedTuple):
    """`U_in` [d_{l-1} + 1, d_rp] and `U_out` [d_l, d_rp] of each layer, to multiply from the right."""

    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]


def projections(
    seed: int, widths: Sequence[int], dtype: DTypeLike, n_projections: int = N_PROJECTIONS
) -> Projections:
    """Independent standard normal numbers that depend on the seed and the network's widths alone.

    Parameters
    ----------
    seed
        Of the run: the same projections after a restart.
    widths
        `d_0 ... d_L`.
    dtype
        Precision of the projections.
    n_projections
        `d_rp`.
    """

    def normal(side: str, layer: int, width: int) -> tf.Tensor:
        numbers = stream(seed, "projections", side, layer).standard_normal((width, n_projections))
        return tf.constant(numbers.astype(np.dtype(dtype)))

    layers = list(enumerate(pairwise(widths), start=1))
    return Projections(
        [normal("in", layer, d_in + 1) for layer, (d_in, _) in layers],
        [normal("out", layer, d_out) for layer, (_, d_out) in layers],
    )


def random_projection(network: Forward, weights: Sequence[tf.Tensor], chosen: Projections) -> tf.Tensor:
    """`d_rp^(-1/2) sum_l (U_out dz^(L)/dz^(l)) ⊙ (U_in x̃^(l-1))` for each atom.

    The inner product of two such vectors estimates that of the full gradients, without bias.

    Parameters
    ----------
    network
        What the network computed for A atoms.
    weights
        `W` of each layer, [d_{l-1}, d_l].
    chosen
        The same for every atom and structure.

    Returns
    -------
    Tensor
        [A, d_rp].
    """
    layers = zip(output_gradients(network, weights), augmented_inputs(network), *chosen, strict=True)
    total = tf.add_n([(gradient @ u_out) * (inputs @ u_in) for gradient, inputs, u_in, u_out in layers])
    return total * chosen.inputs[0].shape[1] ** -0.5
