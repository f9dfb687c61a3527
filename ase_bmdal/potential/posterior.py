"""GP posterior on last-layer features, atom by atom, as part of a prediction (paper, eqs. 14 and 23)."""

import tensorflow as tf

from ase_bmdal.potential.network import Forward, augmented_inputs

TINY = 1e-20


def posterior_features(network: Forward, scale: tf.Tensor, posterior: tf.Tensor) -> tf.Tensor:
    """`P phi_i`, whose squared norm is the posterior variance `k(i, i | train)` (paper, eq. 23).

    Those of a structure are the sum of those of its atoms.

    Parameters
    ----------
    network
        What the network computed for A atoms.
    scale
        `c sigma_Zi` of each atom, zero for padding, [A].
    posterior
        `P`, [m, n_features].

    Returns
    -------
    Tensor
        [A, m].
    """
    return scale[:, None] * tf.matmul(augmented_inputs(network)[-1], posterior, transpose_b=True)


def norm(vectors: tf.Tensor) -> tf.Tensor:
    """Norm over the last axis, with a derivative where it is zero, as for padding."""
    return tf.sqrt(tf.reduce_sum(vectors * vectors, axis=-1) + TINY)
