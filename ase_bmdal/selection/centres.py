"""Every structure of a pool with its nearest centre, while centres are added: what MAXDIST and LCMD share."""

from collections.abc import Callable

import numpy as np

from ase_bmdal.selection.distances import Floats, Indices, lower_bounds, squared_distances, squared_norms
from ase_bmdal.selection.nearest import NearestPoints
from ase_bmdal.selection.outline import Outline

TRIANGLE = 2 + 1e-9  # two, and what distances rounded to float64 may be off


class NearestCentres:
    """Squared distance of every pool structure to its nearest centre, and which one that is (paper, eq. 29).

    Distances are taken in float64. The triangle inequality between centres and distances in fewer dimensions
    only tell which of them need not be taken, so the result is that of the naive computation. Of equally near
    centres the first one counts.

    Parameters
    ----------
    pool : [n_pool, n_features]
        Features of the pool; only read.
    n
        How many pool structures may become centres.
    train : [n_train, n_features]
        The first centres, rounded to the precision of the pool. As long as there is no centre at all,
        distances are to the zero of the feature space, D(S)² = k(S, S).
    """

    def __init__(self, pool: Floats, n: int, train: Floats | None = None) -> None:
        self._pool, self._outline = pool, Outline.of(pool)
        self._count = 0 if train is None else len(train)
        self._centres = np.empty((self._count + n, pool.shape[1]), pool.dtype)
        if train is None or not self._count:
            self.nearest, self.squares = np.zeros(len(pool), np.int64), squared_norms(pool)
        else:
            self._centres[: self._count] = train
            self.nearest, self.squares = NearestPoints(self._centres[: self._count])(pool)

    def add(self, pick: int) -> None:
        """Make a pool structure a centre: it takes over all structures nearer to it than to their own centre.

        Parameters
        ----------
        pick
            Index into the pool.
        """
        centre = self._pool[pick]
        if not self._count:
            self.squares.fill(np.inf)
        rows = self._outline.within(self.squares, pick, self._reachable(centre))
        squares = squared_distances(self._pool, rows, centre[None], np.zeros_like(rows))
        nearer = squares < self.squares[rows]
        self.squares[rows[nearer]] = squares[nearer]
        self.nearest[rows[nearer]] = self._count
        self._centres[self._count] = centre
        self._count += 1

    def _reachable(self, point: Floats) -> Indices:
        # D(x, point) >= D(point, centre) - D(x, centre): a point at 2 D(x, centre) or more cannot take x over
        if not self._count:
            return np.arange(len(self._pool))
        squares = lower_bounds(self._centres[: self._count], point).astype(np.float64)
        return np.flatnonzero(squares[self.nearest] < TRIANGLE**2 * self.squares)


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
    centres = NearestCentres(pool, n, train)
    left = np.ones(len(pool), dtype=bool)
    picks = np.empty(n, np.int64)
    for i in range(n):
        picks[i] = choose(centres) if centres.squares.any() else left.argmax()
        left[picks[i]] = False
        centres.add(picks[i])
    return picks
