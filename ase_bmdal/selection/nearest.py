"""Nearest training structure of every structure of a pool: the one table of distances that is not small."""

import numpy as np
from numpy.typing import DTypeLike

from ase_bmdal.selection.distances import (
    Doubles,
    Floats,
    Indices,
    relative_rounding,
    row_blocks,
    squared_distances,
    squared_norms,
)

TABLE_ENTRIES = 2**20
IN_DOUBT = (
    4  # fixed points in doubt per point; if there are more, a table in float64 is cheaper than differences
)


class NearestPoints:
    """Nearest of some fixed points for any other points; of equally near ones the first.

    A table of distances by one matrix product, in the precision of the points, leaves a few fixed points in doubt,
    mostly one; differences in float64 decide.

    Parameters
    ----------
    fixed : [n_fixed, n_features]
        Fixed points.
    """

    def __init__(self, fixed: Floats) -> None:
        self._fixed = fixed
        self._tables = [_Table(fixed, dtype) for dtype in (fixed.dtype, np.float64)]

    def __call__(self, points: Floats) -> tuple[Indices, Doubles]:
        """Find the nearest fixed point of every point.

        Parameters
        ----------
        points : [n, n_features]
            Feature vectors, in the precision of the fixed points.

        Returns
        -------
        nearest : [n]
            Index of the fixed point.
        squares : [n]
            Squared distance to it.
        """
        nearest, squares = np.empty(len(points), np.int64), np.empty(len(points))
        n_fixed = len(self._fixed)
        for block in row_blocks(len(points), n_fixed, max(TABLE_ENTRIES, 128 * n_fixed)):
            nearest[block], squares[block] = self._of_block(points[block])
        return nearest, squares

    def _of_block(self, points: Floats) -> tuple[Indices, Doubles]:
        for table in self._tables:
            rows, columns = table.in_doubt(points)
            if len(rows) <= IN_DOUBT * len(points):
                break
        squares = squared_distances(points, rows, self._fixed, columns)
        smallest = np.minimum.reduceat(squares, np.searchsorted(rows, np.arange(len(points))))
        hits = np.flatnonzero(squares == smallest[rows])[::-1]
        nearest = np.empty(len(points), np.int64)
        nearest[rows[hits]] = columns[hits]  # backwards, so the first one stays
        return nearest, smallest


class _Table:
    """|y|² - 2 x·y in one precision for points x and fixed points y, relative to the mean of these.

    The rounding of a squared distance is below k (|x| + |y|)² <= 2k|x|² + 2k|y|², k the relative rounding.
    """

    def __init__(self, fixed: Floats, dtype: DTypeLike) -> None:
        self._origin = fixed.mean(axis=0, dtype=np.float64).astype(fixed.dtype).astype(dtype)
        self._k = relative_rounding(dtype, fixed.shape[1])
        self._underflow = fixed.shape[1] * float(np.finfo(dtype).tiny)
        self._squares = squared_norms(fixed, self._origin)
        self._low_squares = ((1 - 2 * self._k) * self._squares).astype(dtype)
        self._minus_two_y = -2 * np.subtract(fixed, self._origin, dtype=dtype)

    def in_doubt(self, points: Floats) -> tuple[Indices, Indices]:
        x = np.subtract(points, self._origin, dtype=self._origin.dtype)
        low = x @ self._minus_two_y.T  # [n, n_fixed]
        low += self._low_squares
        best = low.argmin(axis=1)
        squares = np.einsum("ij,ij->i", x, x, dtype=np.float64)
        rounding = 4 * self._k * (squares + self._squares[best]) + self._underflow
        limit = low[np.arange(len(low)), best] + rounding
        rows, columns = np.nonzero(low <= limit[:, None].astype(low.dtype))
        return rows, columns
