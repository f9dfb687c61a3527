"""Errors against NumPy, correlations against SciPy."""

import numpy as np
import pytest
from scipy import stats

from ase_bmdal_experiments.metrics import (
    correlations,
    energy_errors,
    force_errors,
    mean_errors,
)

RNG = np.random.default_rng(1)


def test_energies():
    errors = energy_errors([1.0, 2.0, 3.0], [1.5, 2.0, 1.0])
    assert errors == {"mae": pytest.approx(2.5 / 3), "rmse": pytest.approx(np.sqrt(4.25 / 3)), "maxe": 2.0}


def test_forces_have_two_maxima():
    reference = [RNG.random((n, 3)) for n in (2, 5, 3)]
    predicted = [RNG.random((n, 3)) for n in (2, 5, 3)]
    difference = np.concatenate(predicted) - np.concatenate(reference)
    means = [np.mean(np.abs(p - r)) for p, r in zip(predicted, reference, strict=True)]
    assert force_errors(reference, predicted) == {
        "mae": pytest.approx(np.mean(np.abs(difference))),
        "rmse": pytest.approx(np.sqrt(np.mean(difference**2))),
        "maxe": pytest.approx(max(means)),
        "maxe_component": pytest.approx(np.max(np.abs(difference))),
    }


def test_a_committee_has_the_mean_error_of_its_members():
    assert mean_errors([{"mae": 1.0, "rmse": 3.0}, {"mae": 2.0, "rmse": 5.0}]) == {"mae": 1.5, "rmse": 4.0}


def test_correlations():
    x, y = RNG.random(20), RNG.random(20)
    expected = {"pearson": stats.pearsonr(x, y).statistic, "spearman": stats.spearmanr(x, y).statistic}
    assert correlations(x, y) == pytest.approx(expected)


@pytest.mark.parametrize("x", [[1.0, 1.0, 1.0], [1.0, 2.0]])
def test_no_correlation_of_what_does_not_vary(x):
    assert correlations(x, np.arange(len(x))) == {"pearson": None, "spearman": None}
