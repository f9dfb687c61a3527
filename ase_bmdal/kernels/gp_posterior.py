"""GP posterior: what a Gaussian process that has seen the training set does not know yet."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, solve_triangular

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

BLOCK_ENTRIES = 2**20


class GPPosterior:
    """Feature map of the GP posterior kernel; the training set goes into it once.

    φ_GP(S) = σ L⁻¹ φ(S) with L Lᵀ = ΦᵀΦ + σ² and σ² = tr(ΦᵀΦ) / (N_train d), so that
    k(S, S' | train) = φ_GP(S)ᵀ φ_GP(S') (paper, eqs. 21-23).

    Parameters
    ----------
    train : [n_train, n_features]
        Features Φ of the training set.

    Raises
    ------
    ValueError
        If there is no training structure, a feature is NaN or infinite, or all are zero.
    """

    def __init__(self, train: ArrayLike) -> None:
        features = _checked("train", train)
        if len(features) == 0:
            raise ValueError("train: expected at least one structure, got none")
        second_moments = np.zeros((features.shape[1], features.shape[1]))
        for rows, block in _blocks(features):
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                row = rows.start + int(finite.argmin())
                raise ValueError(f"train: expected finite numbers, got NaN or infinity in row {row}")
            second_moments += block.T @ block
        trace = float(np.trace(second_moments))
        if trace == 0:
            raise ValueError("train: expected features other than zero, got zeros only")
        self.noise_variance = trace / features.size
        identity = np.eye(features.shape[1])
        factor = cholesky(second_moments + self.noise_variance * identity, lower=True)
        self._factor = factor / np.sqrt(self.noise_variance)  # L / σ

    def __call__(self, features: ArrayLike) -> Floats:
        """Map features to those of the posterior kernel.

        Parameters
        ----------
        features : [n, n_features]
            Features φ(S).

        Returns
        -------
        array : [n, n_features]
            Features φ_GP(S), in the precision of the input.

        Raises
        ------
        ValueError
            If the number of features is not that of the training set.
        """
        given = self._matching(features)
        mapped = np.empty(given.shape, given.dtype)
        for rows, block in _blocks(given):
            mapped[rows] = self._solve(block)
        return mapped

    def variance(self, features: ArrayLike) -> Doubles:
        """Predictive variance, k(S, S | train) = |φ_GP(S)|² (paper, eq. 23).

        Parameters
        ----------
        features : [n, n_features]
            Features φ(S).

        Returns
        -------
        array : [n]
            Variances, in the unit of the squared features.

        Raises
        ------
        ValueError
            If the number of features is not that of the training set.
        """
        given = self._matching(features)
        variances = np.empty(len(given))
        for rows, block in _blocks(given):
            variances[rows] = np.square(self._solve(block)).sum(axis=1)
        return variances

    def _matching(self, features: ArrayLike) -> Floats:
        given = _checked("features", features)
        if given.shape[1] != len(self._factor):
            raise ValueError(f"features: expected {len(self._factor)} per structure, got {given.shape[1]}")
        return given

    def _solve(self, block: Doubles) -> Doubles:
        mapped: Doubles = solve_triangular(self._factor, block.T, lower=True, check_finite=False).T
        return mapped


def _checked(name: str, features: ArrayLike) -> Floats:
    array = np.asarray(features)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name}: expected shape [structures, features], got {array.shape}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _blocks(features: Floats) -> Iterator[tuple[slice, Doubles]]:
    step = max(1, BLOCK_ENTRIES // features.shape[1])
    for start in range(0, len(features), step):
        rows = slice(start, min(start + step, len(features)))
        yield rows, features[rows].astype(np.float64)
