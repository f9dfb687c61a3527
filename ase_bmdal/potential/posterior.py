"""GP posterior on the inputs of the network, atom by atom, as part of a prediction (paper, eq. 23)."""

import tensorflow as tf

from ase_bmdal.potential.network import Forward, augmented_inputs

TINY = 1e-20


def posterior_features(network: Forward, is_atom: tf.Tensor, posterior: tf.Tensor) -> tf.Tensor:
    """`P phi_i`, whose squared norm is the posterior variance `k(i, i | train)` (paper, eq. 23).

    Those of a structure are the sum of those of its atoms.

    Parameters
    ----------
    network
        What the network computed for A atoms.
    is_atom
        One for atoms, zero for padding, [A].
    posterior
        `P`, [m, n_features].

    Returns
    -------
    Tensor
        [A, m].
    """
    return is_atom[:, None] * tf.matmul(augmented_inputs(network)[0], posterior, transpose_b=True)


def norm(vectors: tf.Tensor) -> tf.Tensor:
    """Norm over the last axis, with a derivative where it is zero, as for padding."""
    return tf.sqrt(tf.reduce_sum(vectors * vectors, axis=-1) + TINY)
