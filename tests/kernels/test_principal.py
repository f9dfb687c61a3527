import numpy as np
import pytest

from ase_bmdal.kernels.principal import NOISE, principal_posterior


def features(n, n_features, seed=0):
    """Components that fall off as those of invariants do."""
    return np.random.default_rng(seed).standard_normal((n, n_features)) * 0.9 ** np.arange(n_features)


def brute_force(train, points):
    noise = NOISE * np.trace(train.T @ train) / train.size
    inverse = np.linalg.inv(train.T @ train + noise * np.eye(train.shape[1]))
    return np.array([noise * point @ inverse @ point for point in points])


def test_is_the_posterior_of_few_features():
    train, points = features(300, 40), features(20, 40, seed=1)
    matrix = principal_posterior(train.T @ train, len(train), np.random.default_rng(0))
    assert matrix.shape == (40, 40)
    np.testing.assert_allclose(
        np.sum((points @ matrix.T) ** 2, axis=1), brute_force(train, points), rtol=1e-8
    )


def test_many_features_are_projected():
    train = features(500, 400)
    matrix = principal_posterior(train.T @ train, len(train), np.random.default_rng(0))
    assert matrix.shape == (192, 400)
    unknown = np.zeros((50, 400))
    unknown[:, 300:350] = np.eye(50)  # directions without training data: all of the variance is left
    found = np.linalg.norm(unknown @ matrix.T, axis=1)
    np.testing.assert_allclose(found, 1.0, atol=0.4)
    assert found.mean() == pytest.approx(1.0, abs=0.05)
    known = np.linalg.norm(train @ matrix.T, axis=1)
    np.testing.assert_allclose(known**2, brute_force(train, train), rtol=0.05)


def test_needs_features():
    with pytest.raises(ValueError, match="features other than zero"):
        principal_posterior(np.zeros((3, 3)), 5, np.random.default_rng(0))
