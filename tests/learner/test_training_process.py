"""Trainings in a process of their own give what they give here, and say what goes wrong."""

import os
import signal

import numpy as np
import pytest

from ase_bmdal import UncertaintyLimits
from ase_bmdal.common.errors import TrainingError
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.training import PotentialTrainer, TrainingJob
from ase_bmdal.learner.training_process import TrainingProcess
from ase_bmdal.potential.settings import TrainingSettings
from ase_bmdal.run.events import EpochDone
from ase_bmdal.run.store import Entry
from ase_bmdal.structures.labels import label_of
from tests.labelling.treacherous import alive, wait_until
from tests.learner.runs import TINY, labelled


@pytest.fixture
def settings():
    return LearnerSettings(
        architecture=TINY, training=TrainingSettings(epochs=2), uncertainty=UncertaintyLimits(enabled=False)
    )


@pytest.fixture
def process(settings):
    events = []
    made = TrainingProcess(settings, events.append)
    made.events = events
    yield made
    made.close()


def job(n, number=0, before=None, known=()):
    entries = [
        Entry(
            id=id, atoms=label_of(atoms).attach(atoms), status="done", round=0, source="pool", prediction={}
        )
        for id, atoms in enumerate(labelled(n), 1)
    ]
    return TrainingJob(number, entries, False, [], before, known, len(known))


def result(process):
    found = []

    def has_come():
        answer = process.poll()
        found.extend([answer] * (answer is not None))
        return bool(found)

    wait_until(has_come, 120)
    return found[0]


def parameters(potential):
    return potential.members[0].parameters


def test_it_gives_what_is_given_here(process, settings):
    """Twice: the second goes on from the first, and only new labels are sent."""
    here = PotentialTrainer(settings, lambda event: None)
    before, known = None, ()
    for number, n in enumerate((4, 6)):
        process.start(job(n, number, before, known))
        same = job(n, number, before, known)
        found, expected = result(process), here.described(here.carry_out(same), same)
        for name, value in parameters(expected.potential).items():
            np.testing.assert_allclose(parameters(found.potential)[name], value, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.features, expected.features, rtol=1e-2, atol=1e-3)
        assert (found.number, found.training, found.notes) == (number, expected.training, expected.notes)
        before, known = found.potential, found.notes["label_ids"]
    assert found.training.training == "warm"
    assert all(isinstance(event, EpochDone) for event in process.events)
    assert {event.round for event in process.events} == {0, 1}


def test_an_error_comes_back_as_what_it_was(process):
    broken = job(2)
    broken.entries[0].atoms.calc.results["energy"] = np.nan
    process.start(broken)
    with pytest.raises((TrainingError, ValueError)):
        result(process)
    process.start(job(4)._replace(entries=job(4).entries[2:]))
    assert result(process).notes["label_ids"] == [3, 4]


def test_one_that_is_killed_is_an_error_and_the_next_is_another(process):
    process.start(job(4))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(
        TrainingError, match="the training process has ended: killed by SIGKILL; the labels are kept"
    ):
        result(process)
    process.start(job(4))
    assert result(process).notes["label_ids"] == [1, 2, 3, 4]


def test_it_is_ended_in_the_midst_of_a_training(process, settings):
    process.start(job(4))
    pid = process.pid
    process.close()
    assert not alive(pid)
    assert process.poll() is None
    process.close()
