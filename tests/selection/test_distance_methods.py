"""MAXDIST and LCMD against the equations as they stand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ase_bmdal.selection import distances, nearest, projection, select
from tests.reference import selection as reference

METHODS = {"MAXDIST": reference.maxdist, "LCMD": reference.lcmd}
BOTH = pytest.mark.parametrize("method", METHODS)
PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def clustered(rng, n, n_features, offset, dtype):
    """Points in a few clumps of very different width, far from the origin."""
    n_clumps = rng.integers(1, 5)
    centres = offset + rng.normal(size=(n_clumps, n_features))
    widths = 10.0 ** rng.uniform(-3, 0, n_clumps)
    clump = rng.integers(n_clumps, size=n)
    return (centres[clump] + widths[clump, None] * rng.normal(size=(n, n_features))).astype(dtype)


@BOTH
@PRECISIONS
@pytest.mark.parametrize("seed", range(60))
def test_equals_the_reference(method, dtype, seed, monkeypatch):
    monkeypatch.setattr(distances, "BLOCK_ENTRIES", 17)  # many blocks, the last one not full
    monkeypatch.setattr(nearest, "TABLE_ENTRIES", 40)
    rng = np.random.default_rng(seed)
    n_features = int(rng.integers(1, 9))
    both = clustered(rng, 50, n_features, rng.choice([0, 1, 1e3]), dtype)
    n_train = int(rng.integers(0, 12))
    train, pool = (both[:n_train] if n_train else None), both[n_train:]
    n = int(rng.integers(1, 30))
    np.testing.assert_array_equal(select(method, pool, n, train=train), METHODS[method](pool, n, train))


@BOTH
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_equals_the_reference_with_ties_and_copies(method, data):
    small = st.integers(-2, 2)
    n_features = data.draw(st.integers(1, 3))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    pool = data.draw(arrays(np.int64, (data.draw(st.integers(1, 14)), n_features), elements=small)).astype(
        dtype
    )
    train = data.draw(arrays(np.int64, (data.draw(st.integers(0, 4)), n_features), elements=small)).astype(
        dtype
    )
    n = data.draw(st.integers(1, len(pool)))
    np.testing.assert_array_equal(select(method, pool, n, train=train), METHODS[method](pool, n, train))


@BOTH
@PRECISIONS
@pytest.mark.parametrize("scale", [1e-15, 1e-3, 1e6])
def test_does_not_depend_on_the_unit(method, dtype, scale):
    pool = np.random.default_rng(0).normal(size=(60, 5))
    scaled = (scale * pool).astype(dtype)
    np.testing.assert_array_equal(select(method, scaled, 20), METHODS[method](scaled, 20))


@BOTH
@PRECISIONS
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_a_copy_of_a_training_structure_is_picked_last(method, dtype, offset):
    rng = np.random.default_rng(1)
    both = (offset + rng.normal(size=(120, 64))).astype(dtype)
    train = both[:60]
    order = rng.permutation(80)
    pool = both[order + 40]  # rows 40 to 59 are training structures
    picks = select(method, pool, 80, train=train)
    assert (order[picks[:60]] >= 20).all()
    np.testing.assert_array_equal(picks[60:], np.flatnonzero(order < 20))


@BOTH
def test_one_structure_in_the_last_digit_beats_a_thousand_copies(method):
    pool = np.full((1001, 512), 12345.0, np.float32)
    pool[777, 3] = np.nextafter(np.float32(12345), np.float32(0))
    assert select(method, pool, 1, train=pool[:10])[0] == 777


@BOTH
def test_a_copy_in_higher_precision_is_still_a_copy(method):
    train = np.random.default_rng(0).normal(size=(20, 30))
    pool = np.concatenate([train, train[:1]]).astype(np.float32)
    pool[20, 0] += 1e-4
    assert select(method, pool, 1, train=train)[0] == 20


@BOTH
def test_copies_only_are_taken_in_order(method):
    pool = np.ones((9, 3))
    np.testing.assert_array_equal(select(method, pool, 9), range(9))
    np.testing.assert_array_equal(select(method, pool, 5, train=pool[:1]), range(5))


@BOTH
def test_without_training_set_the_longest_comes_first(method):
    pool = np.random.default_rng(0).normal(size=(50, 4))
    assert select(method, pool, 1)[0] == np.linalg.norm(pool, axis=1).argmax()


def test_lcmd_prefers_the_crowd_and_maxdist_the_hermit():
    rng = np.random.default_rng(0)
    crowd = np.array([10.0, 0.0]) + rng.normal(size=(500, 2))
    pool = np.concatenate([crowd, [[0.0, 20.0]]])
    train = np.array([[10.0, 0.0], [0.0, 0.0]])
    assert select("MAXDIST", pool, 1, train=train)[0] == 500
    assert select("LCMD", pool, 1, train=train)[0] < 500


class TestSkipping:
    """The picks are those of a run in which nothing is skipped, and the differences taken are few."""

    @BOTH
    @PRECISIONS
    @pytest.mark.parametrize("n_dimensions", [2, 10])
    def test_changes_nothing(self, method, dtype, n_dimensions, monkeypatch):
        rng = np.random.default_rng(n_dimensions)
        weights = rng.normal(size=(n_dimensions, 64))
        pool, train = (
            np.tanh(rng.normal(size=(n, n_dimensions)) @ weights).astype(dtype) for n in (3000, 50)
        )
        skipping = select(method, pool, 60, train=train)
        monkeypatch.setattr(projection.Projection, "pairs_within", every_pair)
        monkeypatch.setattr("ase_bmdal.selection.centres.lower_bound", everything_is_possible)
        np.testing.assert_array_equal(skipping, select(method, pool, 60, train=train))

    def test_saves_most_differences(self, monkeypatch):
        rng = np.random.default_rng(0)
        pool, train = (np.tanh(rng.normal(size=(n, 3)) @ np.ones((3, 64))) for n in (3000, 50))
        pairs = []

        def counting(points, rows, others, columns):
            pairs.append(len(rows))
            return distances.squared_distances(points, rows, others, columns)

        monkeypatch.setattr("ase_bmdal.selection.centres.squared_distances", counting)
        select("LCMD", pool, 60, train=train)
        assert len(pairs) == 60
        assert sum(pairs) < 0.1 * 60 * 3000

    def test_of_a_training_set_in_far_clumps_few_structures_are_in_doubt(self, monkeypatch):
        rng = np.random.default_rng(0)
        clumps = 1e3 * rng.normal(size=(4, 64))
        pool, train = (
            (clumps[rng.integers(4, size=n)] + rng.normal(size=(n, 64))).astype(np.float32)
            for n in (500, 200)
        )
        pairs = []

        def counting(points, rows, others, columns):
            pairs.append(len(rows))
            return distances.squared_distances(points, rows, others, columns)

        monkeypatch.setattr(nearest, "squared_distances", counting)
        select("LCMD", pool, 1, train=train)
        assert sum(pairs) <= (1 + nearest.IN_DOUBT) * 500


def everything_is_possible(points, rows, index, projection):
    return np.full(len(rows), -1.0)


def every_pair(self, others, distances, products):
    return tuple(indices.ravel() for indices in np.indices(products.shape))
