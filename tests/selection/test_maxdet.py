from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_bmdal.selection import distances, select
from tests.reference import selection as reference

MODULE = import_module("ase_bmdal.selection.maxdet")  # in the package the name is the function
PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def rank_deficient(rank, n=40, n_features=12, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n_features))).astype(dtype)


@PRECISIONS
@pytest.mark.parametrize("seed", range(60))
def test_equals_brute_force_determinants(dtype, seed, monkeypatch):
    monkeypatch.setattr(distances, "BLOCK_ENTRIES", 17)
    monkeypatch.setattr(MODULE, "N_LEADERS", seed % 4 + 1)
    rng = np.random.default_rng(seed)
    n_features = int(rng.integers(1, 9))
    offset = rng.choice([0, 1, 100])
    pool = (offset + rng.normal(size=(30, n_features)) * 10.0 ** rng.uniform(-1, 1, n_features)).astype(dtype)
    n = int(rng.integers(1, n_features + 1))
    np.testing.assert_array_equal(select("MAXDET", pool, n), reference.maxdet(pool, n))


@PRECISIONS
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-12, 1e-4, 1e5]))
def test_does_not_depend_on_the_unit(dtype, seed, scale):
    pool = np.random.default_rng(seed).normal(size=(30, 6)).astype(dtype)
    scaled = pool * dtype(scale)
    np.testing.assert_array_equal(select("MAXDET", scaled, 6), select("MAXDET", pool, 6))


@PRECISIONS
@pytest.mark.parametrize("n_leaders", [1, 50, 10_000])
def test_equals_the_projected_lengths_of_a_larger_pool(dtype, n_leaders, monkeypatch):
    monkeypatch.setattr(MODULE, "N_LEADERS", n_leaders)
    rng = np.random.default_rng(0)
    pool = (
        5 + rng.normal(size=(2000, 20)) @ rng.normal(size=(20, 64)) + 0.01 * rng.normal(size=(2000, 64))
    ).astype(dtype)
    picks = select("MAXDET", pool, 40)
    for i in range(40):
        basis = np.linalg.qr(np.float64(pool[picks[:i]]).T)[0]
        left = np.linalg.norm(np.float64(pool) - np.float64(pool) @ basis @ basis.T, axis=1)
        assert left.argmax() == picks[i]


@PRECISIONS
@pytest.mark.parametrize("n_leaders", [1, 100, 10_000])
def test_of_copies_the_first_is_picked_and_only_that(dtype, n_leaders, monkeypatch):
    monkeypatch.setattr(MODULE, "N_LEADERS", n_leaders)
    pool = np.tile(np.random.default_rng(0).normal(size=(37, 37)), (7, 1))[:-1].astype(dtype)
    assert set(select("MAXDET", pool, 37)) == set(range(37))


@PRECISIONS
@pytest.mark.parametrize("rank", [1, 2, 3, 7, 11])
@pytest.mark.parametrize("seed", range(10))
def test_says_when_the_pool_has_no_more_independent_structures(dtype, rank, seed, monkeypatch):
    pool = rank_deficient(rank, dtype=dtype, seed=seed)
    monkeypatch.setattr(MODULE, "N_LEADERS", 1 + 3 * (seed % 2))
    assert len(select("MAXDET", pool, rank)) == rank
    with pytest.raises(ValueError, match=f"pool has {rank} linearly independent .*; got {rank + 1}"):
        select("MAXDET", pool, rank + 1)


@PRECISIONS
def test_finds_no_independent_structure_among_zeros(dtype):
    with pytest.raises(ValueError, match="pool has 0 linearly independent"):
        select("MAXDET", np.zeros((5, 4), dtype), 1)


def test_refuses_more_picks_than_features():
    with pytest.raises(ValueError, match="at most as many structures as features, 12, got 13"):
        select("MAXDET", rank_deficient(12), 13)
