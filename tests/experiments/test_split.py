"""Splits: disjoint, reproducible, as large as asked for."""

import numpy as np
import pytest

from ase_bmdal_experiments.split import make_split
from tests.experiments.small import settings


def parts(split):
    return split.initial, split.valid, split.pool, split.test


def test_parts_are_disjoint_and_cover_the_data():
    split = make_split(settings(), 40, None, 0)
    assert [len(part) for part in parts(split)] == [4, 4, 22, 10]
    assert sorted(np.concatenate(parts(split))) == list(range(40))


def test_the_seed_alone_decides():
    first, again, other = (make_split(settings(), 40, None, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(*pair) for pair in zip(parts(first), parts(again), strict=True))
    assert not np.array_equal(first.initial, other.initial)


def test_the_rest_is_tested_as_in_the_paper():
    split = make_split(settings(pool=10, test=None), 40, None, 0)
    assert [len(part) for part in parts(split)] == [4, 4, 10, 22]
    assert len(np.unique(np.concatenate(parts(split)))) == 40


def test_a_test_file_leaves_the_data_to_the_others():
    split = make_split(settings(test=None), 40, 7, 0)
    assert [len(part) for part in parts(split)] == [4, 4, 32, 7]
    assert sorted(split.test) == list(range(7))
    assert len(make_split(settings(test=3), 40, 7, 0).test) == 3


@pytest.mark.parametrize(
    ("changes", "n_test_file", "text"),
    [
        ({"initial": 50, "final": 50}, None, "sizes that fit 40 structures, got 50 initial"),
        ({"valid": 40}, None, "40 valid"),
        ({"final": 31}, None, "31 in the end"),
        ({"pool": 3}, None, "pool: expected at least 4 structures to grow from 4 to 8, got 3"),
        ({"pool": 30}, None, "30 in the pool"),
        ({"test": 40}, None, "40 to test"),
        ({"test": 8}, 7, "at most the 7 structures of the test file, got 8"),
        ({"test": None}, None, "expected a test file, or the size"),
        ({"test": None, "pool": 32}, None, "0 to test"),
    ],
)
def test_refuses_sizes_that_do_not_fit(changes, n_test_file, text):
    with pytest.raises(ValueError, match=text):
        make_split(settings(**changes), 40, n_test_file, 0)


def test_sizes_of_the_training_set():
    assert settings(initial=4, final=9, batch=2).sizes == [4, 6, 8, 9]
    assert settings(initial=4, final=4).sizes == [4]
    with pytest.raises(ValueError, match="final: expected at least the initial size 4, got 3"):
        settings(final=3)
