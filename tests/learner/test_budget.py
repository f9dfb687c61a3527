"""When learning ends: budgets, and rounds that had nothing to teach."""

from dataclasses import replace

import numpy as np
import pytest

from ase_bmdal import Convergence, UncertaintyLimits
from ase_bmdal.labelling import Failure
from ase_bmdal.labelling.outcome import ComputedLabel
from ase_bmdal.learner.budget import converged
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.run.dataset import Dataset
from ase_bmdal.run.events import Cause
from ase_bmdal.run.store import LabelStore
from tests.learner.runs import copper

SMALL, LARGE = 0.01, 0.1  # eV/Å


@pytest.fixture
def dataset(tmp_path):
    return Dataset(LabelStore(tmp_path / "labels.db"))


def add(dataset, round, errors, *, outcome="done", cause=Cause.POOL_FULL):
    """Structures of a round whose forces were predicted with such errors."""
    forces = np.zeros((4, 3))
    predictions = [
        {"energy": 0.0, "forces": forces + error, "forces_uncertainty": np.full(4, 2 * error)}
        for error in errors
    ]
    entries = dataset.add(
        [copper() for _ in errors],
        round=round,
        source="pool",
        cause=cause,
        walkers=[""] * len(errors),
        predictions=predictions,
    )
    record = ComputedLabel(0.0, forces) if outcome == "done" else Failure("RuntimeError", "no")
    if outcome != "pending":
        dataset.finish({entry.id: record for entry in entries})


SETTINGS = LearnerSettings(batch_size=4, convergence=Convergence(force_mae=0.02, rounds=2))


def test_two_quiet_batches_end_it(dataset):
    add(dataset, 1, [SMALL] * 4)
    assert converged(SETTINGS, dataset) is None
    add(dataset, 2, [SMALL] * 4)
    assert converged(SETTINGS, dataset) == (
        "the force error before training was below 0.02 eV/Å for 2 rounds"
    )


def test_a_round_for_forces_that_were_rejected_does_not(dataset):
    add(dataset, 1, [SMALL] * 4)
    add(dataset, 2, [SMALL] * 4, cause=Cause.REJECTED)
    assert converged(SETTINGS, dataset) is None
    for number in (3, 4):
        add(dataset, number, [SMALL] * 4)
    assert converged(SETTINGS, dataset)


def test_nor_does_a_bound_beyond_the_tolerance_that_was_asked_for(dataset):
    wanted = replace(SETTINGS, uncertainty=UncertaintyLimits(force_tolerance=0.1))
    for number in (1, 2):
        add(dataset, number, [SMALL] * 20 + [0.06])
    assert converged(SETTINGS, dataset)
    assert converged(wanted, dataset) is None


def test_calculations_that_failed_say_nothing(dataset):
    for number in (1, 2):
        add(dataset, number, [SMALL] * 4)
    add(dataset, 3, [SMALL], outcome="failed")
    assert converged(SETTINGS, dataset)


def test_a_loud_one_does_not(dataset):
    for number, error in enumerate([SMALL, LARGE, SMALL], start=1):
        add(dataset, number, [error] * 4)
        assert converged(SETTINGS, dataset) is None


def test_rounds_of_single_frames_count_once_they_make_up_a_batch(dataset):
    found = []
    for number in range(1, 6):
        add(dataset, number, [SMALL])
        found.append(converged(SETTINGS, dataset))
    assert found[:3] == [None] * 3
    assert found[3].endswith("for 4 rounds")


def test_a_loud_frame_among_them_starts_the_count_anew(dataset):
    for number, error in enumerate([LARGE, SMALL, SMALL, SMALL], start=1):
        add(dataset, number, [error])
    assert converged(SETTINGS, dataset) is None
    add(dataset, 5, [SMALL])
    assert converged(SETTINGS, dataset).endswith("for 4 rounds")


def test_what_failed_teaches_nothing_and_what_is_missing_is_left_out(dataset):
    add(dataset, 1, [SMALL] * 2)
    add(dataset, 1, [SMALL] * 2, outcome="failed")
    add(dataset, 2, [SMALL])
    assert converged(SETTINGS, dataset) is None
    add(dataset, 3, [LARGE], outcome="pending")
    add(dataset, 4, [SMALL])
    assert converged(SETTINGS, dataset).endswith("for 3 rounds")


def test_with_a_tolerance_bounds_count(dataset):
    settings = LearnerSettings(
        batch_size=4,
        convergence=Convergence(force_mae=0.0, rounds=2),
        uncertainty=UncertaintyLimits(force_tolerance=0.05),
    )
    add(dataset, 1, [SMALL] * 2)
    add(dataset, 2, [SMALL])
    assert converged(settings, dataset) is None
    add(dataset, 3, [SMALL])
    assert converged(settings, dataset) == "no force was expected to be wrong by 0.05 eV/Å for 3 rounds"
    add(dataset, 4, [LARGE])
    assert converged(settings, dataset) is None
