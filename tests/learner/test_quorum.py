"""The blocking loop goes on with most of a round; the rest joins the next."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from ase.calculators.emt import EMT

from ase_bmdal import LabellingSettings
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.learner.learner import Request
from ase_bmdal.learner.loops import Blocking
from ase_bmdal.run.events import Cause, Reporter
from ase_bmdal.run.history import History
from tests.labelling.treacherous import wait_until
from tests.learner.by_hand import frames, label, learner
from tests.learner.by_hand_background import ByHand
from tests.learner.runs import copper


def blocking(folder, quorum, **settings):
    made = learner(folder, labelling=LabellingSettings(quorum=quorum), **settings)
    if not made.dataset.entries:
        tasks = made.begin([copper(k) for k in range(4)], Cause.INITIAL, "initial structures")
        made.tell({task.id: label(task) for task in tasks})
        made.train()
    executor = ByHand()
    return Blocking(
        made, Labeller(EMT, scratch=folder / "scratch", executor=executor), Reporter(None)
    ), executor


def statuses(loop):
    return [entry.status for entry in loop.learner.dataset.entries[4:]]


def in_a_round(loop, executor, number, act):
    """A round in which something is done once its three labels are asked for."""
    for frame in frames(number):
        loop.learner.offer(frame)
    before = len(executor.tasks)
    with ThreadPoolExecutor(1) as simulation:
        round_ = simulation.submit(loop.round, Request(Cause.POOL_FULL), loop.learner.generation)
        wait_until(lambda: len(executor.tasks) >= before + 3)
        act()
        assert round_.result(timeout=60)


def test_a_straggler_joins_the_next_round(tmp_path):
    loop, executor = blocking(tmp_path / "run", quorum=0.6)
    in_a_round(loop, executor, 1, lambda: executor.give(0, 2))
    assert statuses(loop) == ["done", "pending", "done"]
    assert loop.learner.generation == 2
    executor.give(1)
    loop.prepare(copper())
    assert (statuses(loop), loop.learner.generation) == (["done"] * 3, 2)
    in_a_round(loop, executor, 2, lambda: executor.give(3, 4, 5))
    assert (loop.learner.generation, loop.learner.n_new) == (3, 0)
    assert [each.labels for each in History.read(tmp_path / "run").rounds] == [4, 6, 10]
    loop.close()


def test_failures_are_replaced_at_once(tmp_path):
    loop, executor = blocking(tmp_path / "run", quorum=0.6)

    def act():
        executor.fail(0)
        wait_until(lambda: len(executor.tasks) == 4)
        executor.give(1, 3)

    in_a_round(loop, executor, 1, act)
    assert statuses(loop) == ["failed", "done", "pending", "done"]
    loop.close()


def test_a_restart_asks_for_the_rest_and_learns_it(tmp_path):
    loop, executor = blocking(tmp_path / "run", quorum=0.6)
    in_a_round(loop, executor, 1, lambda: executor.give(0, 2))
    loop.close()
    again, executor = blocking(tmp_path / "run", quorum=0.6)
    with ThreadPoolExecutor(1) as simulation:
        prepared = simulation.submit(again.prepare, copper())
        wait_until(lambda: executor.tasks)
        executor.give()
        prepared.result(timeout=60)
    assert (statuses(again), again.learner.n_new) == (["done"] * 3, 0)
    again.close()


def test_what_has_come_late_is_kept_when_it_is_closed(tmp_path):
    loop, executor = blocking(tmp_path / "run", quorum=0.6)
    in_a_round(loop, executor, 1, lambda: executor.give(0, 2))
    executor.give(1)
    loop.close()
    assert statuses(loop) == ["done"] * 3


def test_with_a_spent_budget_only_the_rest_is_waited_for(tmp_path):
    loop, executor = blocking(tmp_path / "run", quorum=0.6, max_labels=7)
    in_a_round(loop, executor, 1, lambda: executor.give(0, 2))
    assert (loop.learner.is_learning, loop.has_room) == (True, False)
    with ThreadPoolExecutor(1) as simulation:
        # Of a frame that the simulation cannot go on without.
        round_ = simulation.submit(
            loop.round, Request(Cause.REJECTED, required=frames(2)[:1]), loop.learner.generation
        )
        with pytest.raises(TimeoutError):
            round_.result(timeout=0.2)
        executor.give(1)
        assert round_.result(timeout=60)
    assert (statuses(loop), loop.learner.n_new, loop.learner.generation) == (["done"] * 3, 0, 3)
    assert not loop.learner.is_learning
    assert [each.labels for each in History.read(tmp_path / "run").rounds] == [4, 7]
    loop.close()


def test_settling_learns_the_rest(tmp_path):
    loop, executor = blocking(tmp_path / "run", quorum=0.6)
    in_a_round(loop, executor, 1, lambda: executor.give(0, 2))
    executor.give(1)
    loop.settle()
    assert (statuses(loop), loop.learner.n_new, loop.learner.generation) == (["done"] * 3, 0, 3)
    loop.close()


def test_without_a_quorum_all_is_waited_for(tmp_path):
    loop, executor = blocking(tmp_path / "run", quorum=None)

    def act():
        executor.give(0, 2)
        wait_until(lambda: statuses(loop) == ["done", "pending", "done"])
        threading.Event().wait(0.1)
        assert loop.learner.generation == 1
        executor.give(1)

    in_a_round(loop, executor, 1, act)
    assert statuses(loop) == ["done"] * 3
    loop.close()


@pytest.mark.parametrize("quorum", [0.0, 1.1])
def test_a_quorum_is_a_part(quorum):
    with pytest.raises(ValueError, match="quorum"):
        LabellingSettings(quorum=quorum)
