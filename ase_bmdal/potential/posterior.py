"""GP posterior on last-layer features, atom by atom, as part of a prediction (paper, eqs. 14 and 23)."""

import tensorflow as tf

from ase_bmdal.potential.network import Forward, augmented_inputs

TINY = 1e-20


def posterior_deviations(
    network: Forward, scale: tf.Tensor, posterior: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Square root of the posterior variance `k(i, i | train) = |P phi_i|²` (paper, eq. 23).

    Parameters
    ----------
    network
        What the network computed for the A atoms of one structure.
    scale
        `c sigma_Zi` of each atom, zero for padding, [A].
    posterior
        `P`.

    Returns
    -------
    tuple of Tensor
        Of each atom [A], and of their sum, the structure.
    """
    mapped = scale[:, None] * tf.matmul(augmented_inputs(network)[-1], posterior, transpose_b=True)
    return _norm(mapped), _norm(tf.reduce_sum(mapped, axis=0))


def _norm(vectors: tf.Tensor) -> tf.Tensor:
    """Norm over the last axis, with a derivative where it is zero, as for padding."""
    return tf.sqrt(tf.reduce_sum(vectors * vectors, axis=-1) + TINY)
