import numpy as np
import pytest

from ase_bmdal import GMNNCalculator, UncertaintyLimits
from ase_bmdal.structures.labels import Label
from ase_bmdal.walkers.bias import Bias
from tests.learner.runs import copper, learning, walk

TRUST = UncertaintyLimits(probability=0.8, force_tolerance=1e6)


def label(energy, force, stress=None):
    return Label(energy, np.full((4, 3), float(force)), None if stress is None else np.full(6, stress))


def test_the_added_forces_are_a_fraction_of_the_physical_ones():
    bias = Bias(0.25)
    total = bias(label(1.0, 2.0, 0.1), label(-3.0, 10.0, 1.0))
    tau = 0.25 * 2.0 / 10.0
    np.testing.assert_allclose(total.forces, 2.0 + tau * 10.0)
    assert total.energy == pytest.approx(1.0 - tau * 3.0)
    np.testing.assert_allclose(total.stress, 0.1 + tau)


def test_the_strength_follows_the_means_not_the_moment():
    bias, rng = Bias(0.5), np.random.default_rng(0)
    for _ in range(500):
        bias(label(0, rng.uniform(0.5, 1.5)), label(0, rng.uniform(1.0, 3.0)))
    total = bias(label(0, 1.0), label(0, 100.0))
    assert 15 < total.forces[0, 0] - 1.0 < 30  # by the means 25, of the moment it would be 0.5


def test_no_pull_is_no_division_by_zero():
    np.testing.assert_array_equal(Bias(0.5)(label(1, 1.0), label(0, 0.0)).forces, 1.0)


@pytest.mark.parametrize("wrong", [-0.1, np.inf, np.nan])
def test_strengths_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match="bias: expected a fraction of the forces, 0 or more, got"):
        Bias(wrong)


def test_a_biased_run_keeps_the_unbiased_forces_and_labels(watch, tmp_path):
    atoms = copper(by=0.1)
    with learning(watch.reference, tmp_path / "run", uncertainty=TRUST, bias=0.3) as calc:
        walk(atoms, calc, 4)
        results, positions = calc.results, calc.atoms.positions.copy()
        assert results["energy"] < results["unbiased_energy"]
        added = results["forces"] - results["unbiased_forces"]
        assert 0 < np.abs(added).mean() < np.abs(results["unbiased_forces"]).mean()
        assert results["stress"].shape == results["unbiased_stress"].shape == (6,)
        model = calc.learner.potential
        for row in calc.learner.dataset.done:
            again = row.atoms.copy()
            again.calc = watch.reference()
            np.testing.assert_allclose(again.get_forces(), row.atoms.get_forces(), atol=1e-10)
    atoms.positions = positions
    atoms.calc = GMNNCalculator(model)
    np.testing.assert_allclose(atoms.get_forces(), results["unbiased_forces"], atol=1e-5)
    assert atoms.get_potential_energy() == pytest.approx(results["unbiased_energy"], abs=1e-5)


def test_there_is_no_bias_once_learning_has_ended(watch, tmp_path):
    calc = learning(watch.reference, tmp_path / "run", bias=0.3, max_rounds=0)
    walk(copper(), calc, 3)
    assert calc.results["unbiased_energy"] == calc.results["energy"]  # a script may go on to ask for it
    np.testing.assert_array_equal(calc.results["unbiased_forces"], calc.results["forces"])


def test_a_committee_cannot_be_biased(watch, tmp_path):
    with pytest.raises(ValueError, match="bias: expected a selection with one network, got MAXDIAG"):
        learning(watch.reference, tmp_path / "run", bias=0.3, selection="MAXDIAG + QBC(F)")
