"""What matrix products in the precision of the pool can tell for certain, whatever their rounding.

Products are several times as fast as differences but lose digits. They serve here to leave differences out.
"""

import numpy as np
from numpy.typing import DTypeLike

from ase_bmdal.selection.distances import Doubles, Floats, Indices, row_blocks, squared_distances

PRODUCT_ENTRIES = 2**20
IN_DOUBT = 4  # points in doubt per row; if there are more, a product in float64 is cheaper than differences


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


def rows_times_vector(points: Floats, vector: Floats, rows: Indices | None = None) -> Floats:
    """Multiply rows of a matrix by a vector.

    Parameters
    ----------
    points : [n, n_features]
        Matrix.
    vector : [n_features]
        Vector in the same precision.
    rows : [n_rows]
        Which rows are wanted; all by default.

    Returns
    -------
    array : [n_rows]
        The products.
    """
    if rows is None:
        return points @ vector
    if 2 * len(rows) > len(points):  # reading everything in order is faster than collecting rows
        return (points @ vector)[rows]
    products = np.empty(len(rows), points.dtype)
    for block in row_blocks(len(rows), len(vector)):
        products[block] = points[rows[block]] @ vector
    return products


def lower_bounds(
    points: Floats, squares: Doubles, point: Floats, origin: Floats, rows: Indices | None = None
) -> Doubles:
    """Bound the squared distances of one point to others from below.

    D² = |x - o|² - 2 (x - o)·(y - o) + |y - o|², less what rounding can have added.

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors x.
    squares : [n]
        Their |x - o|².
    point : [n_features]
        Feature vector y.
    origin : [n_features]
        Feature vector o; any will do, a central one gives the closest bounds.
    rows : [n_rows]
        Which of `points` are wanted; all by default.

    Returns
    -------
    array : [n_rows]
        Numbers that no squared distance is below.
    """
    shifted = np.subtract(point, origin, dtype=np.float64)
    square = shifted @ shifted
    products = rows_times_vector(points, shifted.astype(points.dtype), rows) - origin @ shifted
    squares = squares if rows is None else squares[rows]
    lengths = np.sqrt(squares) + (np.sqrt(square) + np.sqrt(np.square(origin, dtype=np.float64).sum()))
    relative = relative_rounding(points.dtype, len(point))
    underflow = len(point) * float(np.finfo(points.dtype).tiny)
    bounds: Doubles = squares - 2 * products + square - relative * lengths**2 - underflow
    return bounds


class NearestPoints:
    """Nearest of some fixed points for any other points; of equally near ones the first.

    Parameters
    ----------
    fixed : [m, n_features]
        Fixed points.
    origin : [n_features]
        A central point, in the same precision.
    """

    def __init__(self, fixed: Floats, origin: Floats) -> None:
        self._fixed = fixed
        self._origin = origin
        self._products = [_Products(fixed, origin, dtype) for dtype in (fixed.dtype, np.float64)]

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
            Squared distance to it, from differences.
        """
        nearest, squares = np.empty(len(points), np.int64), np.empty(len(points))
        n_fixed = len(self._fixed)
        for block in row_blocks(len(points), n_fixed, max(PRODUCT_ENTRIES, 128 * n_fixed)):
            nearest[block], squares[block] = self._of_block(points[block])
        return nearest, squares

    def _of_block(self, points: Floats) -> tuple[Indices, Doubles]:
        for products in self._products:
            rows, columns = products.in_doubt(points)
            if len(rows) <= IN_DOUBT * len(points):
                break
        squares = squared_distances(points, rows, self._fixed, columns)
        smallest = np.minimum.reduceat(squares, np.searchsorted(rows, np.arange(len(points))))
        hits = np.flatnonzero(squares == smallest[rows])[::-1]
        nearest = np.empty(len(points), np.int64)
        nearest[rows[hits]] = columns[hits]  # backwards, so the first one stays
        return nearest, smallest


class _Products:
    """Which fixed points can be the nearest, by |y|² - 2 x·y in one precision, relative to the origin.

    The rounding of a squared distance is below k (|x| + |y|)² <= 2k|x|² + 2k|y|², k the relative rounding.
    """

    def __init__(self, fixed: Floats, origin: Floats, dtype: DTypeLike) -> None:
        self._origin = origin.astype(dtype)
        self._k = relative_rounding(dtype, len(origin))
        self._tiny = len(origin) * float(np.finfo(dtype).tiny)
        shifted = np.subtract(fixed, origin, dtype=np.float64)
        self._squares = np.einsum("ij,ij->i", shifted, shifted)
        self._minus_two_y = (-2 * shifted).astype(dtype)
        self._low_squares = ((1 - 2 * self._k) * self._squares).astype(dtype)

    def in_doubt(self, points: Floats) -> tuple[Indices, Indices]:
        x = np.subtract(points, self._origin, dtype=self._origin.dtype)
        low = x @ self._minus_two_y.T  # [n, m]
        low += self._low_squares
        best = low.argmin(axis=1)
        squares = np.einsum("ij,ij->i", x, x, dtype=np.float64)
        rounding = 4 * self._k * (squares + self._squares[best]) + self._tiny
        limit = low[np.arange(len(low)), best] + rounding
        rows, columns = np.nonzero(low <= limit[:, None].astype(low.dtype))
        return rows, columns
