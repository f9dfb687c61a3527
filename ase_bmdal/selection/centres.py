"""Every structure of a pool with its nearest centre, while centres are added: what MAXDIST and LCMD share."""

from collections.abc import Callable

import numpy as np

from ase_bmdal.selection.distances import Floats, Indices, squared_distances, squared_norms
from ase_bmdal.selection.nearest import nearest_points
from ase_bmdal.selection.projection import N_AXES, PrincipalAxes, lower_bound

MANY_POINTS = 5000  # from which on finding axes is worth it


class NearestCentres:
    """Squared distance of every pool structure to its nearest centre, and which one that is (paper, eq. 29).

    Distances are taken in float64. Those in fewer dimensions only tell which of them need not be taken, so the result
    is that of the naive computation. Of equally near centres the first one counts.

    Parameters
    ----------
    pool : [n_pool, n_features]
        Features of the pool; only read.
    train : [n_train, n_features]
        The first centres, rounded to the precision of the pool. As long as there is no centre at all,
        distances are to the zero of the feature space, D(S)² = k(S, S).
    """

    def __init__(self, pool: Floats, train: Floats | None = None) -> None:
        self._pool = pool
        self._count = 0 if train is None else len(train)
        known = [] if train is None or not self._count else [train.astype(pool.dtype)]
        n_axes = min(N_AXES, (pool.shape[1] + 1) // 2) if len(pool) >= MANY_POINTS else None
        self._projection = PrincipalAxes.of(pool, *known, n_axes=n_axes).project(pool, pool.dtype)
        if known:
            self.nearest, self.squares = nearest_points(pool, known[0], self._projection)
        else:
            self.nearest, self.squares = np.zeros(len(pool), np.int64), squared_norms(pool)

    def add(self, pick: int) -> None:
        """Make a pool structure a centre: it takes over all structures nearer to it than to their own centre.

        Parameters
        ----------
        pick
            Index into the pool.
        """
        if not self._count:
            self.squares.fill(np.inf)
        rows = self._within_reach(pick)
        squares = squared_distances(self._pool, rows, self._pool[[pick]], np.zeros_like(rows))
        nearer = squares < self.squares[rows]
        self.squares[rows[nearer]] = squares[nearer]
        self.nearest[rows[nearer]] = self._count
        self._count += 1

    def _within_reach(self, pick: int) -> Indices:
        """What may be nearer to a structure than to its own centre, by distances in few dimensions, then in all."""
        projection, centre = self._projection, self._projection[pick : pick + 1]
        rows, _ = projection.pairs_within(centre, np.sqrt(self.squares), projection.products(centre))
        return rows[lower_bound(self._pool, rows, pick, projection) < self.squares[rows]]


def pick_greedily(
    choose: Callable[[NearestCentres], int], pool: Floats, n: int, train: Floats | None
) -> Indices:
    """Pick structures one by one, each of them a centre from then on.

    When nothing but copies of centres is left, the lowest index comes first.

    Parameters
    ----------
    choose
        Gives the index of the next structure, one that is not at a centre.
    pool : [n_pool, n_features]
        Features of the pool.
    n
        Structures to pick.
    train : [n_train, n_features]
        Features of the training set, centres from the start.

    Returns
    -------
    array : [n]
        Indices into the pool, in the order picked.
    """
    centres = NearestCentres(pool, train)
    left = np.ones(len(pool), dtype=bool)
    picks = np.empty(n, np.int64)
    for i in range(n):
        picks[i] = choose(centres) if centres.squares.any() else left.argmax()
        left[picks[i]] = False
        centres.add(picks[i])
    return picks
