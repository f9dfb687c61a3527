from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ase_bmdal import Trust
from ase_bmdal.acquisition.calibration import conformal_factor
from ase_bmdal.features.inputs import input_features
from ase_bmdal.kernels.principal import principal_posterior
from ase_bmdal.labelling.store import StoredLabel
from ase_bmdal.learner.trust import (
    POWER,
    RAW,
    calibrated,
    comparable,
    fit_uncertainty,
    largest_bound,
    observed_coverage,
    own_tolerance,
    rehearsal,
)
from ase_bmdal.potential.gmnn import Committee
from ase_bmdal.potential.uncertainty import Uncertainty
from tests.builders import random_model
from tests.learner.runs import copper

UNCAPPED = Trust(ceiling=1e9)
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
        prediction |= {"raw_forces": np.array([raw, 1.0, 1.0, 1.0]), "raw_energy": raw, "raw": RAW}
    if bound is not None:
        prediction["forces_uncertainty"] = np.full(4, bound)
    return StoredLabel(
        id=number, atoms=atoms, status="done", round=round, source="pool", prediction=prediction
    )


def test_the_factor_is_that_of_the_errors_before_training():
    rows = [row(n) for n in range(3)] + [row(n, error=0.1 * n, raw=0.5) for n in range(3, 23)]
    found = fit_uncertainty(MODEL, rows, Trust(probability=0.9))
    assert found.power == POWER
    ratios = [0.1 * n / 0.5**POWER for n in range(3, 23)]
    assert found.force_factor == pytest.approx(conformal_factor(ratios + [0.0] * 60, 0.9))
    ratios = [0.2 * n for n in range(3, 23)]
    assert found.energy_factor == pytest.approx(conformal_factor(ratios, 0.9))
    assert found.probability == 0.9
    features = input_features(MODEL, [each.atoms for each in rows])
    matrix = principal_posterior(features.T @ features, len(features), np.random.default_rng(0))
    np.testing.assert_allclose(found.posterior.T @ found.posterior, matrix.T @ matrix, atol=1e-8)


def test_only_recent_errors_count():
    old = [row(n, round=1, error=100.0, raw=0.5) for n in range(30)]
    new = [row(n, round=2 + n // 15, error=0.1, raw=0.5) for n in range(30)]
    assert fit_uncertainty(MODEL, old + new, Trust(probability=0.5)).energy_factor == pytest.approx(0.2)


def test_without_predictions_there_are_no_bounds():
    assert not fit_uncertainty(MODEL, [row(0)], Trust()).is_calibrated


def test_a_committee_needs_no_posterior():
    committee = Committee([MODEL, random_model([29], 1, hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)])
    assert fit_uncertainty(committee, [row(0)], Trust()).posterior is None


def test_the_tolerance_is_twice_the_largest_bound_of_the_last_round():
    rows = [row(0, 1, raw=9.0), row(1, 2, raw=3.0), row(2, 2, raw=2.0), row(3, 3)]
    assert own_tolerance(rows, Uncertainty(None, 0.5), UNCAPPED, small_error=0.02) == pytest.approx(3.0)
    assert own_tolerance(rows, Uncertainty(None, 0.001), UNCAPPED, small_error=0.02) == pytest.approx(0.1)
    assert own_tolerance(rows[-1:], Uncertainty(None, 0.5), UNCAPPED, 0.02) is None
    assert own_tolerance(rows, Uncertainty(None, np.inf), UNCAPPED, 0.02) is None


def test_after_first_contact_the_tolerance_does_not_hang_on_one_structure():
    rows = [
        replace(row(n, round=0, raw=raw), source="first contact") for n, raw in enumerate([3.0, 5.0, 400.0])
    ]
    assert own_tolerance(rows, Uncertainty(None, 0.5), UNCAPPED, small_error=0.02) == pytest.approx(5.0)


def test_the_tolerance_is_no_more_than_the_forces():
    rows = [row(n, round=n // 3, raw=9.0, force=force) for n, force in enumerate([1, 2, 90, 3, 2])]
    assert own_tolerance(rows, Uncertainty(None, 100.0), Trust(), small_error=0.02) == pytest.approx(3.0)
    assert own_tolerance(rows, Uncertainty(None, 0.1), Trust(), small_error=0.02) == pytest.approx(1.8)


def test_errors_of_first_contact_count_until_there_are_others():
    first = [replace(row(n, round=0, error=50.0, raw=1.0), source="first contact") for n in range(5)]
    own = [row(n, round=1, error=1.0, raw=1.0) for n in range(5, 15)]
    assert calibrated(first, 0.8)[0] == 50.0
    assert calibrated([*first, *own[:9]], 0.95)[0] == 50.0
    assert calibrated([*first, *own], 0.95)[0] == 1.0


def test_coverage_is_counted_on_atoms_that_had_a_bound():
    assert observed_coverage([row(0)]) is None
    assert observed_coverage([row(0), row(1, error=0.1, bound=0.2), row(2, error=0.3, bound=0.2)]) == 7 / 8
    assert largest_bound([row(0), row(1, bound=0.2), row(2, bound=0.3)]) == pytest.approx(0.3)
    assert largest_bound([row(0)]) is None


def unpredicted(n):
    """Labels of first contact."""
    return [replace(row(number, round=0), prediction={}) for number in range(n)]


@pytest.mark.parametrize(("n", "n_unseen"), [(0, 0), (1, 0), (2, 1), (5, 2), (10, 5), (100, 20)])
def test_every_second_first_label_is_kept_for_the_bounds(n, n_unseen):
    rows = unpredicted(n)
    known, unseen = rehearsal(rows)
    assert len(unseen) == n_unseen
    assert sorted(each.id for each in known + unseen) == [each.id for each in rows]
    assert not unseen or unseen[-1].id == n - 1


def test_an_element_of_one_label_is_learned_from():
    rows = unpredicted(10)
    rows[9].atoms.numbers[0] = 79
    assert rows[9] not in rehearsal(rows)[1]


def test_no_bounds_from_energies_alone_and_none_twice():
    rows = unpredicted(4)
    assert rehearsal([*rows, row(5)]) == ([], [])
    del rows[2].atoms.calc.results["forces"]
    assert rehearsal(rows) == ([], [])


def test_a_committee_is_not_calibrated_with_what_a_single_network_said():
    rows = [row(0), row(1, raw=1.0), row(2, raw=1.0)]
    rows[1].prediction["n_models"], rows[2].prediction["n_models"] = 1, 3
    assert [each.id for each in comparable(rows, 3)] == [0, 2]


def test_coverage_is_what_bounds_of_that_probability_would_have_had():
    """Whatever bounds were given: a run may be taken up with another probability."""
    rows = [row(n, round=1 + n // 20, error=0.1 * (1 + n % 20), raw=1.0, bound=9.0) for n in range(40)]
    factor, covered = calibrated(rows[:20], 0.9)
    assert (factor, covered) == (conformal_factor([0.1 * n for n in range(1, 21)] + [0.0] * 60, 0.9), {})
    _, covered = calibrated(rows, 0.9)
    assert covered == {2: pytest.approx(0.9, abs=0.02)}
    assert calibrated(rows[:1], 0.95) == (np.inf, {})
