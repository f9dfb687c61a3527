"""Nearest training structure of every structure of a pool: the one table of distances that is not small."""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from ase_bmdal.selection.distances import Doubles, Floats, Indices, row_blocks, squared_distances
from ase_bmdal.selection.outline import Axes, Outline

Table = tuple[Callable[[slice], Outline], Outline]  # draws some points; the fixed ones, along the same axes
TABLE_ENTRIES = 2**20
IN_DOUBT = 4  # fixed points in doubt per point; if there are more, a larger table is cheaper than differences


def nearest_points(points: Floats, fixed: Floats, outline: Outline | None = None) -> tuple[Indices, Doubles]:
    """Nearest of some fixed points for any other points; of equally near ones the first.

    A table of distances by one matrix product, in few dimensions if there is an outline of the points, or else in all,
    or else in float64, leaves a few fixed points in doubt, mostly one; differences in float64 decide.

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors.
    fixed : [n_fixed, n_features]
        Fixed points, in the same precision.
    outline
        Of the points.

    Returns
    -------
    nearest : [n]
        Index of the fixed point.
    squares : [n]
        Squared distance to it.
    """
    axes = Axes.of(fixed, points)
    tables = [_whole(points, fixed, axes, dtype) for dtype in (points.dtype, np.float64)]
    if outline:
        tables.insert(0, (outline.__getitem__, outline.axes.outline(fixed, points.dtype)))
    nearest, squares = np.empty(len(points), np.int64), np.empty(len(points))
    for block in row_blocks(len(points), len(fixed), max(TABLE_ENTRIES, 128 * len(fixed))):
        nearest[block], squares[block] = _of_block(points, fixed, tables, block)
    return nearest, squares


def _whole(points: Floats, fixed: Floats, axes: Axes, dtype: DTypeLike) -> Table:
    return lambda block: axes.outline(points[block], dtype), axes.outline(fixed, dtype)


def _of_block(points: Floats, fixed: Floats, tables: list[Table], block: slice) -> tuple[Indices, Doubles]:
    """A table that leaves many fixed points in doubt is not used for another block, either."""
    places = np.arange(block.start, block.stop)
    while True:
        draw, drawn = tables[0]
        outline = draw(block)
        products = outline.products(drawn)
        guess = products.argmin(axis=1)
        squares = squared_distances(points, places, fixed, guess)
        rows, columns = outline.within(np.sqrt(squares), drawn, products)
        if len(rows) <= IN_DOUBT * len(places) or len(tables) == 1:
            break
        tables.pop(0)
    is_other = columns != guess[rows]
    rows, columns = rows[is_other] + block.start, columns[is_other]
    squares = np.concatenate([squares, squared_distances(points, rows, fixed, columns)])
    rows, columns = np.concatenate([places, rows]), np.concatenate([guess, columns])
    order = np.lexsort((columns, squares, rows))
    first = order[np.searchsorted(rows[order], places)]
    return columns[first], squares[first]
