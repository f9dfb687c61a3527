"""Projections of points on few axes, which show that most pairs are too far apart for their distance to be taken.

`pairs_within` and `squared_distances` are the definition; `Projection.pairs_within` and `lower_bound` leave out no pair
of it, and take little time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from ase_bmdal.selection.distances import (
    Doubles,
    Floats,
    Indices,
    relative_rounding,
    row_blocks,
    squared_distances,
    squares_of_rows,
)

N_AXES = 32
SAMPLE = 2000  # points that the axes are found from
ROUNDING = 1e-6  # of a coordinate, relative to the length of its point: that of float32, and of the rest
UNDERFLOW = 1e-150  # distances below have no squares


def pairs_within(points: Floats, others: Floats, distances: Doubles) -> tuple[Indices, Indices]:
    """Find the other points that are nearer to a point than a distance of its own, by all distances.

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors x.
    others : [m, n_features]
        Feature vectors y.
    distances : [n]
        Such distances.

    Returns
    -------
    rows, columns : [n_pairs]
        Points and others, in order.
    """
    rows, columns = (indices.ravel() for indices in np.indices((len(points), len(others))))
    nearer = np.sqrt(squared_distances(points, rows, others, columns)) < distances[rows]
    return rows[nearer], columns[nearer]


@dataclass(frozen=True)
class PrincipalAxes:
    """Axes to project points on.

    Attributes
    ----------
    origin : [n_features]
        In the middle of the points.
    unit
        Of all coordinates, so that their squares are neither too large nor too small for float32.
    directions : [n_features, n_axes]
        Orthonormal; None for the axes of the features themselves.
    """

    origin: Doubles
    unit: float
    directions: Doubles | None

    @staticmethod
    def of(points: Floats, *others: Floats, n_axes: int | None = None) -> "PrincipalAxes":
        """Find the principal axes of points; others are to be projected as well.

        Parameters
        ----------
        points, others : [n, n_features]
            Feature vectors.
        n_axes
            Number of axes; None for those of the features themselves.
        """
        unit = max(*(max(float(x.max()), -float(x.min())) for x in (points, *others)), UNDERFLOW)
        sample = np.asarray(points[:: max(1, len(points) // SAMPLE)], np.float64)
        origin = sample.mean(axis=0)
        if n_axes is None:
            return PrincipalAxes(origin, unit, None)
        sample = (sample - origin) / unit
        _, directions = np.linalg.eigh(sample.T @ sample)
        return PrincipalAxes(origin, unit, directions[:, -n_axes:])

    def project(self, points: Floats, dtype: DTypeLike) -> "Projection":
        """Project points on the axes and append the norm of the residual, if the axes are not all.

        Two norms differ by at most the norm of the difference, so no two projections are farther apart than their
        points.

        Parameters
        ----------
        points : [n, n_features]
            Feature vectors.
        dtype
            Precision of the coordinates.
        """
        n_features = points.shape[1]
        n_coordinates = n_features if self.directions is None else self.directions.shape[1] + 1
        coordinates, squares = np.empty((len(points), n_coordinates), dtype), np.empty(len(points))
        for block in row_blocks(*points.shape):
            x = np.subtract(points[block], self.origin, dtype=np.float64) / self.unit
            squares[block] = squares_of_rows(x)
            coordinates[block] = self._coordinates(x, squares[block])
        return Projection(self, coordinates, squares)

    def _coordinates(self, x: Doubles, squares: Doubles) -> Doubles:
        if self.directions is None:
            return x
        along = x @ self.directions
        residuals = np.sqrt(np.maximum(squares - squares_of_rows(along), 0.0))
        return np.column_stack([along, residuals])


@dataclass(frozen=True)
class Projection:
    """Projected points, of which no two are farther apart than the points themselves.

    Attributes
    ----------
    axes
        What they are projected on.
    points : [n, n_coordinates]
        Coordinates, in units of `axes.unit`.
    squares : [n]
        Squared lengths of the points, residuals included, in the same units.
    """

    axes: PrincipalAxes
    points: Floats
    squares: Doubles

    def __getitem__(self, rows: slice) -> "Projection":
        """Some of the points."""
        return Projection(self.axes, self.points[rows], self.squares[rows])

    def products(self, others: "Projection") -> Floats:
        """`(1 - 3k) |y|² - 2 x·y`, k the relative rounding, for points x and others y: [n, n_others].

        With `(1 - 3k) |x|²` it is below the squared distance: the rounding of that is below
        `k (|x| + |y|)² <= 2k |x|² + 2k |y|²`.
        """
        products = self.points @ (-2 * others.points).T
        products += ((1 - 3 * self._k) * others.squares).astype(products.dtype)
        return products

    def pairs_within(
        self, others: "Projection", distances: Doubles, products: Floats
    ) -> tuple[Indices, Indices]:
        """Find the other points that may be nearer to a point than a distance of its own.

        Parameters
        ----------
        others
            Other points on the same axes.
        distances : [n]
            Such distances.
        products : [n, n_others]
            What `products` gives for them.

        Returns
        -------
        rows, columns : [n_pairs]
            Points and others, in order: all pairs of the function `pairs_within`, and some more.
        """
        slack = ROUNDING * (np.sqrt(self.squares) + np.sqrt(others.squares.max()))
        limits = ((distances + UNDERFLOW) / self.axes.unit + slack) ** 2 - (1 - 3 * self._k) * self.squares
        limits += np.finfo(products.dtype).tiny
        found = np.flatnonzero(products < limits.astype(products.dtype)[:, None])
        return np.divmod(found, products.shape[1])

    @property
    def _k(self) -> float:
        return relative_rounding(self.points.dtype, self.points.shape[1])


def lower_bound(points: Floats, rows: Indices, index: int, projection: Projection) -> Doubles:
    """Bound squared distances to one point from below, by products in the precision of the points.

    With `x' = x - o`, `o` the origin of the axes, a squared distance is `|x'|² + |y'|² - 2 (x·y' - o·y')`.

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors x.
    rows : [n_rows]
        Which of them.
    index
        Of the point y.
    projection
        Of all points, with their lengths.

    Returns
    -------
    array : [n_rows]
        Numbers just below the squared distances, whatever their rounding.
    """
    axes = projection.axes
    y = (points[index] - axes.origin) / axes.unit
    products = np.empty(len(rows))
    for block in row_blocks(len(rows), len(y)):
        products[block] = points[rows[block]] @ y.astype(points.dtype)
    squares = projection.squares[rows]
    longest = np.sqrt(squares) + np.linalg.norm(axes.origin) / axes.unit
    rounding = relative_rounding(points.dtype, len(y)) * longest * np.linalg.norm(y)
    rounding += (
        len(y) * float(np.finfo(points.dtype).tiny) / axes.unit
    )  # of products too small for full precision
    squares = (1 - relative_rounding(np.float64, len(y))) * (squares + y @ y)
    bounds: Doubles = squares - 2 * ((products - axes.origin @ y) / axes.unit + rounding)
    return axes.unit**2 * bounds - UNDERFLOW**2
