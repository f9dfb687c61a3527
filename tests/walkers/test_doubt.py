"""What a simulation does with a frame that it doubts, while that is labelled in the background."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ase_bmdal import BackgroundSettings, UncertaintyLimits
from ase_bmdal.common.errors import SimulationStopped, UntrustedError
from ase_bmdal.uncertainty.limits import ACCEPTED, Judgement
from ase_bmdal.walkers.stop import Deadline
from ase_bmdal.walkers.walker import Walker
from tests.labelling.treacherous import wait_until
from tests.learner.by_hand_background import background
from tests.learner.runs import copper

DOUBTED, REJECTED = Judgement("label", "made up"), Judgement("reject", "made up")


class Stepping:
    """A guarded simulation, in a step that it can go back from."""

    is_stepping = True

    def surface_changed(self):
        pass


class Always(Walker):
    """The same verdict on every frame."""

    verdict_on_all = ACCEPTED

    def judge(self, prediction, bounds, tolerance, **how):
        return self.verdict_on_all


@pytest.fixture
def made(tmp_path):
    """A loop and a walker that goes on for three force calls."""
    loop, executor, trainings = background(
        tmp_path / "run",
        background=BackgroundSettings(lead=3),
        uncertainty=UncertaintyLimits(cool_down=0, longest_cool_down=0),
        pool_size=1000,
    )
    trainings.is_at_once = True
    yield loop, executor, Always(loop)
    loop.close()


def walk(walker, first, last):
    for seed in range(first, last):
        walker.predict(copper(seed))


def waits(walker, seed, executor):
    """A force call in a thread that has asked for labels by now, and waits."""
    pool = ThreadPoolExecutor(1)
    call = pool.submit(walker.predict, copper(seed))
    pool.shutdown(wait=False)
    wait_until(lambda: executor.tasks)
    threading.Event().wait(0.2)
    assert not call.done()
    return call


def doubt(walker, seed=20):
    walk(walker, 16, 20)
    walker.verdict_on_all = DOUBTED
    walker.predict(copper(seed))
    walker.verdict_on_all = ACCEPTED


def test_it_goes_on_for_so_many_force_calls_and_then_waits(made):
    loop, executor, walker = made
    doubt(walker)
    assert len(executor.open) == 3
    walk(walker, 21, 24)
    call = waits(walker, 24, executor)
    executor.give()
    call.result(timeout=60)
    assert loop.learner.generation == 2


def test_it_is_not_trusted_to_go_back_to_meanwhile(made):
    _loop, executor, walker = made
    doubt(walker)
    walker.predict(copper(21))
    assert (walker.verdict, walker.is_trusted) == ("accept", False)
    executor.give()
    walk(walker, 22, 23)
    walker.predict(copper(23))
    assert walker.is_trusted


def test_one_doubt_at_a_time_is_asked_for(made):
    _loop, executor, walker = made
    doubt(walker)
    walker.verdict_on_all = DOUBTED
    walk(walker, 21, 24)
    assert len(executor.tasks) == 3


def test_a_guarded_simulation_goes_back_if_what_it_doubted_is_rejected(made):
    _loop, executor, walker = made
    walker.guards.add(held := Stepping())
    doubt(walker)
    walker.predict(copper(21))
    executor.give()
    walker.predict(copper(22))
    walker.verdict_on_all = REJECTED
    with pytest.raises(UntrustedError, match="made up, in a frame 3 force calls ago, from which it went on"):
        walker.predict(copper(23))
    assert [frame.atoms.positions.tolist() for frame in walker.required_frames()] == [
        copper(20).positions.tolist()
    ]
    assert held in walker.guards


def test_one_that_is_not_guarded_goes_on_if_its_newest_frame_is_accepted(made):
    loop, executor, walker = made
    doubt(walker)
    executor.give()
    walk(walker, 21, 23)
    assert (walker.verdict, walker.is_trusted, loop.learner.generation) == ("accept", True, 2)


def test_without_lead_it_waits_at_once(tmp_path):
    loop, executor, trainings = background(
        tmp_path / "run",
        background=BackgroundSettings(lead=0),
        uncertainty=UncertaintyLimits(cool_down=0, longest_cool_down=0),
        pool_size=1000,
    )
    trainings.is_at_once = True
    walker = Always(loop)
    walk(walker, 16, 20)
    walker.verdict_on_all = DOUBTED
    call = waits(walker, 20, executor)
    walker.verdict_on_all = ACCEPTED
    executor.give()
    call.result(timeout=60)
    assert (walker.verdict, loop.learner.generation) == ("accept", 2)
    loop.close()


def test_rejected_forces_wait_whatever_the_lead(made):
    loop, executor, walker = made
    walk(walker, 16, 20)
    walker.verdict_on_all = REJECTED
    call = waits(walker, 20, executor)
    walker.verdict_on_all = ACCEPTED
    executor.give()
    call.result(timeout=60)
    assert loop.learner.generation == 2


def test_one_that_waits_does_not_stop_another(made):
    _loop, executor, walker = made
    other = walker.twin("other")
    walker.predict(copper(19))
    walker.verdict_on_all = REJECTED
    call = waits(walker, 20, executor)
    walk(other, 30, 40)
    assert not call.done()
    walker.verdict_on_all = ACCEPTED
    executor.give()
    call.result(timeout=60)


def test_the_time_is_up_while_a_batch_is_in_flight(made):
    """What has come is kept, the rest stays pending; nobody waits for it."""
    loop, executor, walker = made
    doubt(walker)
    executor.give(0)
    walker.deadline = Deadline(1e-9)
    with pytest.raises(SimulationStopped, match="the time of 0 s is up"):
        walker.predict(copper(21))
    loop.gather()
    statuses = [entry.status for entry in loop.learner.dataset.entries[4:]]
    assert statuses == ["done", *["pending"] * (len(executor.tasks) - 1)]
    assert len(statuses) > 1


def test_it_does_not_wait_longer_than_it_may(made):
    _loop, executor, walker = made
    walk(walker, 16, 20)
    walker.verdict_on_all, walker.deadline = REJECTED, Deadline(2.0)
    call = waits(walker, 20, executor)
    with pytest.raises(SimulationStopped, match="is up"):
        call.result(timeout=60)
    assert len(executor.open) == 3
