"""A few coordinates of each point, by which most distances need not be taken."""

from dataclasses import dataclass

import numpy as np

from ase_bmdal.selection.distances import Doubles, Floats, Indices, lower_bounds, row_blocks, squares_of_rows

N_AXES = 32
SAMPLE = 2000  # points that the axes are found from
MANY_POINTS = 5000  # from which on finding axes is worth it
ROUNDING = 1e-6  # of a coordinate, relative to the length of its point: that of float32, and of the rest


@dataclass(frozen=True)
class Outline:
    """Points in fewer dimensions, where no two are farther apart.

    Attributes
    ----------
    points : [n, n_coordinates]
        Along the principal axes, and the length of what is left: the difference of two lengths is not more
        than the length of the difference.
    slack : [n]
        How wrong a distance of two may be for each of them.
    """

    points: Floats
    slack: Doubles

    @staticmethod
    def of(points: Floats) -> "Outline":
        """Find the principal axes; few points, or points of few dimensions, are their own outline."""
        if len(points) < MANY_POINTS or points.shape[1] < 2 * N_AXES:
            return Outline(points, np.zeros(len(points)))
        sample = np.asarray(points[:: max(1, len(points) // SAMPLE)], np.float64)
        origin = sample.mean(axis=0)
        _, axes = np.linalg.eigh((sample - origin).T @ (sample - origin))
        axes = axes[:, -N_AXES:]
        outline = np.empty((len(points), N_AXES + 1), points.dtype)
        lengths = np.empty(len(points))
        for block in row_blocks(*points.shape):
            x = np.subtract(points[block], origin, dtype=np.float64)
            along, squares = x @ axes, squares_of_rows(x)
            outline[block, :-1] = along
            outline[block, -1] = np.sqrt(np.maximum(squares - squares_of_rows(along), 0.0))
            lengths[block] = np.sqrt(squares)
        return Outline(outline, ROUNDING * lengths)

    def within(self, squares: Doubles, index: int, rows: Indices) -> Indices:
        """Those of the rows that may be nearer to a point than a distance of their own.

        Parameters
        ----------
        squares : [n]
            Squares of these distances.
        index
            Of the point.
        rows : [n_rows]
            Where to look.

        Returns
        -------
        array
            All rows that are nearer, and some others.
        """
        at_least = np.sqrt(np.maximum(lower_bounds(self.points, self.points[index], rows), 0.0))
        kept: Indices = rows[at_least < np.sqrt(squares[rows]) + self.slack[rows] + self.slack[index]]
        return kept
