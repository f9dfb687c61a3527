"""What holds for every selection method, also for one added later."""

import inspect

import numpy as np
import pytest

from ase_bmdal.selection import METHODS, select

USES_TRAIN = {"MAXDIST", "LCMD"}


def features(n, n_features=6, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, n_features)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_gives_distinct_indices_of_the_pool(self, method, dtype):
        picks = select(method, features(40, dtype=dtype), 6)
        assert picks.dtype == np.int64
        assert picks.shape == (6,)
        assert len(set(picks)) == 6
        assert 0 <= picks.min() <= picks.max() < 40

    def test_leaves_its_input_alone(self, method, dtype):
        pool, train = features(40, dtype=dtype), features(5, seed=1, dtype=dtype)
        before = pool.copy(), train.copy()
        pool.flags.writeable = train.flags.writeable = False
        select(method, pool, 6, train=train if method in USES_TRAIN else None)
        np.testing.assert_array_equal(pool, before[0])
        np.testing.assert_array_equal(train, before[1])

    @pytest.mark.parametrize("seed", range(20))
    def test_does_not_depend_on_the_order_of_the_pool(self, method, dtype, seed):
        pool, train = features(40, seed=seed, dtype=dtype), features(5, seed=99, dtype=dtype)
        train = train if method in USES_TRAIN else None
        order = np.random.default_rng(seed).permutation(40)
        shuffled = select(method, pool[order], 6, train=train)
        np.testing.assert_array_equal(order[shuffled], select(method, pool, 6, train=train))

    @pytest.mark.parametrize("seed", range(20))
    def test_a_smaller_batch_is_the_beginning_of_a_larger_one(self, method, dtype, seed):
        pool = features(40, seed=seed, dtype=dtype)
        np.testing.assert_array_equal(select(method, pool, 3), select(method, pool, 6)[:3])

    def test_takes_memory_maps_and_any_strides(self, method, dtype, tmp_path):
        pool = features(40, dtype=dtype)
        mapped = np.memmap(tmp_path / "pool", dtype, "w+", shape=pool.shape)
        mapped[:] = pool
        wide = np.repeat(pool, 2, axis=1)[:, ::2]
        expected = select(method, pool, 5)
        for same in (mapped, np.asfortranarray(pool), wide, pool[::-1][::-1]):
            np.testing.assert_array_equal(select(method, same, 5), expected)

    def test_takes_lists_and_integers(self, method, dtype):
        pool = np.random.default_rng(0).integers(-9, 9, size=(20, 6))
        expected = select(method, pool.astype(dtype), 4)
        np.testing.assert_array_equal(select(method, pool, 4), expected)
        np.testing.assert_array_equal(select(method, pool.tolist(), 4), expected)

    def test_can_take_the_whole_pool(self, method, dtype):
        assert sorted(select(method, features(6, dtype=dtype), 6)) == list(range(6))

    @pytest.mark.parametrize("n", [0, -1, 41])
    def test_refuses_an_impossible_batch(self, method, dtype, n):
        with pytest.raises(ValueError, match=f"n: expected 1 to 40 .* got {n}"):
            select(method, features(40, n_features=50, dtype=dtype), n)

    def test_refuses_an_empty_pool(self, method, dtype):
        with pytest.raises(ValueError, match="pool: expected at least one structure, got none"):
            select(method, np.empty((0, 3), dtype), 1)

    @pytest.mark.parametrize("shape", [(4, 3, 2), (), (4, 0)])
    def test_refuses_another_shape(self, method, dtype, shape):
        with pytest.raises(ValueError, match="pool: expected shape"):
            select(method, np.zeros(shape, dtype), 1)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_names_the_first_row_that_is_not_finite(self, method, dtype, bad):
        pool = features(3000, n_features=100, dtype=dtype)
        pool[2345, 7] = pool[2777, 0] = bad
        with pytest.raises(ValueError, match=r"pool: .* row 2345$"):
            select(method, pool, 2)

    def test_refuses_what_is_not_a_number(self, method, dtype):
        with pytest.raises(ValueError, match="pool: expected real numbers, got dtype complex128"):
            select(method, features(4).astype(complex), 2)

    def test_is_one_line_in_the_registry(self, method, dtype):
        parameters = list(inspect.signature(METHODS[method].pick).parameters)
        assert parameters == ["pool", "n", "train"][: 2 + METHODS[method].takes_train]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_training_features_are_used_or_refused(method):
    pool, train = features(40), features(5, seed=1)
    if method in USES_TRAIN:
        with pytest.raises(ValueError, match="train: expected 6 features like the pool, got 5"):
            select(method, pool, 2, train=train[:, :5])
        with pytest.raises(ValueError, match="train: expected shape"):
            select(method, pool, 2, train=train[0])
        with pytest.raises(ValueError, match=r"train: .* row 1$"):
            select(method, pool, 2, train=[[0.0] * 6, [np.nan] * 6])
        np.testing.assert_array_equal(select(method, pool, 9, train=train[:0]), select(method, pool, 9))
    else:
        with pytest.raises(ValueError, match=f"{method}: expected no training features"):
            select(method, pool, 2, train=train)


def test_an_unknown_method_is_refused_with_those_known():
    with pytest.raises(ValueError, match=r"expected one of MAXDIAG, MAXDET, MAXDIST, LCMD, got 'KMEANS'"):
        select("KMEANS", features(4), 2)
