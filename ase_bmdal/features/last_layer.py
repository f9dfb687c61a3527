"""FEAT(LL): gradient of the energy by the last layer (paper, eq. 14)."""

import tensorflow as tf

from ase_bmdal.potential.network import Forward, augmented_inputs


def last_layer(network: Forward) -> tf.Tensor:
    """Gradient of each atom's output by the weights and the bias of the last layer, `(d^(-1/2) x, 0.1)`.

    Parameters
    ----------
    network
        What the network computed for A atoms.

    Returns
    -------
    Tensor
        [A, d_{L-1} + 1]; 513 for the paper's network.
    """
    return augmented_inputs(network)[-1]
