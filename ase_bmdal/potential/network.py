"""The atomistic network: fully connected, in the neural-tangent parametrisation (paper, eq. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ase_bmdal.potential.settings import ModelSettings

ACTIVATION_SCALE = 1.6765  # makes the mean square of the activation one for a standard normal input
BIAS_SCALE = 0.1


@dataclass(frozen=True, eq=False)
class InputScaling:
    """How invariants become inputs of the network: `scale (G - mean)`.

    Attributes
    ----------
    mean
        Of the invariants of the atoms of the training set, [n_invariants].
    scale
        One for all invariants: those that vary little say little of the energy.
    """

    mean: NDArray[np.floating]
    scale: float

    @staticmethod
    def none(settings: ModelSettings) -> "InputScaling":
        """Invariants as they are."""
        return InputScaling(np.zeros(settings.n_invariants), 1.0)

    @staticmethod
    def of(invariants: NDArray[np.floating], spread: float) -> "InputScaling":
        """What gives invariants, [n_atoms, n_invariants], mean zero and the root mean square `spread`."""
        found = np.sqrt(np.mean(np.var(invariants, axis=0, dtype=np.float64)))
        return InputScaling(
            np.mean(invariants, axis=0, dtype=np.float64), float(spread / found) if found else 1.0
        )


class Forward(NamedTuple):
    """What the network computed: outputs [A], inputs [A, d_{l-1}] and pre-activations [A, d_l] of each layer."""

    outputs: tf.Tensor
    inputs: list[tf.Tensor]
    pre_activations: list[tf.Tensor]


def forward(parameters: dict[str, tf.Tensor], invariants: tf.Tensor) -> Forward:
    """Layer by layer `z = 0.1 b + d^(-1/2) W x`, `x = a silu(z)`.

    Parameters
    ----------
    parameters
        ``W1``, ``b1`` and so on; `W` is stored transposed, [d_{l-1}, d_l].
    invariants
        [A, d_0].
    """
    x, inputs, pre_activations = invariants, [], []
    depth = count_layers(parameters)
    for layer in range(1, depth + 1):
        weights, bias = parameters[f"W{layer}"], parameters[f"b{layer}"]
        z = BIAS_SCALE * bias + weights.shape[0] ** -0.5 * (x @ weights)
        inputs.append(x)
        pre_activations.append(z)
        x = ACTIVATION_SCALE * tf.nn.silu(z)
    return Forward(pre_activations[-1][:, 0], inputs, pre_activations)


def augmented_inputs(network: Forward) -> list[tf.Tensor]:
    """`x̃^(l-1) = (d_{l-1}^(-1/2) x^(l-1), 0.1)` of each layer (paper, below eq. 12): [A, d_{l-1} + 1]."""
    return [
        tf.concat(
            [x.shape[1] ** -0.5 * x, tf.fill((x.shape[0], 1), tf.constant(BIAS_SCALE, x.dtype))], axis=1
        )
        for x in network.inputs
    ]


def output_gradients(network: Forward, weights: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """`dz^(L)/dz^(l)` of each layer by back-propagation: [A, d_l].

    Parameters
    ----------
    network
        What the network computed.
    weights
        `W` of each layer, [d_{l-1}, d_l].
    """
    gradients = [tf.ones_like(network.pre_activations[-1])]
    for z, w in zip(network.pre_activations[-2::-1], weights[:0:-1], strict=True):
        sigmoid = tf.sigmoid(z)
        slope = ACTIVATION_SCALE * sigmoid * (1 + z * (1 - sigmoid))
        gradients.append(slope * w.shape[0] ** -0.5 * tf.matmul(gradients[-1], w, transpose_b=True))
    return gradients[::-1]


def layer_weights(parameters: dict[str, tf.Tensor]) -> list[tf.Tensor]:
    """`W` of each layer, [d_{l-1}, d_l]."""
    return [parameters[f"W{layer}"] for layer in range(1, count_layers(parameters) + 1)]


def count_layers(parameters: dict[str, tf.Tensor]) -> int:
    """Number of weight matrices."""
    return sum(name.startswith("W") for name in parameters)


def initial_parameters(
    settings: ModelSettings, n_species: int, rng: np.random.Generator
) -> dict[str, NDArray[np.floating]]:
    """Random parameters: `W ~ N(0, 1)`, `b = 0`, `beta` uniform in [-1, 1], `sigma = 1`, `mu = 0`.

    A part of `beta`, `ModelSettings.shared`, is the same for all pairs of elements; its variance stays 1/3.

    Parameters
    ----------
    settings
        Architecture.
    n_species
        Number of elements.
    rng
        Where the numbers come from.

    Returns
    -------
    dict
        ``beta``, ``W1``, ``b1``, ..., ``scale``, ``shift``.
    """
    columns = n_species * settings.n_gaussians
    own = rng.uniform(-1.0, 1.0, (n_species, settings.n_radial, columns))
    common = np.tile(rng.uniform(-1.0, 1.0, (settings.n_radial, settings.n_gaussians)), n_species)
    parameters = {"beta": (1 - settings.shared) ** 0.5 * own + settings.shared**0.5 * common}
    for layer, (d_in, d_out) in enumerate(zip(settings.widths, settings.widths[1:], strict=False), start=1):
        parameters[f"W{layer}"] = rng.standard_normal((d_in, d_out))
        parameters[f"b{layer}"] = np.zeros(d_out)
    parameters |= {"scale": np.ones(n_species), "shift": np.zeros(n_species)}
    return {name: value.astype(settings.numpy_dtype) for name, value in parameters.items()}
