"""Feature vectors of structures, by any feature map."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.features.last_layer import last_layer
from ase_bmdal.features.random_projection import Projections, projections, random_projection
from ase_bmdal.potential.compilation import Compiled
from ase_bmdal.potential.gmnn import ATOMS_PER_BATCH, GMNN, arrays_of
from ase_bmdal.potential.gradients import BatchTensors, Parameters, atomic_network, of_species
from ase_bmdal.potential.network import layer_weights
from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.structures.batch import BatchShape, batches

FeatureMap = Literal["LL", "RP"]
FEATURE_MAPS = get_args(FeatureMap)


def gradient_features(
    model: GMNN, structures: Sequence[Atoms], feature_map: FeatureMap, *, seed: int = 0
) -> NDArray[np.floating]:
    """Gradient features of structures, `phi(S) = sum_i c sigma_Zi phi(G_i)` (paper, eq. 11).

    Only weights and biases count; `beta`, `sigma` and `mu` are held fixed.

    Parameters
    ----------
    model
        One network; for a committee, take each member and join them by `kernels.ensemble`.
    structures
        At least one.
    feature_map
        ``"LL"`` for FEAT(LL), ``"RP"`` for FEAT(RP).
    seed
        Of the random projections.

    Returns
    -------
    ndarray
        [n_structures, n_features], in the precision of the model. What else is in the list does not matter.

    Raises
    ------
    ValueError, UnknownElementError
        For an unknown feature map, or as `GMNN.predict`.
    """
    if feature_map not in FEATURE_MAPS:
        raise ValueError(f"expected a feature map of {', '.join(FEATURE_MAPS)}, got {feature_map!r}")
    settings = model.settings
    rows: dict[int, NDArray[np.floating]] = {}
    chosen = projections(seed, settings.widths, settings.numpy_dtype) if feature_map == "RP" else None
    for members, batch in batches(
        structures, model.elements, settings.cutoff, settings.numpy_dtype, ATOMS_PER_BATCH
    ):
        values = _compiled(settings, batch.shape)(model.tensors, arrays_of(batch), chosen).numpy()
        rows.update(zip(members, values, strict=False))  # the batch is padded
    return np.stack([rows[index] for index in range(len(structures))])


@cache
def _compiled(settings: ModelSettings, shape: BatchShape) -> Any:
    @Compiled
    def run(parameters: Parameters, arrays: BatchTensors, chosen: Projections | None) -> tf.Tensor:
        network = atomic_network(parameters, arrays.environments, settings)
        if chosen is None:
            values = last_layer(network)
        else:
            values = random_projection(network, layer_weights(parameters), chosen)
        scales = parameters["energy_scale"] * of_species(parameters["scale"], arrays.species)
        return tf.math.unsorted_segment_sum(scales[:, None] * values, arrays.structure, shape.structures)

    return run
