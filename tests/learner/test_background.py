"""The background loop: what comes when, what is asked for in its place, when it is trained on, who waits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ase_bmdal import BackgroundSettings, LabellingSettings
from ase_bmdal.common.errors import (
    BatchFailedError,
    LabellingError,
    RunFolderError,
    SimulationStopped,
    TrainingError,
)
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.learner.learner import Request
from ase_bmdal.learner.pool import Frame
from ase_bmdal.run.events import Cause
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from tests.learner.by_hand import frames
from tests.learner.by_hand_background import background
from tests.learner.runs import copper


@pytest.fixture
def made(tmp_path):
    found = background(tmp_path / "run")
    yield found
    found[0].close()


def call(loop, n=1):
    """Force calls that offer nothing."""
    for _ in range(n):
        loop.prepare(copper())


def ask(loop, number=1, required=()):
    """A batch of three, from six frames."""
    for frame in frames(number):
        loop.offer(lambda frame=frame: frame)
    return loop.request(Request(Cause.POOL_FULL, required=required), loop.learner.generation)


def statuses(loop):
    return [entry.status for entry in loop.learner.dataset.entries[4:]]


def test_nobody_waits_for_labels(made):
    loop, executor, _ = made
    ticket = ask(loop)
    call(loop, 10)
    assert (len(executor.open), statuses(loop), ticket.is_learned) == (3, ["pending"] * 3, False)


def test_labels_are_written_as_they_come(made):
    loop, executor, _ = made
    ask(loop)
    for place in (2, 0, 1):
        executor.give(place)
        call(loop)
        stored = LabelStore(loop.learner.directory / "labels.db").rows()[4:]
        assert [entry.status for entry in stored] == statuses(loop)
        assert statuses(loop)[place] == "done"
    assert [event.labels for event in History.read(loop.learner.directory).arrivals] == [(7,), (5,), (6,)]


def test_what_is_in_flight_counts_as_known(tmp_path):
    """The same frames again: those in flight are the last to be chosen from them."""
    loop, executor, _ = background(tmp_path / "run", selection="MAXDIST + FEAT(LL)")
    ask(loop)
    for frame in frames(1):
        loop.offer(lambda frame=frame: frame)
    loop.request(Request(Cause.POOL_FULL), loop.learner.generation)
    first, second = (
        {task.atoms.positions.tobytes() for task in tasks}
        for tasks in (executor.tasks[:3], executor.tasks[3:])
    )
    assert (len(first), len(second)) == (3, 3)
    assert not first & second
    loop.close()


def test_a_failure_is_replaced_at_once(made):
    loop, executor, _ = made
    ask(loop)
    executor.fail(1)
    call(loop)
    assert (executor.open, statuses(loop)) == ([0, 2, 3], ["pending", "failed", "pending", "pending"])


def test_a_training_begins_when_there_is_a_batch_of_new_labels(made):
    loop, executor, trainings = made
    ask(loop)
    executor.give(0, 1)
    call(loop)
    assert trainings.jobs == []
    executor.give(2)
    call(loop)
    (job,) = trainings.jobs
    assert [entry.id for entry in job.entries] == list(range(1, 8))
    assert job.before is loop.learner.potential


def test_a_training_begins_when_there_is_a_part_of_all_labels(tmp_path):
    settings = BackgroundSettings(new_labels=1.0, most_in_flight=6)
    loop, executor, trainings = background(tmp_path / "run", background=settings)
    ask(loop)
    executor.give()
    call(loop)
    assert trainings.jobs == []
    ask(loop, 2)
    executor.give(3)
    call(loop)
    assert len(trainings.jobs) == 1
    loop.close()


def test_there_is_one_training_at_a_time_and_labels_that_come_meanwhile_are_in_the_next(made):
    loop, executor, trainings = made
    ask(loop)
    executor.give()
    call(loop)
    ask(loop, 2)
    executor.give()
    call(loop, 3)
    assert len(trainings.jobs) == 1
    trainings.end()
    call(loop)
    assert [len(job.entries) for job in trainings.jobs] == [7, 10]


def test_a_potential_is_replaced_between_two_force_calls(made):
    loop, executor, trainings = made
    before = loop.learner.current
    ticket = ask(loop)
    executor.give()
    call(loop)
    trainings.end()
    assert loop.learner.current is before
    call(loop)
    after = loop.learner.current
    assert (after.generation, ticket.is_learned) == (before.generation + 1, True)
    assert after.potential is not before.potential
    assert [each.round for each in History.read(loop.learner.directory).rounds] == [0, 1]
    assert (loop.learner.directory / "models" / "round-0001.npz").exists()


def test_nobody_waits_for_a_straggler(tmp_path):
    loop, executor, trainings = background(tmp_path / "run", labelling=LabellingSettings(quorum=0.6))
    trainings.is_at_once = True
    for frame in frames(1):
        loop.offer(lambda frame=frame: frame)
    with ThreadPoolExecutor(1) as simulation:
        required = [Frame(copper(50)), Frame(copper(51))]
        round_ = simulation.submit(
            loop.round, Request(Cause.REJECTED, required=required), loop.learner.generation
        )
        while len(executor.open) < 3:
            threading.Event().wait(0.001)
        executor.give(1, 2)
        assert round_.result(timeout=60)
    assert (executor.open, statuses(loop)) == ([0], ["pending", "done", "done"])
    executor.give(0)
    call(loop)
    assert statuses(loop) == ["done"] * 3
    loop.close()


def test_who_asks_for_one_frame_waits_for_that(tmp_path):
    loop, executor, trainings = background(tmp_path / "run", labelling=LabellingSettings(quorum=0.6))
    ticket = ask(loop, required=[Frame(copper(50))])
    executor.give(1, 2)
    call(loop)
    assert not ticket.is_learned
    executor.give(0)
    call(loop)
    trainings.end()
    call(loop)
    assert ticket.is_learned
    loop.close()


def test_a_newer_potential_makes_a_request_needless(made):
    loop, executor, _ = made
    assert (
        loop.request(Request(Cause.REJECTED, required=[Frame(copper(50))]), loop.learner.generation - 1)
        is None
    )
    assert executor.tasks == []


def test_all_failing_is_said_as_in_the_blocking_loop(made):
    loop, executor, _ = made
    ask(loop)
    with pytest.raises(BatchFailedError, match="reference calculations in a row failed:\nRuntimeError: no"):
        for _ in range(3):
            executor.fail(*executor.open)
            call(loop)
    call(loop)
    assert loop.learner.can_learn


def test_a_success_in_between_is_no_reason_to_stop(made):
    loop, executor, _ = made
    ask(loop)
    executor.fail(0, 1)
    call(loop)
    executor.give(2)
    call(loop)
    n_open = len(executor.open)
    executor.fail(*executor.open)
    call(loop)
    assert statuses(loop).count("failed") == 2 + n_open >= loop.learner.settings.batch_size


def test_an_error_of_the_training_is_raised_in_a_force_call_and_the_next_training_is_tried(made):
    loop, executor, trainings = made
    ask(loop)
    executor.give()
    call(loop)
    trainings.end(error=TrainingError("the loss is not a number"))
    with pytest.raises(TrainingError, match="the loss is not a number"):
        call(loop)
    call(loop)
    assert len(trainings.jobs) == 2


def test_what_is_lost_twice_is_said(made):
    loop, executor, _ = made
    ask(loop)
    executor.lose(0)
    call(loop)
    assert executor.open == [1, 2, 3]
    executor.lose(3)
    with pytest.raises(LabellingError, match="stay pending: structure 5 was lost twice: ConnectionError"):
        call(loop)
    executor.give()
    call(loop)
    assert statuses(loop) == ["pending", "done", "done"]


def test_a_pool_batch_is_asked_for_while_there_is_room(tmp_path):
    loop, executor, _ = background(tmp_path / "run", background=BackgroundSettings(most_in_flight=5))
    assert loop.has_room
    ask(loop)
    assert not loop.has_room
    executor.give(0)
    call(loop)
    assert loop.has_room
    loop.close()


@pytest.mark.parametrize(("n_workers", "most"), [(0, 6), (2, 6), (5, 8)])
def test_no_worker_need_be_idle(tmp_path, monkeypatch, n_workers, most):
    """As far as anybody knows how many there are; batches of three."""
    monkeypatch.setattr(Labeller, "n_workers", n_workers)
    loop, executor, _ = background(tmp_path / "run")
    while loop.has_room:
        ask(loop, len(executor.open))
    assert most - 3 < len(executor.open) <= most
    loop.close()


def test_the_budget_counts_what_is_in_flight(tmp_path):
    loop, executor, trainings = background(tmp_path / "run", max_labels=8)
    ask(loop)
    ask(loop, 2)
    assert len(executor.open) == 4
    assert not loop.has_room
    executor.give()
    call(loop)
    assert not loop.learner.is_learning
    assert trainings.jobs[-1].final
    trainings.end()
    call(loop)
    assert History.read(loop.learner.directory).end.reason == "the budget of 8 labels is spent"
    loop.close()


def test_a_full_pool_becomes_a_sample_of_all_that_came(made):
    loop, executor, _ = made
    for number in range(100):
        loop.offer(lambda number=number: Frame(copper(number)))
    loop.request(Request(Cause.POOL_FULL), loop.learner.generation)
    first = {copper(number).positions.tobytes() for number in range(12)}
    assert len(executor.tasks) == 3
    assert not {task.atoms.positions.tobytes() for task in executor.tasks} <= first


def test_what_has_come_is_kept_when_it_is_closed_and_the_rest_is_asked_for_again(tmp_path):
    loop, executor, _ = background(tmp_path / "run")
    ask(loop)
    executor.give(1)
    loop.close()
    executor.give()  # a label that comes back after the run has ended
    again, executor, trainings = background(tmp_path / "run")
    assert statuses(again) == ["pending", "done", "pending"]
    call(again)
    assert [task.scratch.name for task in executor.tasks] == ["structure-00005", "structure-00007"]
    executor.give()
    call(again)
    assert len(trainings.jobs) == 1
    again.close()


def test_what_has_come_is_written_at_the_end_of_a_simulation(made):
    loop, executor, _ = made
    ask(loop)
    executor.give(1)
    loop.gather()
    assert statuses(loop) == ["pending", "done", "pending"]


def test_a_stop_reaches_who_waits(made):
    loop, executor, _ = made
    with ThreadPoolExecutor(1) as simulation:
        round_ = simulation.submit(
            loop.round, Request(Cause.REJECTED, required=[Frame(copper(50))]), loop.learner.generation
        )
        while not executor.open:
            threading.Event().wait(0.001)
        loop.stop("SIGTERM came")
        with pytest.raises(SimulationStopped, match="SIGTERM came"):
            round_.result(timeout=60)
    executor.give()
    loop.gather()
    assert statuses(loop) == ["done"]


def test_who_waits_looks_at_the_time(made):
    loop, _, _ = made
    ticket, calls = ask(loop, required=[Frame(copper(50))]), []

    def look():
        calls.append(loop)
        if len(calls) == 3:
            raise SimulationStopped("the time is up")

    with pytest.raises(SimulationStopped, match="the time is up"):
        loop.wait(ticket, look)
    assert ticket.n_waiting == 0


def test_with_a_spent_budget_what_is_in_flight_is_waited_for(tmp_path):
    """By who cannot go on, and for whose frame there is no label left."""
    loop, executor, trainings = background(
        tmp_path / "run", max_labels=7, labelling=LabellingSettings(quorum=0.6)
    )
    trainings.is_at_once = True
    ask(loop)
    executor.give(0, 1)
    call(loop)
    ticket = ask(loop, 2, required=[Frame(copper(50))])
    assert (len(executor.tasks), loop.learner.can_learn) == (3, True)
    with ThreadPoolExecutor(1) as simulation:
        waits = simulation.submit(loop.wait, ticket)
        with pytest.raises(TimeoutError):
            waits.result(timeout=0.2)
        assert trainings.jobs == []
        executor.give(2)
        waits.result(timeout=60)
    assert [len(job.entries) for job in trainings.jobs] == [7]
    loop.close()


def test_nobody_waits_for_a_straggler_when_learning_has_ended(tmp_path):
    """Who waits gets a potential; it is not the last, which is trained when the straggler is there."""
    loop, executor, trainings = background(
        tmp_path / "run", max_rounds=1, labelling=LabellingSettings(quorum=0.6)
    )
    trainings.is_at_once = True
    ticket = ask(loop, required=[Frame(copper(50)), Frame(copper(51))])
    executor.give(1, 2)
    with ThreadPoolExecutor(1) as simulation:
        simulation.submit(loop.wait, ticket).result(timeout=60)
    assert (executor.open, loop.learner.is_learning) == ([0], False)
    assert [job.final for job in trainings.jobs] == [False]
    executor.give(0)
    call(loop, 2)
    assert [(len(job.entries), job.final) for job in trainings.jobs] == [(6, False), (7, True)]
    loop.close()


def test_settling_waits_for_all_and_learns_it(made):
    loop, executor, trainings = made
    trainings.is_at_once = True
    ask(loop)
    with ThreadPoolExecutor(1) as simulation:
        settled = simulation.submit(loop.settle)
        executor.give(0, 2)
        executor.give(1)
        settled.result(timeout=60)
    assert [entry.id for entry in trainings.jobs[-1].entries] == list(range(1, 8))
    assert loop.learner.n_new == 0


def _run(loop, executor, trainings, order, swap):
    """Ten force calls, with batches before the first and the fifth; labels and a potential come as the test says."""
    executor_events = {2: order[:1], 4: order[1:]}
    for number in range(10):
        if number in (0, 5):
            ask(loop, number)
        if number in executor_events:
            executor.give(*executor_events[number])
        if number == swap:
            trainings.end()
        call(loop)
    return [
        (entry.id, entry.status, entry.atoms.positions.tolist()) for entry in loop.learner.dataset.entries
    ]


def test_a_run_is_replayed_from_its_journal(tmp_path):
    """In the second run all is there at once, and is taken in where it was in the first."""
    made = background(tmp_path / "run")
    first = _run(*made, order=(2, 0, 1), swap=7)
    made[0].close()
    arrivals = History.read(tmp_path / "run").arrivals
    assert [(event.labels, event.potential) for event in arrivals] == [
        ((7,), False),
        ((5, 6), False),
        ((), True),
    ]

    loop, executor, trainings = background(tmp_path / "again", replay=tmp_path / "run")
    trainings.is_at_once = True
    for number in range(10):
        if number in (0, 5):
            ask(loop, number)
        if number == 0:
            executor.give()
        call(loop)
        assert loop.learner.generation == (1 if number < 7 else 2)
    second = [(entry.id, entry.atoms.positions.tolist()) for entry in loop.learner.dataset.entries]
    assert second == [(id, positions) for id, _, positions in first]
    np.testing.assert_equal(History.read(tmp_path / "again").arrivals[:3], arrivals)
    loop.close()


def test_a_blocking_run_is_not_replayed(tmp_path):
    background(tmp_path / "run")[0].close()
    with pytest.raises(RunFolderError, match="replay: expected a run that was made with background=True"):
        background(tmp_path / "again", replay=tmp_path / "run")
