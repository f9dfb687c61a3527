from dataclasses import replace

import pytest

from ase_bmdal.learner.initial_holdout import initial_holdout
from tests.uncertainty.test_calibrate import row


def unpredicted(n):
    """Labels of first contact."""
    return [replace(row(number, round=0), prediction={}) for number in range(n)]


@pytest.mark.parametrize(("n", "n_unseen"), [(0, 0), (1, 0), (2, 1), (5, 2), (10, 5), (100, 20)])
def test_every_second_first_label_is_kept_for_the_bounds(n, n_unseen):
    rows = unpredicted(n)
    known, unseen = initial_holdout(rows, 20)
    assert len(unseen) == n_unseen
    assert sorted(each.id for each in known + unseen) == [each.id for each in rows]
    assert [each.id for each in unseen[-1:]] == [n - 1] * bool(n_unseen)


def test_an_element_of_one_label_is_learned_from():
    rows = unpredicted(10)
    rows[9].atoms.numbers[0] = 79
    assert rows[9] not in initial_holdout(rows, 20)[1]


def test_no_bounds_from_energies_alone_and_none_twice():
    rows = unpredicted(4)
    assert initial_holdout([*rows, row(5)], 20) == ([], [])
    del rows[2].atoms.calc.results["forces"]
    assert initial_holdout(rows, 20) == ([], [])
