"""A few coordinates of each point, by which most distances need not be taken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from ase_bmdal.selection.distances import (
    Doubles,
    Floats,
    Indices,
    relative_rounding,
    row_blocks,
    squares_of_rows,
)

N_AXES = 32
SAMPLE = 2000  # points that the axes are found from
ROUNDING = 1e-6  # of a coordinate, relative to the length of its point: that of float32, and of the rest
UNDERFLOW = 1e-150  # distances below have no squares


@dataclass(frozen=True)
class Axes:
    """Where outlines are drawn.

    Attributes
    ----------
    origin : [n_features]
        In the middle of the points.
    unit
        Of all coordinates, so that their squares are neither too large nor too small for float32.
    directions : [n_features, n_axes]
        At right angles, of length one; None for the axes that the features have.
    """

    origin: Doubles
    unit: float
    directions: Doubles | None

    @staticmethod
    def of(points: Floats, *others: Floats, n_axes: int | None = None) -> "Axes":
        """The principal axes of points, or all the axes that they have; others are to be drawn as well."""
        unit = max(*(max(float(x.max()), -float(x.min())) for x in (points, *others)), UNDERFLOW)
        sample = np.asarray(points[:: max(1, len(points) // SAMPLE)], np.float64)
        origin = sample.mean(axis=0)
        if n_axes is None:
            return Axes(origin, unit, None)
        sample = (sample - origin) / unit
        _, directions = np.linalg.eigh(sample.T @ sample)
        return Axes(origin, unit, directions[:, -n_axes:])

    def outline(self, points: Floats, dtype: DTypeLike) -> "Outline":
        """Draw points: what they are along the axes, and the length of what is left if these are not all.

        The difference of two lengths is not more than the length of the difference, so no two points of an outline are
        farther apart than they are.
        """
        n_features = points.shape[1]
        n_coordinates = n_features if self.directions is None else self.directions.shape[1] + 1
        drawn, squares = np.empty((len(points), n_coordinates), dtype), np.empty(len(points))
        for block in row_blocks(*points.shape):
            x = np.subtract(points[block], self.origin, dtype=np.float64)
            x /= self.unit
            squares[block] = squares_of_rows(x)
            if self.directions is None:
                drawn[block] = x
            else:
                along = x @ self.directions
                drawn[block, :-1] = along
                drawn[block, -1] = np.sqrt(np.maximum(squares[block] - squares_of_rows(along), 0.0))
        return Outline(self, drawn, squares)


@dataclass(frozen=True)
class Outline:
    """Points in few dimensions, where no two are farther apart.

    Attributes
    ----------
    axes
        Where they are drawn.
    points : [n, n_coordinates]
        Along the axes, in units of `axes.unit`.
    squares : [n]
        Squared lengths.
    """

    axes: Axes
    points: Floats
    squares: Doubles

    def __getitem__(self, rows: slice) -> "Outline":
        """Some of the points."""
        return Outline(self.axes, self.points[rows], self.squares[rows])

    def products(self, others: "Outline") -> Floats:
        """`(1 - 3k) |y|² - 2 x·y`, k the relative rounding, for points x and others y: [n, n_others].

        With `(1 - 3k) |x|²` it is below the squared distance: the rounding of that is below
        `k (|x| + |y|)² <= 2k |x|² + 2k |y|²`.
        """
        products = self.points @ (-2 * others.points).T
        products += ((1 - 3 * self._k) * others.squares).astype(products.dtype)
        return products

    def within(self, distances: Doubles, others: "Outline", products: Floats) -> tuple[Indices, Indices]:
        """Find the others that may be nearer to a point than a distance of its own.

        Parameters
        ----------
        distances : [n]
            Such distances.
        others
            Other points along the same axes.
        products : [n, n_others]
            What `products` gives for them.

        Returns
        -------
        rows, columns
            Points and others, in order: all that are nearer, and some more.
        """
        slack = ROUNDING * (np.sqrt(self.squares) + np.sqrt(others.squares.max()))
        limits = ((distances + UNDERFLOW) / self.axes.unit + slack) ** 2 - (1 - 3 * self._k) * self.squares
        limits += np.finfo(products.dtype).tiny
        found = np.flatnonzero(products < limits.astype(products.dtype)[:, None])
        return np.divmod(found, products.shape[1])

    @property
    def _k(self) -> float:
        return relative_rounding(self.points.dtype, self.points.shape[1])


def lower_bounds(points: Floats, rows: Indices, index: int, outline: Outline) -> Doubles:
    """Bound squared distances to one point from below, by products in the precision of the points.

    With `x' = x - o`, `o` the origin of the outline, a distance is `|x'|² + |y'|² - 2 (x·y' - o·y')`.

    Parameters
    ----------
    points : [n, n_features]
        Feature vectors x.
    rows : [n_rows]
        Which of them.
    index
        Of the point y.
    outline
        Of all points, with their lengths.

    Returns
    -------
    array : [n_rows]
        Numbers just below the squared distances, whatever their rounding.
    """
    axes = outline.axes
    y = (points[index] - axes.origin) / axes.unit
    products = np.empty(len(rows))
    for block in row_blocks(len(rows), len(y)):
        products[block] = points[rows[block]] @ y.astype(points.dtype)
    squares = outline.squares[rows]
    longest = np.sqrt(squares) + np.linalg.norm(axes.origin) / axes.unit
    rounding = relative_rounding(points.dtype, len(y)) * longest * np.linalg.norm(y)
    squares = (1 - relative_rounding(np.float64, len(y))) * (squares + y @ y)
    bounds: Doubles = squares - 2 * ((products - axes.origin @ y) / axes.unit + rounding)
    return axes.unit**2 * bounds - UNDERFLOW**2
