"""Ensemble: the average of the kernels of several models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def ensemble_features(members: Sequence[Floats]) -> Floats:
    """Concatenate the features of n models, divided by √n: k = (1/n) Σ_m φ_mᵀ φ_m.

    Parameters
    ----------
    members : n arrays of [n_structures, n_features]
        Features of the same structures by every model.

    Returns
    -------
    array : [n_structures, Σ n_features]
        Features of the averaged kernel.

    Raises
    ------
    ValueError
        If there is no model, or the models disagree on the number of structures.
    """
    if len(members) == 0:
        raise ValueError("members: expected the features of at least one model, got none")
    shapes = [np.shape(features) for features in members]
    if any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(
            f"members: expected shapes [structures, features] with equal structures, got {shapes}"
        )
    combined = np.concatenate(members, axis=1)
    return combined / np.asarray(np.sqrt(len(members)), combined.dtype)
