from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ase_bmdal import UncertaintyLimits
from ase_bmdal.features.inputs import input_features
from ase_bmdal.kernels.principal import principal_posterior
from ase_bmdal.potential.evaluator import Evaluator
from ase_bmdal.potential.gmnn import Committee
from ase_bmdal.run.store import Entry
from ase_bmdal.structures.labels import Label
from ase_bmdal.uncertainty.calibrate import (
    DEVIATION_OF,
    automatic_tolerance,
    calibrated,
    comparable,
    fit_error_model,
    largest_bound,
    observed_coverage,
)
from ase_bmdal.uncertainty.conformal import conformal_factor
from ase_bmdal.uncertainty.error_model import ErrorModel
from tests.builders import random_model
from tests.learner.runs import copper

UNCAPPED = UncertaintyLimits(ceiling=1e9)
MODEL = random_model([29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)


def row(number, round=1, error=0.1, raw=None, bound=None, force=100.0):
    """A copper cell where the first atom's predicted force is wrong by so much, and such a force is on the last."""
    atoms = copper(number)
    forces = np.zeros((4, 3))
    forces[3] = [0, 0, force]
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=forces)
    wrong = forces.copy()
    wrong[0] = [0, error, 0]
    prediction = {"forces": wrong, "energy": 1.0 + error}
    if raw is not None:
        prediction |= {"raw_forces": np.array([raw, 1.0, 1.0, 1.0]), "raw_energy": raw, "raw": DEVIATION_OF}
    if bound is not None:
        prediction["forces_uncertainty"] = np.full(4, bound)
    return Entry(id=number, atoms=atoms, status="done", round=round, source="pool", prediction=prediction)


def test_the_factor_is_that_of_the_errors_before_training():
    rows = [row(n) for n in range(3)] + [row(n, error=0.1 * n, raw=0.5) for n in range(3, 23)]
    found = fit_error_model(MODEL, rows, UncertaintyLimits(probability=0.9))
    assert found.power == UncertaintyLimits().power
    ratios = [0.1 * n / 0.5**found.power for n in range(3, 23)]
    assert found.force_factor == pytest.approx(conformal_factor(ratios + [0.0] * 60, 0.9))
    ratios = [0.2 * n for n in range(3, 23)]
    assert found.energy_factor == pytest.approx(conformal_factor(ratios, 0.9))
    assert found.probability == 0.9
    features = input_features(MODEL, [each.atoms for each in rows])
    matrix, before = (
        principal_posterior(some.T @ some, len(some), np.random.default_rng(0))
        for some in (features, features[: 3 * 4])
    )
    change = 1.0 / np.median(
        np.linalg.norm(features[3 * 4 :] @ before.T, axis=1)
    )  # they were 0.5, 1, 1, 1 before
    np.testing.assert_allclose(found.posterior.T @ found.posterior, change**2 * matrix.T @ matrix, atol=1e-8)


@pytest.mark.parametrize("spread", [0.2, 5.0])
def test_a_network_whose_inputs_spread_otherwise_has_the_same_bounds(spread):
    """As one that was trained anew, or for longer: 11 times as large, they stopped a run whose forces were right."""
    rows = [row(n) for n in range(10)] + [row(n, round=2, raw=0.5) for n in range(10, 30)]
    inputs = replace(MODEL.inputs, scale=spread * MODEL.inputs.scale)
    structures = [copper(n) for n in range(40, 45)]
    first, second = (
        np.concatenate(
            [
                found.bounds(Evaluator().predict(model, atoms, found.posterior).uncertainty).forces
                for atoms in structures
            ]
        )
        for model in (MODEL, MODEL.with_inputs(inputs))
        for found in [fit_error_model(model, rows, UncertaintyLimits())]
    )
    np.testing.assert_allclose(second, first, rtol=0.3)


def test_deviations_are_in_the_units_of_those_before():
    old, new = [row(n) for n in range(10)], [copper(n) for n in range(10, 30)]
    before = fit_error_model(MODEL, old, UncertaintyLimits())
    raw = [Evaluator().predict(MODEL, atoms, before.posterior).uncertainty.atoms for atoms in new]
    rows = [row(n, round=2, raw=1.0) for n in range(10, 30)]
    for entry, deviations in zip(rows, raw, strict=True):
        entry.prediction["raw_forces"] = 3.0 * deviations
    after = fit_error_model(MODEL, old + rows, UncertaintyLimits())
    for entry in rows:
        entry.prediction["raw_forces"] = entry.prediction["raw_forces"] / 3.0
    same = fit_error_model(MODEL, old + rows, UncertaintyLimits())
    np.testing.assert_allclose(after.posterior, 3.0 * same.posterior, rtol=1e-3)


def test_only_recent_errors_count():
    old = [row(n, round=1, error=100.0, raw=0.5) for n in range(30)]
    new = [row(n, round=2 + n // 15, error=0.1, raw=0.5) for n in range(30)]
    assert fit_error_model(
        MODEL, old + new, UncertaintyLimits(probability=0.5)
    ).energy_factor == pytest.approx(0.2)


def test_without_predictions_there_are_no_bounds():
    assert not fit_error_model(MODEL, [row(0)], UncertaintyLimits()).is_calibrated


def test_a_committee_needs_no_posterior():
    committee = Committee([MODEL, random_model([29], 1, hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)])
    assert fit_error_model(committee, [row(0)], UncertaintyLimits()).posterior is None


def test_the_tolerance_is_twice_the_largest_bound_of_the_last_round():
    rows = [row(0, 1, raw=9.0), row(1, 2, raw=3.0), row(2, 2, raw=2.0), row(3, 3)]
    assert automatic_tolerance(rows, ErrorModel(None, 0.5), UNCAPPED, small_error=0.02) == pytest.approx(3.0)
    assert automatic_tolerance(rows, ErrorModel(None, 0.001), UNCAPPED, small_error=0.02) == pytest.approx(
        0.1
    )
    assert automatic_tolerance(rows[-1:], ErrorModel(None, 0.5), UNCAPPED, 0.02) is None
    assert automatic_tolerance(rows, ErrorModel(None, np.inf), UNCAPPED, 0.02) is None


def test_after_first_contact_the_tolerance_does_not_hang_on_one_structure():
    rows = [
        replace(row(n, round=0, raw=raw), source="first contact") for n, raw in enumerate([3.0, 5.0, 400.0])
    ]
    assert automatic_tolerance(rows, ErrorModel(None, 0.5), UNCAPPED, small_error=0.02) == pytest.approx(5.0)


def test_the_tolerance_is_no_more_than_the_forces():
    rows = [row(n, round=n // 3, raw=9.0, force=force) for n, force in enumerate([1, 2, 90, 3, 2])]
    assert automatic_tolerance(
        rows, ErrorModel(None, 100.0), UncertaintyLimits(), small_error=0.02
    ) == pytest.approx(3.0)
    assert automatic_tolerance(
        rows, ErrorModel(None, 0.1), UncertaintyLimits(), small_error=0.02
    ) == pytest.approx(1.8)


def test_with_a_baseline_the_tolerance_is_no_less_than_what_that_is_wrong_by():
    of_differences = [
        replace(row(n, raw=1.0, force=force), baseline=Label(0.0, np.zeros((4, 3))))
        for n, force in enumerate([2.0, 3.0])
    ]
    limits, sure = UncertaintyLimits(), ErrorModel(None, 1e-3)
    tolerance = automatic_tolerance(of_differences, sure, limits, small_error=0.02)
    assert tolerance == pytest.approx(3.0)
    without = [replace(entry, baseline=None) for entry in of_differences]
    assert automatic_tolerance(without, sure, limits, small_error=0.02) == pytest.approx(0.1)
    off = UncertaintyLimits(difference=0.0)
    assert automatic_tolerance(of_differences, sure, off, small_error=0.02) == pytest.approx(0.1)


def test_errors_of_first_contact_count_until_there_are_others():
    first = [replace(row(n, round=0, error=50.0, raw=1.0), source="first contact") for n in range(5)]
    own = [row(n, round=1, error=1.0, raw=1.0) for n in range(5, 15)]
    assert calibrated(first, UncertaintyLimits(probability=0.8))[0] == 50.0
    assert calibrated([*first, *own[:9]], UncertaintyLimits(probability=0.95))[0] == 50.0
    assert calibrated([*first, *own], UncertaintyLimits(probability=0.95))[0] == 1.0


def test_coverage_is_counted_on_atoms_that_had_a_bound():
    assert observed_coverage([row(0)]) is None
    assert observed_coverage([row(0), row(1, error=0.1, bound=0.2), row(2, error=0.3, bound=0.2)]) == 7 / 8
    assert largest_bound([row(0), row(1, bound=0.2), row(2, bound=0.3)]) == pytest.approx(0.3)
    assert largest_bound([row(0)]) is None


def test_a_committee_is_not_calibrated_with_what_a_single_network_said():
    rows = [row(0), row(1, raw=1.0), row(2, raw=1.0)]
    rows[1].prediction["n_models"], rows[2].prediction["n_models"] = 1, 3
    assert [each.id for each in comparable(rows, 3)] == [0, 2]


def test_coverage_is_what_bounds_of_that_probability_would_have_had():
    """Whatever bounds were given: a run may be taken up with another probability."""
    rows = [row(n, round=1 + n // 20, error=0.1 * (1 + n % 20), raw=1.0, bound=9.0) for n in range(40)]
    factor, covered = calibrated(rows[:20], UncertaintyLimits(probability=0.9))
    assert (factor, covered) == (conformal_factor([0.1 * n for n in range(1, 21)] + [0.0] * 60, 0.9), {})
    _, covered = calibrated(rows, UncertaintyLimits(probability=0.9))
    assert covered == {2: pytest.approx(0.9, abs=0.02)}
    assert calibrated(rows[:1], UncertaintyLimits(probability=0.95)) == (np.inf, {})
