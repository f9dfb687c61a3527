"""MAXDET: the batch whose kernel matrix has the largest determinant."""

import numpy as np

from ase_bmdal.selection.distances import (
    Doubles,
    Floats,
    Indices,
    relative_rounding,
    row_blocks,
    squared_norms,
    squares_of_rows,
)

TIE = 1e-10  # residuals that agree to ten digits are equal
N_LEADERS = 2048  # 4 MB of float32 features of 512 dimensions
NOISE = 4  # features that depend on each other do so to within this many roundings


def maxdet(pool: Floats, n: int) -> Indices:
    """Pick greedily what makes det k(X_batch ∪ S, X_batch ∪ S) largest (paper, eq. 27).

    That is the largest squared length of what the picked features do not span of φ(S): the diagonal left over
    by a pivoted Cholesky decomposition, whose columns are the products of the pool with an orthonormal basis
    of the picked features. A product in the precision of the pool gives an upper bound; only structures that
    can win by it are projected in float64. Of equal structures the lowest index comes first.

    Parameters
    ----------
    pool : [n_pool, n_features]
        Features of the kernel k(·, · | train): those of the GP posterior.
    n
        Structures to pick.

    Returns
    -------
    array : [n]
        Indices into the pool, in the order picked.

    Raises
    ------
    TooFewIndependentError
        If the pool has fewer than `n` linearly independent structures, as it does if it has fewer than `n` features;
        a ValueError, too.
    """
    n_features = pool.shape[1]
    residuals = _Residuals(pool, min(n, n_features))
    picks: list[int] = []
    while len(picks) < min(n, n_features) and (pick := residuals.pick_largest()) is not None:
        picks.append(pick)
    if len(picks) == n:
        return np.array(picks, np.int64)
    if len(picks) == n_features:
        reason = f"MAXDET picks at most as many structures as features, {n_features}, got {n}"
    else:
        reason = (
            f"the pool has {len(picks)} linearly independent structures, the most MAXDET can pick; got {n}"
        )
    raise TooFewIndependentError(f"n: {reason}", np.array(picks, np.int64))


class TooFewIndependentError(ValueError):
    """The pool has fewer linearly independent structures than asked for; `picks` holds those there are."""

    def __init__(self, message: str, picks: Indices) -> None:
        super().__init__(message)
        self.picks = picks


class _Residuals:
    """Squared lengths of what the picked features do not span.

    They are bounded from above. A pick is taken out of the bounds of the leaders at once, the few structures with the
    largest ones; those of all others, which are not above the level, follow once a pick may be among them. All picks
    since then are one product with the pool, which is read that often, and not for each pick.
    """

    def __init__(self, pool: Floats, n: int) -> None:
        self._pool = pool
        self._basis = np.zeros((n, pool.shape[1]))
        self._count = self._count_of_all = 0
        squares = squared_norms(pool)
        noise = NOISE * np.sqrt(pool.shape[1]) * np.finfo(pool.dtype).eps
        self._smallest = noise**2 * squares.max()
        self._product_rounding = relative_rounding(pool.dtype, pool.shape[1]) * np.sqrt(squares)  # [n_pool]
        self._rounding = relative_rounding(np.float64, pool.shape[1]) * squares
        self._upper_of_all = squares + self._rounding
        self._find_leaders()

    def pick_largest(self) -> int | None:
        """Find the largest residual and take its direction out of all of them; None if all are zero."""
        least = self._least_of_contenders(self._leaders[self._upper.argmax()])
        if least <= self._level:
            self._take_out(None, self._upper_of_all, self._count_of_all)
            self._count_of_all = self._count
            least = self._find_leaders()
        contenders = np.flatnonzero(self._upper >= least)
        rows = self._leaders[contenders]
        squares = np.empty(len(rows))
        for block in row_blocks(len(rows), self._pool.shape[1]):
            squares[block] = squared_norms(self._project(rows[block]))
        if squares.max() <= self._smallest:
            return None
        self._upper[contenders] = squares + self._rounding[rows]
        place = (squares >= (1 - TIE) * squares.max()).argmax()
        pick = rows[place]
        direction = self._project(rows[place : place + 1])[0]
        self._basis[self._count] = direction / np.linalg.norm(direction)
        self._count += 1
        self._take_out(self._leaders, self._upper, self._count - 1)
        self._upper[contenders[place]] = self._upper_of_all[pick] = -np.inf
        return int(pick)

    def _find_leaders(self) -> float:
        """Those with the largest bounds, once all are up to date, and at least all that may be the largest."""
        upper = self._upper_of_all
        least = self._least_of_contenders(upper.argmax())
        n_others = max(0, len(upper) - N_LEADERS)
        leading = upper >= min(least, np.partition(upper, n_others)[n_others])
        self._leaders, self._upper = np.flatnonzero(leading), upper[leading]
        self._level = upper[~leading].max(initial=-np.inf)
        return least

    def _least_of_contenders(self, leader: np.int64) -> float:
        """Who has less than this is not the largest: by the residual of the structure with the largest bound."""
        return float((1 - TIE) * squared_norms(self._project(np.array([leader])))[0])

    def _take_out(self, rows: Indices | None, upper: Doubles, since: int) -> None:
        """Lower the bounds of some structures, or of all, by what they have along the directions from one on."""
        directions = self._basis[since : self._count].T.astype(self._pool.dtype)
        for block in row_blocks(len(upper), len(directions)):
            which = block if rows is None else rows[block]
            columns = np.abs(self._pool[which] @ directions).astype(np.float64)
            columns = np.maximum(columns - self._product_rounding[which, None], 0.0)
            upper[block] += directions.shape[1] * self._rounding[which] - squares_of_rows(columns)

    def _project(self, rows: Indices) -> Doubles:
        features = self._pool[rows].astype(np.float64)
        basis = self._basis[: self._count]
        for _ in range(2):  # twice makes it orthogonal to rounding
            features -= (features @ basis.T) @ basis
        return features
