"""The GP posterior by few rows: its leading directions exactly, all others by a random projection."""

import numpy as np
from numpy.typing import NDArray

LEADING, PROJECTED = 128, 64
NOISE = 0.01


def principal_posterior(
    second_moments: NDArray[np.float64], n_train: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Matrix `P` with `|P φ|²` about the posterior variance `σ² φᵀ (ΦᵀΦ + σ²)⁻¹ φ` (paper, eq. 23).

    Along an eigenvector of `ΦᵀΦ` with eigenvalue `λ` that is `σ² / (λ + σ²)`. The 128 largest are taken as they are.
    In the rest of the space, of which the training set says little, the variance is that without training, `|φ|²`,
    by a random projection on 64 dimensions, which changes lengths by some 9 %
    (Johnson and Lindenstrauss, Contemp. Math. 1984, 26, 189). `σ²` is a hundredth of the mean eigenvalue per training
    point: the paper's, the mean itself, sees little of what is unusual in small components.

    Parameters
    ----------
    second_moments
        `ΦᵀΦ` of the training features, [n_features, n_features].
    n_train
        Number of rows of `Φ`.
    rng
        Of the projection.

    Returns
    -------
    ndarray
        [at most 192, n_features]; exact if there are no more features than that.

    Raises
    ------
    ValueError
        If no feature is other than zero.
    """
    n_features = len(second_moments)
    noise = NOISE * float(np.trace(second_moments)) / (n_train * n_features)
    if not noise > 0:
        raise ValueError("expected training features other than zero")
    values, vectors = np.linalg.eigh(second_moments)
    n_leading = n_features if n_features <= LEADING + PROJECTED else LEADING
    values, leading = values[::-1][:n_leading].clip(min=0.0), vectors[:, ::-1][:, :n_leading]
    rows = np.sqrt(noise / (values + noise))[:, None] * leading.T
    if n_leading == n_features:
        return np.asarray(rows)
    random = rng.standard_normal((PROJECTED, n_features)) / np.sqrt(PROJECTED)
    return np.concatenate([rows, random - (random @ leading) @ leading.T])
