import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ase_bmdal.uncertainty.conformal import adapted_factor, conformal_factor, coverage, ratios


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.05, 0.98))
def test_the_factor_is_the_smallest_that_bounds_enough_of_the_ratios(found, probability):
    factor = conformal_factor(found, probability)
    enough = math.ceil((len(found) + 1) * probability)
    if enough > len(found):
        assert factor == math.inf
    else:
        assert sum(each <= factor for each in found) >= enough
        assert sum(each < factor for each in found) < enough


@pytest.mark.parametrize("probability", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("heavy_tail", [False, True])
def test_bounds_hold_with_the_probability_stated(probability, heavy_tail):
    """Over many draws of 40 ratios to calibrate with and new ones to test."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(600):
        found = np.abs(rng.standard_cauchy(60) if heavy_tail else rng.standard_normal(60))
        raw = rng.uniform(0.1, 3, 60)
        errors = found * raw
        factor = conformal_factor(ratios(errors[:40], raw[:40]), probability)
        held.append(coverage(errors[40:], factor * raw[40:]))
    assert probability - 0.01 < np.mean(held) < probability + 1 / 41 + 0.01


def test_the_factor_grows_after_errors_beyond_their_bounds_and_shrinks_after_too_few():
    found = np.arange(1.0, 101.0)
    usual = conformal_factor(found, 0.9)
    assert adapted_factor(found, 0.9, []) == adapted_factor(found, 0.9, [0.9]) == usual
    assert adapted_factor(found, 0.9, [0.7]) == conformal_factor(found, 0.94)
    assert adapted_factor(found, 0.9, [1.0]) == conformal_factor(found, 0.88)
    assert (
        adapted_factor(found, 0.9, [0.0, 0.0]) == 100.0
    )  # the largest ratio: no more can be learned from them
    assert adapted_factor(found, 0.9, [0.0, *[1.0] * 4]) < 100.0
    assert adapted_factor(found[:5], 0.9, [0.0]) == math.inf


def test_few_structures_bound_by_their_largest_ratio_whatever_they_have_of_atoms():
    found = np.arange(1, 101.0)
    assert adapted_factor(found, 0.95, [], n_structures=18) == 100.0
    assert adapted_factor(found, 0.95, [], n_structures=19) == conformal_factor(found, 0.95)
    assert adapted_factor(found, 0.5, [], n_structures=1) == conformal_factor(found, 0.5)
    assert adapted_factor(found[:5], 0.95, [], n_structures=1) == math.inf


def test_coverage_comes_back_when_errors_drift():
    """Ratios that grow by a quarter in each round, as those of a young potential do."""
    rng, plain, adapted = np.random.default_rng(0), [], []
    last = np.abs(rng.standard_normal(90))
    for number in range(1, 12):
        new = 1.25**number * np.abs(rng.standard_normal(90))
        plain.append(coverage(new, np.full(90, conformal_factor(last, 0.9))))
        adapted.append(coverage(new, np.full(90, adapted_factor(last, 0.9, adapted))))
        last = new
    assert np.mean(plain) < 0.85
    assert abs(np.mean(adapted[2:]) - 0.9) < 0.04


def test_too_few_ratios_bound_nothing():
    assert conformal_factor(np.ones(18), 0.95) == math.inf
    assert conformal_factor(np.ones(19), 0.95) == 1.0
    assert conformal_factor([], 0.5) == math.inf


def test_no_uncertainty_is_no_division_by_zero():
    np.testing.assert_array_equal(ratios([0.0], [0.0]), [0.0])
    assert ratios([1.0], [0.0]) == pytest.approx(1e12)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="probability: expected a number between 0 and 1, got 1"):
        conformal_factor([1.0], 1.0)
    with pytest.raises(ValueError, match="got NaN"):
        conformal_factor([1.0, math.nan], 0.5)


def test_coverage_of_nothing_is_not_known():
    assert math.isnan(coverage([], []))
    assert coverage([1, 2, 3, 4], [2, 2, 2, 5]) == 0.75
