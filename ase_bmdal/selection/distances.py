"""Squared norms and distances of feature vectors from differences in float64: what all selection rests on.

Block by block, so that a pool in a memory-mapped file is never copied as a whole.
"""

from collections.abc import Iterator
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Precision = TypeVar("Precision", Floats, Doubles)

BLOCK_ENTRIES = 2**17  # 1 MB of float64 stays in the cache of one core


def row_blocks(n_rows: int, n_columns: int, entries: int = BLOCK_ENTRIES) -> Iterator[slice]:
    """Cut the rows of an array into blocks.

    Parameters
    ----------
    n_rows, n_columns
        Shape of the array.
    entries
        About how many numbers a block may hold.

    Yields
    ------
    slice
        Consecutive rows.
    """
    step = max(1, entries // n_columns)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def squared_norms(points: Floats) -> Doubles:
    """Squared length of every row, |x|².

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors x.

    Returns
    -------
    array : [n]
        Squared lengths.
    """
    squares = np.empty(len(points))
    for block in row_blocks(*points.shape):
        squares[block] = squares_of_rows(points[block].astype(np.float64))
    return squares


def squared_distances(points: Floats, rows: Indices, others: Floats, columns: Indices) -> Doubles:
    """Squared distances of pairs, D² = |x - y|² (paper, eq. 10).

    No cancellation: a copy is at distance zero exactly, however much all rows have in common.

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors x.
    rows : [n_pairs]
        First of each pair, a row of `points`.
    others : [m, n_features]
        Feature vectors y.
    columns : [n_pairs]
        Second of each pair, a row of `others`.

    Returns
    -------
    array : [n_pairs]
        Squared distances.
    """
    squares = np.empty(len(rows))
    for block in row_blocks(len(rows), points.shape[1]):
        differences = np.subtract(points[rows[block]], others[columns[block]], dtype=np.float64)
        squares[block] = squares_of_rows(differences)
    return squares


def relative_rounding(dtype: DTypeLike, n_terms: int) -> float:
    """Bound the rounding error of a sum of products, relative to the product of the lengths of its vectors.

    Parameters
    ----------
    dtype
        Precision of the sum.
    n_terms
        Length of the vectors.

    Returns
    -------
    float
        Twice the worst case, so that the bound itself may be rounded.
    """
    return (n_terms + 4) * float(np.finfo(dtype).eps)


def squares_of_rows(array: Precision) -> Precision:
    """Squared length of every row, in the precision of the array: [n, n_features] to [n]."""
    return cast(Precision, np.einsum("ij,ij->i", array, array))
