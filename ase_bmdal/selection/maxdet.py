"""MAXDET: the batch whose kernel matrix has the largest determinant."""

import numpy as np

from ase_bmdal.selection.distances import (
    Doubles,
    Floats,
    Indices,
    relative_rounding,
    row_blocks,
    squared_norms,
)

TIE = 1e-10  # residuals that agree to ten digits are equal
NOISE = 4  # features that depend on each other do so to within this many roundings


def maxdet(pool: Floats, n: int, train: Floats | None = None) -> Indices:
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
    train
        Not accepted: the GP kernel is conditioned on the training set already.

    Returns
    -------
    array : [n]
        Indices into the pool, in the order picked.

    Raises
    ------
    ValueError
        If training features are given, or `n` is larger than the number of features.
    TooFewIndependentError
        If the pool has fewer than `n` linearly independent structures; a ValueError, too.
    """
    if train is not None:
        raise ValueError("MAXDET: expected no training features; the GP kernel conditions on them, got some")
    n_features = pool.shape[1]
    if n > n_features:
        raise ValueError(f"n: MAXDET picks at most as many structures as features, {n_features}, got {n}")
    residuals = _Residuals(pool, n)
    picks: list[int] = []
    for _ in range(n):
        pick = residuals.pick_largest()
        if pick is None:
            raise TooFewIndependentError(
                f"n: the pool has {len(picks)} linearly independent structures, the most MAXDET can pick; got {n}",
                np.array(picks, np.int64),
            )
        picks.append(pick)
    return np.array(picks, np.int64)


class TooFewIndependentError(ValueError):
    """The pool has fewer linearly independent structures than asked for; `picks` holds those there are."""

    def __init__(self, message: str, picks: Indices) -> None:
        super().__init__(message)
        self.picks = picks


class _Residuals:
    def __init__(self, pool: Floats, n: int) -> None:
        self._pool = pool
        self._basis = np.zeros((n, pool.shape[1]))
        self._count = 0
        squares = squared_norms(pool)
        noise = NOISE * np.sqrt(pool.shape[1]) * np.finfo(pool.dtype).eps
        self._smallest = noise**2 * squares.max()
        self._product_rounding = relative_rounding(pool.dtype, pool.shape[1]) * np.sqrt(squares)  # [n_pool]
        self._rounding = relative_rounding(np.float64, pool.shape[1]) * squares
        self._upper = squares + self._rounding

    def pick_largest(self) -> int | None:
        """Find the largest residual and take its direction out of all of them; None if all are zero."""
        leader = self._project(np.array([self._upper.argmax()]))
        rows = np.flatnonzero(self._upper >= (1 - TIE) * squared_norms(leader)[0])
        squares = np.empty(len(rows))
        for block in row_blocks(len(rows), self._pool.shape[1]):
            squares[block] = squared_norms(self._project(rows[block]))
        if squares.max() <= self._smallest:
            return None
        self._upper[rows] = squares + self._rounding[rows]
        pick = rows[(squares >= (1 - TIE) * squares.max()).argmax()]
        self._take_out(pick)
        return int(pick)

    def _take_out(self, pick: np.int64) -> None:
        direction = self._project(np.array([pick]))[0]
        direction /= np.linalg.norm(direction)
        column = np.abs(self._pool @ direction.astype(self._pool.dtype)).astype(np.float64)
        self._upper -= np.maximum(column - self._product_rounding, 0) ** 2
        self._upper += self._rounding
        self._upper[pick] = -np.inf
        self._basis[self._count] = direction
        self._count += 1

    def _project(self, rows: Indices) -> Doubles:
        features = self._pool[rows].astype(np.float64)
        basis = self._basis[: self._count]
        for _ in range(2):  # twice makes it orthogonal to rounding
            features -= (features @ basis.T) @ basis
        return features
