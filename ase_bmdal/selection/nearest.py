"""Nearest training structure of every structure of a pool: the one table of distances that is not small."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ase_bmdal.selection.distances import Doubles, Floats, Indices, row_blocks, squared_distances
from ase_bmdal.selection.projection import PrincipalAxes, Projection

Table = tuple[Callable[[slice], Projection], Projection]  # what projects points, and the fixed ones projected
TABLE_ENTRIES = 2**20
IN_DOUBT = 4  # fixed points in doubt per point; if there are more, a larger table is cheaper than differences


class Found(NamedTuple):
    """A guess for each point with its squared distance [n], and all pairs of points and fixed ones in doubt."""

    guess: Indices
    squares: Doubles
    rows: Indices
    columns: Indices


def nearest_points(
    points: Floats, fixed: Floats, projection: Projection | None = None
) -> tuple[Indices, Doubles]:
    """Nearest of some fixed points for any other points; of equally near ones the first.

    A table of distances by one matrix product, in few dimensions if the points are projected, or else in all, or
    else in float64, leaves a few fixed points in doubt, mostly one; differences in float64 decide.

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors.
    fixed : [n_fixed, n_features]
        Fixed points, in the same precision.
    projection
        Of the points.

    Returns
    -------
    nearest : [n]
        Index of the fixed point.
    squares : [n]
        Squared distance to it.
    """
    tables = _tables(points, fixed, projection)
    table = next(tables)
    nearest, squares = np.empty(len(points), np.int64), np.empty(len(points))
    for block in row_blocks(len(points), len(fixed), max(TABLE_ENTRIES, 128 * len(fixed))):
        found = _look_up(table, points, fixed, block)
        while len(found.rows) > IN_DOUBT * len(found.guess) and (larger := next(tables, None)):
            table = larger
            found = _look_up(table, points, fixed, block)
        nearest[block], squares[block] = _decide(found, points, fixed, block)
    return nearest, squares


def _tables(points: Floats, fixed: Floats, projection: Projection | None) -> Iterator[Table]:
    """From the smallest to the largest, each made when those before left too many in doubt."""
    if projection:
        yield projection.__getitem__, projection.axes.project(fixed, points.dtype)
    axes = PrincipalAxes.of(fixed, points)
    yield lambda block: axes.project(points[block], points.dtype), axes.project(fixed, points.dtype)
    yield lambda block: axes.project(points[block], np.float64), axes.project(fixed, np.float64)


def _look_up(table: Table, points: Floats, fixed: Floats, block: slice) -> Found:
    project, others = table
    projection = project(block)
    products = projection.products(others)
    guess = products.argmin(axis=1)
    squares = squared_distances(points, np.arange(block.start, block.stop), fixed, guess)
    return Found(guess, squares, *projection.pairs_within(others, np.sqrt(squares), products))


def _decide(found: Found, points: Floats, fixed: Floats, block: slice) -> tuple[Indices, Doubles]:
    places = np.arange(block.start, block.stop)
    guess, squares, rows, columns = found
    is_other = columns != guess[rows]
    rows, columns = rows[is_other] + block.start, columns[is_other]
    squares = np.concatenate([squares, squared_distances(points, rows, fixed, columns)])
    rows, columns = np.concatenate([places, rows]), np.concatenate([guess, columns])
    order = np.lexsort((columns, squares, rows))
    first = order[np.searchsorted(rows[order], places)]
    return columns[first], squares[first]
