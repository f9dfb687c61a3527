"""A plain potential learns from one with a baseline."""

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_bmdal import GMNNCalculator, distil, load_model
from ase_bmdal.common.errors import ModelError, RunFolderError
from ase_bmdal.run.store import LabelStore
from tests.baseline.cheap import PAIRS
from tests.learner.runs import copper, learning, walk

FEW = {"n_frames": 8, "temperatures": (300,), "spacing": 1, "length": 4, "epochs": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    with learning(EMT, folder, baseline=PAIRS, max_rounds=1) as calc:
        walk(copper(), calc, 10)
    return folder


@pytest.fixture(scope="module")
def distilled(run):
    return distil(run, baseline=PAIRS, **FEW)


def test_needs_no_baseline(run, distilled, tmp_path):
    distilled.save(tmp_path / "plain.npz")
    atoms = copper(9)
    atoms.calc = GMNNCalculator(tmp_path / "plain.npz")
    (expected,) = distilled.potential.predict([copper(9)])
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-4)
    bounds = atoms.calc.get_property("forces_uncertainty", atoms)
    assert ((bounds > 0) & (bounds < np.inf)).all()
    assert load_model(tmp_path / "plain.npz").settings == load_model(run, baseline=PAIRS).settings


def test_has_the_zero_of_the_reference(distilled):
    atoms = copper(9, by=0.02)
    (found,) = distilled.potential.predict([atoms])
    atoms.calc = EMT()
    cheap = copper(9, by=0.02)
    cheap.calc = PAIRS()
    assert abs(found.energy - atoms.get_potential_energy()) < 0.1 * abs(
        cheap.get_potential_energy() - atoms.get_potential_energy()
    )


def test_says_what_it_lost(run, distilled):
    assert (distilled.n_labels, distilled.n_frames) == (7, 7)
    tests = [entry.learned for entry in LabelStore(run / "labels.db").rows("done") if entry.is_test]
    errors = [np.abs(entry.prediction["forces"] - entry.atoms.get_forces()) for entry in tests]
    assert distilled.losses.of_teacher.mae == pytest.approx(np.mean(errors))
    lines = str(distilled).splitlines()
    assert lines[0].startswith("trained on 7 labels and 7 frames of its teacher")
    for line, loss in zip(lines[1:], (0, 2, 1), strict=True):
        assert f"{1000 * distilled.losses[loss].mae:.1f}, {1000 * distilled.losses[loss].rmse:.1f}" in line


def test_errors_are_of_labels_that_were_held_out(run):
    told = []
    found = distil(run, baseline=PAIRS, folds=3, on_progress=told.append, **FEW)
    steps = [text.partition(":")[0] for text in told if "epoch" in text]
    assert steps == [*(f"fold {k} of 3" for k in range(1, 4)), "the potential"]
    labels = [entry.atoms for entry in LabelStore(run / "labels.db").rows("done")]
    on_its_own = [
        np.abs(label.forces - atoms.get_forces())
        for label, atoms in zip(found.potential.predict(labels), labels, strict=True)
    ]
    assert found.losses.of_labels.mae != pytest.approx(np.mean(on_its_own), rel=1e-3)


def test_from_the_calculator_a_seed_gives_the_same_again(run, distilled):
    with learning(EMT, run, baseline=PAIRS, max_rounds=1) as calc:
        again = calc.distil(**FEW)
    for name, value in distilled.potential.parameters.items():
        np.testing.assert_array_equal(again.potential.parameters[name], value)
    assert again.losses == distilled.losses


def test_what_cannot_be_distilled(run):
    with pytest.raises(ModelError, match="expected the baseline"):
        distil(run, **FEW)
    with pytest.raises(RunFolderError, match="expected at least 8 labels"):
        distil(run, baseline=PAIRS, folds=8, **FEW)
    with pytest.raises(TypeError, match="did you mean n_frames"):
        distil(run, baseline=PAIRS, n_frame=3)
