"""The learner is asked and told, with no calculator, process or training anywhere."""

import numpy as np
import pytest

from ase_bmdal.common.errors import BatchFailedError, LabellingError
from ase_bmdal.learner.learner import Request
from ase_bmdal.learner.phase import Phase
from ase_bmdal.learner.pool import Frame
from ase_bmdal.run.events import Cause
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from tests.learner.by_hand import failure, frames, label, learner
from tests.learner.runs import copper, labelled


@pytest.fixture
def begun(tmp_path):
    """A learner that has its initial labels and a potential."""
    made = learner(tmp_path / "run")
    tasks = made.begin([copper(k) for k in range(4)], Cause.INITIAL, "initial structures")
    made.tell({task.id: label(task) for task in tasks})
    made.train()
    yield made
    made.close()


def offer(made, number=1, n=6):
    for frame in frames(number, n):
        made.offer(frame)


def test_phases_follow_from_what_is_known(tmp_path):
    made = learner(tmp_path / "run", max_rounds=1)
    assert made.phase is Phase.EMPTY
    tasks = made.begin([copper(k) for k in range(4)], Cause.INITIAL, "initial structures")
    assert made.phase is Phase.LABELLING
    for task in tasks:
        assert made.phase is Phase.LABELLING
        assert made.tell({task.id: label(task)}) == []
    assert made.phase is Phase.TRAINING
    made.train()
    assert made.phase is Phase.IDLE
    offer(made)
    made.tell({task.id: label(task) for task in made.ask(Request(Cause.POOL_FULL))})
    assert made.phase is Phase.TRAINING
    made.train()
    assert made.phase is Phase.FINISHED


@pytest.mark.parametrize("told", range(5))
def test_another_process_finds_the_same_phase_and_the_same_tasks(tmp_path, told):
    made = learner(tmp_path / "run")
    tasks = made.begin([copper(k) for k in range(4)], Cause.INITIAL, "initial structures")
    for task in tasks[:told]:
        made.tell({task.id: label(task)})
    expected = made.phase, [task.id for task in made.pending()]
    made.close()
    again = learner(tmp_path / "run")
    assert (again.phase, [task.id for task in again.pending()]) == expected
    assert again.phase is (Phase.LABELLING if told < 4 else Phase.TRAINING)
    again.close()


def test_a_batch_is_pending_before_anybody_works_on_it(begun):
    offer(begun)
    tasks = begun.ask(Request(Cause.POOL_FULL))
    assert len(tasks) == 3
    stored = LabelStore(begun.directory / "labels.db").rows("pending")
    assert [entry.id for entry in stored] == [task.id for task in tasks]
    assert {entry.cause for entry in stored} == {Cause.POOL_FULL}
    assert all("forces" in entry.prediction for entry in stored)


def test_required_frames_come_first_and_the_rest_from_the_pool(begun):
    offer(begun)
    required = [Frame(copper(7), "900 K")]
    tasks = begun.ask(Request(Cause.BOUND_EXCEEDED, "made up", required, "900 K"))
    np.testing.assert_array_equal(tasks[0].atoms.positions, required[0].atoms.positions)
    assert [entry.walker for entry in begun.dataset.of_round(1)] == ["900 K", "", ""]
    begun.tell({task.id: label(task) for task in tasks})
    report = begun.train()
    assert (report.cause, report.reason, report.walker) == (Cause.BOUND_EXCEEDED, "made up", "900 K")


def test_required_frames_beyond_a_batch_are_chosen_from(begun):
    tasks = begun.ask(Request(required=[Frame(copper(k)) for k in range(10, 15)]))
    newest = [copper(k).positions for k in range(12, 15)]
    for task, positions in zip(tasks, newest, strict=True):
        np.testing.assert_array_equal(task.atoms.positions, positions)
    following = begun.tell({task.id: failure(task) for task in tasks[:2]} | {tasks[2].id: label(tasks[2])})
    older = {tuple(copper(k).positions.ravel()) for k in (10, 11)}
    assert {tuple(task.atoms.positions.ravel()) for task in following} == older


def test_what_was_asked_for_before_is_not_required_again(begun):
    offer(begun)
    known, new = Frame(copper(2)), Frame(copper(99))
    tasks = begun.ask(Request(Cause.REJECTED, "made up", [new, known]))
    assert len(tasks) == 3
    np.testing.assert_array_equal(tasks[0].atoms.positions, new.atoms.positions)
    assert not any(np.array_equal(task.atoms.positions, known.atoms.positions) for task in tasks)


def test_of_more_required_frames_than_the_budget_allows_the_newest_are_taken(tmp_path):
    made = learner(tmp_path / "run", max_labels=5)
    tasks = made.begin([copper(k) for k in range(4)], Cause.INITIAL, "initial structures")
    made.tell({task.id: label(task) for task in tasks})
    made.train()
    (task,) = made.ask(Request(Cause.REJECTED, "made up", [Frame(copper(20)), Frame(copper(21))]))
    np.testing.assert_array_equal(task.atoms.positions, copper(21).positions)


def test_what_is_in_flight_counts_when_a_new_element_begins(tmp_path):
    made = learner(tmp_path / "run", max_labels=8)
    tasks = made.begin([copper(k) for k in range(4)], Cause.INITIAL, "initial structures")
    made.tell({task.id: label(task) for task in tasks})
    made.train()
    offer(made)
    assert len(made.ask(Request())) == 3
    assert len(made.begin([copper(k) for k in range(40, 44)], Cause.NEW_ELEMENT, "made up")) == 1


def test_what_failed_is_replaced_once_all_of_the_batch_is_known(begun):
    """So that the order in which outcomes come changes nothing."""
    offer(begun)
    first, second, third = begun.ask(Request(Cause.POOL_FULL))
    assert begun.tell({second.id: failure(second)}) == []
    assert begun.tell({third.id: label(third)}) == []
    (replacement,) = begun.tell({first.id: label(first)})
    assert replacement.id not in (first.id, second.id, third.id)
    assert begun.tell({replacement.id: label(replacement)}) == []
    assert begun.phase is Phase.TRAINING


def test_a_reference_that_always_fails_is_not_asked_for_ever(begun):
    offer(begun)
    tasks, asked = begun.ask(Request(Cause.POOL_FULL)), 0
    while tasks:
        asked += len(tasks)
        tasks = begun.tell({task.id: failure(task) for task in tasks})
    assert asked == 3
    with pytest.raises(BatchFailedError, match="RuntimeError: no"):
        begun.refuse_if_all_failed(in_a_row=3)
    assert begun.phase is Phase.IDLE
    assert begun.skip_training().new_labels == 0


def test_the_pool_is_empty_after_a_round_was_asked_for(begun):
    offer(begun)
    assert begun.pool_is_full
    begun.ask(Request(Cause.POOL_FULL))
    assert not begun.has_frames


def test_labels_that_are_there_are_not_asked_for(tmp_path):
    made = learner(tmp_path / "run")
    assert made.begin(labelled(3), Cause.INITIAL, "initial") == []
    assert made.phase is Phase.TRAINING
    made.close()


def test_a_training_notes_the_round_before_it_keeps_the_potential(begun, monkeypatch):
    offer(begun)
    begun.tell({task.id: label(task) for task in begun.ask(Request(Cause.POOL_FULL, "the pool is full"))})

    class KilledError(Exception):
        pass

    def killed(*arguments):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("ase_bmdal.learner.training.save_potential", killed)
        with pytest.raises(KilledError):
            begun.train()
    begun.close()
    again = learner(begun.directory)
    assert again.phase is Phase.TRAINING
    again.train()
    again.close()
    rounds = History.read(begun.directory).rounds
    assert [(each.round, each.pool, each.reason) for each in rounds] == [
        (0, 0, "initial structures"),
        (1, 6, "the pool is full"),
    ]


def test_rounds_without_a_training_of_their_own_are_in_the_journal(begun):
    """As in the background, where the next batch is asked for before the labels of the one before are learned."""
    tasks = []
    for number in (1, 2):
        offer(begun, number)
        tasks += begun.ask(Request(Cause.POOL_FULL))
    begun.tell({task.id: label(task) for task in tasks})
    begun.train()
    rounds = History.read(begun.directory).rounds
    assert [each.round for each in rounds] == [0, 1, 2]
    assert [each.new_labels for each in rounds] == [4, 3, 3]
    assert [each.trained_on for each in rounds] == [None, 4, 4]


def test_one_that_is_closed_says_so(begun):
    begun.close()
    with pytest.raises(LabellingError, match="the calculator is closed"):
        begun.ask(Request())
    with pytest.raises(LabellingError, match="the calculator is closed"):
        begun.begin([copper()], Cause.INITIAL, "initial")
