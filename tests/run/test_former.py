"""A run folder of the version before (commit 5c9ffb4: a log of rounds, model files of format 2) is taken up."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_bmdal import GMNNCalculator
from ase_bmdal.run.events import Cause
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from ase_bmdal.uncertainty.limits import UncertaintyLimits
from tests.learner.runs import copper, learning, walk

ENERGY = -0.4231452209231382  # of its last frame, by its last potential
BOUNDS = [0.20685943, 0.17682475, 0.1662281, 0.25895107]


@pytest.fixture
def former(tmp_path):
    with tarfile.open(Path(__file__).with_name("former.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "run"


@pytest.fixture
def last_frame():
    """Where its random walk ended."""
    atoms, rng = copper(), np.random.default_rng(0)
    for _ in range(6):
        atoms.positions += 0.02 * rng.standard_normal((4, 3))
    return atoms


def expect_as_before(atoms):
    assert atoms.get_potential_energy() == pytest.approx(ENERGY, abs=1e-5)
    np.testing.assert_allclose(atoms.calc.results["forces_uncertainty"], BOUNDS, rtol=1e-3)


def test_its_potential_predicts_with_the_same_bounds(former, last_frame):
    last_frame.calc = GMNNCalculator(former)
    expect_as_before(last_frame)


def test_it_goes_on_without_learning_anew(former, last_frame):
    settings = {"uncertainty": UncertaintyLimits(probability=0.8), "executor": "in-process"}
    with learning(EMT, former, max_labels=7, epochs=2, **settings) as calc:
        last_frame.calc = calc
        expect_as_before(last_frame)
        assert calc.learner.generation == 1
    with learning(EMT, former, max_labels=10, epochs=2, **settings) as calc:
        walk(copper(1), calc, 20)
    entries = LabelStore(former / "labels.db").rows("done")
    assert [entry.round for entry in entries] == [0] * 4 + [1] * 3 + [2] * 3
    assert entries[6].cause is Cause.UNKNOWN
    assert [each.labels for each in History.read(former).rounds] == [4, 7, 10]
