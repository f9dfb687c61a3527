"""Feature vectors of structures and of atoms, by any feature map."""

from collections.abc import Iterator, Sequence
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
from ase_bmdal.structures.batch import Batch, BatchShape, batches

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
    rows: dict[int, NDArray[np.floating]] = {}
    for members, _, values in _by_batch(model, structures, feature_map, seed, summed=True):
        rows.update(zip(members, values, strict=False))
    return np.stack([rows[index] for index in range(len(structures))])


def atomic_features(
    model: GMNN, structures: Sequence[Atoms], feature_map: FeatureMap, *, seed: int = 0
) -> list[NDArray[np.floating]]:
    """Gradient features of atoms, `c sigma_Zi phi(G_i)`; their sum over a structure is that of `gradient_features`.

    Returns
    -------
    list of ndarray
        [n_atoms, n_features] for each structure.
    """
    rows: dict[int, NDArray[np.floating]] = {}
    for members, batch, values in _by_batch(model, structures, feature_map, seed, summed=False):
        rows.update(zip(members, batch.split(values), strict=True))
    return [rows[index] for index in range(len(structures))]


def _by_batch(
    model: GMNN, structures: Sequence[Atoms], feature_map: FeatureMap, seed: int, *, summed: bool
) -> Iterator[tuple[list[int], Batch, NDArray[np.floating]]]:
    if feature_map not in FEATURE_MAPS:
        raise ValueError(f"expected a feature map of {', '.join(FEATURE_MAPS)}, got {feature_map!r}")
    settings = model.settings
    chosen = None
    if feature_map == "RP":
        chosen = projections(seed, settings.widths, settings.numpy_dtype)
    for members, batch in batches(
        structures, model.elements, settings.cutoff, settings.numpy_dtype, ATOMS_PER_BATCH
    ):
        yield (
            members,
            batch,
            _compiled(settings, batch.shape, summed)(model.tensors, arrays_of(batch), chosen).numpy(),
        )


@cache
def _compiled(settings: ModelSettings, shape: BatchShape, summed: bool) -> Any:
    @Compiled
    def run(parameters: Parameters, arrays: BatchTensors, chosen: Projections | None) -> tf.Tensor:
        network = atomic_network(parameters, arrays.environments, settings)
        if chosen is None:
            values = last_layer(network)
        else:
            values = random_projection(network, layer_weights(parameters), chosen)
        scales = parameters["energy_scale"] * of_species(parameters["scale"], arrays.species)
        values = scales[:, None] * values
        return tf.math.unsorted_segment_sum(values, arrays.structure, shape.structures) if summed else values

    return run
