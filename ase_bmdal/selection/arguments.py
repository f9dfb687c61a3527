"""Arguments of a selection, checked once before any method sees them."""

import operator

import numpy as np
from numpy.typing import ArrayLike

from ase_bmdal.selection.distances import Floats, row_blocks


def checked_features(name: str, features: ArrayLike, n_features: int | None = None) -> Floats:
    """Refuse anything but one row of finite numbers per structure.

    Parameters
    ----------
    name
        What the array is called in error messages.
    features : [n, n_features]
        Real numbers.
    n_features
        Required number of columns, if there is one.

    Returns
    -------
    array : [n, n_features]
        The input itself if it is an array of float32 or float64, else converted.

    Raises
    ------
    ValueError
        If the array has another shape, or holds anything but finite real numbers.
    """
    array = _as_floats(name, features)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name}: expected shape [structures, features], got {array.shape}")
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"{name}: expected {n_features} features like the pool, got {array.shape[1]}")
    _require_finite(name, array)
    return array


def checked_diagonal(diagonal: ArrayLike) -> Floats:
    """Refuse anything but one finite number per structure, or features.

    Parameters
    ----------
    diagonal : [n_pool] or [n_pool, n_features]
        Diagonal of a kernel, or features whose squared norms are the diagonal.

    Returns
    -------
    array : [n_pool] or [n_pool, n_features]
        The input itself if it is an array of float32 or float64, else converted.

    Raises
    ------
    ValueError
        If the array has another shape, or holds anything but finite real numbers.
    """
    array = _as_floats("pool", diagonal)
    if array.ndim != 1:
        return checked_features("pool", array)
    _require_finite("pool", array[:, None])
    return array


def checked_size(n: int, n_pool: int) -> int:
    """Refuse a batch that is empty or larger than the pool.

    Parameters
    ----------
    n
        Structures to pick.
    n_pool
        Structures in the pool.

    Returns
    -------
    int
        The size as a Python integer.

    Raises
    ------
    ValueError
        If the size is below one or above the number of structures in the pool.
    """
    if n_pool == 0:
        raise ValueError("pool: expected at least one structure, got none")
    if not 1 <= n <= n_pool:
        raise ValueError(f"n: expected 1 to {n_pool} (structures in the pool), got {n}")
    return operator.index(n)


def _as_floats(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got dtype {array.dtype}")
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def _require_finite(name: str, array: Floats) -> None:
    for block in row_blocks(*array.shape):
        finite = np.isfinite(array[block]).all(axis=1)
        if not finite.all():
            row = block.start + int(finite.argmin())
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity in row {row}")
