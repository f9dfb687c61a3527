import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_bmdal.kernels import GPPosterior
from tests.reference import kernels as reference


def features(n, n_features=7, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, n_features)).astype(dtype)


@settings(max_examples=100, deadline=None)
@given(
    n_train=st.integers(1, 30),
    n_features=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_is_the_posterior_covariance(n_train, n_features, seed, scale):
    points, train = scale * features(9, n_features, seed), scale * features(n_train, n_features, seed + 1)
    mapped = GPPosterior(train)(points)
    expected = reference.gp_posterior(points, points, train)
    np.testing.assert_allclose(mapped @ mapped.T, expected, rtol=1e-9, atol=1e-10 * scale**2)
    np.testing.assert_allclose(
        GPPosterior(train).variance(points), np.diag(expected), rtol=1e-9, atol=1e-10 * scale**2
    )


def test_blocks_change_nothing(monkeypatch):
    points, train = features(50), features(20, seed=1)
    whole = GPPosterior(train)(points), GPPosterior(train).variance(points)
    monkeypatch.setattr(sys.modules[GPPosterior.__module__], "BLOCK_ENTRIES", 30)
    np.testing.assert_allclose(GPPosterior(train)(points), whole[0], rtol=1e-12)
    np.testing.assert_allclose(GPPosterior(train).variance(points), whole[1], rtol=1e-12)


def test_keeps_the_precision_and_leaves_its_input_alone():
    points, train = features(9, dtype=np.float32), features(5, seed=1, dtype=np.float32)
    points.flags.writeable = train.flags.writeable = False
    mapped = GPPosterior(train)(points)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, GPPosterior(np.float64(train))(np.float64(points)), rtol=1e-6)
    assert GPPosterior(train).variance(points).dtype == np.float64


def test_float32_features_far_from_zero_lose_nothing():
    points, train = 1e3 + features(9, dtype=np.float32), 1e3 + features(50, seed=1, dtype=np.float32)
    exact = reference.gp_posterior(np.float64(points), np.float64(points), np.float64(train))
    np.testing.assert_allclose(GPPosterior(train).variance(points), np.diag(exact), rtol=1e-4)


def test_knows_most_where_the_training_set_is():
    train = np.array([[1.0, 0.0]] * 50)
    known, unknown = GPPosterior(train).variance([[1.0, 0.0], [0.0, 1.0]])
    assert known < 0.05 < unknown == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (np.empty((0, 3)), "train: expected at least one structure, got none"),
        (np.zeros((4, 3)), "train: expected features other than zero"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "train: .* row 1$"),
        (np.ones(3), r"train: expected shape \[structures, features\], got \(3,\)"),
    ],
)
def test_refuses_a_useless_training_set(train, message):
    with pytest.raises(ValueError, match=message):
        GPPosterior(train)


def test_refuses_other_features_than_those_of_the_training_set():
    with pytest.raises(ValueError, match="features: expected 7 per structure, got 6"):
        GPPosterior(features(5))(features(4, n_features=6))
