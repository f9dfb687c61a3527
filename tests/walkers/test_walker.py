"""What belongs to one simulation: its name, its interval, its verdict; and that it waits for no other."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ase_bmdal import UncertaintyLimits
from ase_bmdal.common.errors import UntrustedError
from ase_bmdal.learner.loops import Blocking
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.training import Trained
from ase_bmdal.potential.evaluator import Prediction
from ase_bmdal.potential.uncertainty import Uncertainty
from ase_bmdal.run.events import Cause
from ase_bmdal.run.history import History
from ase_bmdal.structures.labels import Label
from ase_bmdal.uncertainty.error_model import ErrorModel
from ase_bmdal.uncertainty.limits import ACCEPTED, Judgement
from ase_bmdal.walkers.walker import Walker
from tests.learner.runs import copper, learning, walk

TRUSTING = UncertaintyLimits(enabled=False)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def test_frames_say_whose_they_are(watch, run):
    calc = learning(watch.reference, run, uncertainty=TRUSTING)
    cold, hot = calc.walker("300 K"), calc.walker("900 K")
    for step in range(5):
        walk(copper(step), cold, 1)
        walk(copper(10 + step), hot, 1)
    assert {entry.walker for entry in calc.learner.dataset.of_round(0)} == {"300 K"}
    visited = {
        name: [copper(step + first).positions for step in range(5)]
        for name, first in (("300 K", 0), ("900 K", 10))
    }
    for entry in calc.learner.dataset.of_round(1):
        assert any(np.allclose(entry.atoms.positions, each) for each in visited[entry.walker])
    last = History.read(run).rounds[-1]
    assert (last.cause, last.walker) == (Cause.POOL_FULL, "900 K")


@pytest.mark.parametrize("wrong", ["", "900", "1e3", "True", "False"])
def test_a_name_is_no_number(watch, run, wrong):
    """ase.db takes no text that reads like one."""
    calc = learning(watch.reference, run)
    with pytest.raises(ValueError, match="walker: expected a name that is no number"):
        calc.walker(wrong)


def test_each_counts_its_own_interval(watch, run, monkeypatch):
    calc, offered = learning(watch.reference, run, uncertainty=TRUSTING, pool_interval=2), []
    monkeypatch.setattr(calc.learner, "offer", offered.append)
    walk(copper(), calc, 3)
    other = calc.walker("other")
    walk(copper(1), other, 3)
    assert [frame.walker for frame in offered] == ["", "other"]


def test_a_simulation_goes_on_while_another_waits_for_labels(watch, run, monkeypatch):
    """A round of A is held up; B, whose frames are accepted, makes force calls, and sees the new potential after it."""
    calc = learning(watch.reference, run, uncertainty=TRUSTING)
    a, b = calc.walker("A"), calc.walker("B")
    walk(copper(), a, 4)
    walk(copper(1), b, 1)
    waiting, go_on, label = threading.Event(), threading.Event(), Blocking._label

    def held_up(loop, tasks):
        waiting.set()
        assert go_on.wait(60)
        label(loop, tasks)

    monkeypatch.setattr(Blocking, "_label", held_up)
    generation = calc.learner.generation
    with ThreadPoolExecutor(1) as other:
        round_of_a = other.submit(walk, copper(2), a, 1)
        assert waiting.wait(60)
        try:
            walk(copper(3), b, 10)
            assert calc.learner.generation == generation
        finally:
            go_on.set()
        round_of_a.result()
    assert calc.learner.generation == generation + 1
    atoms = copper(4)
    atoms.calc = b
    forces = atoms.get_forces()
    [label] = calc.learner.potential.predict([atoms])
    np.testing.assert_allclose(forces, label.forces, atol=1e-5)


def test_a_round_of_another_makes_one_of_its_own_needless(watch, run):
    """Both are asked for with the same potential; the second finds a newer one and looks again."""
    calc = learning(watch.reference, run, uncertainty=TRUSTING)
    walk(copper(), calc, 5)
    a, b = calc.walker("A"), calc.walker("B")
    verdicts = {"A": [Judgement("reject", "made up")], "B": [Judgement("reject", "made up")]}
    both = threading.Barrier(2, timeout=60)
    for each in (a, b):
        mine = verdicts[each._walker.name]

        def judge(*prediction, mine=mine, must_answer):
            if not mine:
                return ACCEPTED
            both.wait()
            return mine.pop()

        each._walker.judge = judge
    with ThreadPoolExecutor(2) as threads:
        for found in [threads.submit(walk, copper(seed), each, 1) for seed, each in ((5, a), (6, b))]:
            found.result()
    assert [each.cause for each in History.read(run).rounds] == [Cause.INITIAL, Cause.REJECTED]


class Judged:
    """A learner and its loop of which a test says only what a walker asks; rounds are noted, and teach nothing."""

    lead, is_working, baseline, has_room = 0, False, None, False
    generation, n_rounds, can_learn, is_learning, pool_is_full, has_frames = 1, 4, True, True, False, True
    settings = LearnerSettings()
    reason_to_finish = None

    def __init__(self):
        self.learner, self.rounds = self, []

    @property
    def current(self):
        return Trained(None, ErrorModel(None, 1.0, 1.0), 1.0, self.generation)

    def prepare(self, atoms, walker):
        pass

    def offer(self, frame):
        pass

    def round(self, request, generation, look):
        self.rounds.append(request.cause)
        self.generation += 1
        return True

    def request(self, request, generation):
        self.round(request, generation, bool)


def test_a_simulation_that_begins_on_unknown_ground_learns_each_frame_at_once():
    """Although another has just had its round; and it does not go on like this for ever."""
    loop, deviation = Judged(), 0.1

    def predicting(evaluator, potential, atoms, posterior, with_bias):
        uncertainty = Uncertainty(np.full(4, deviation), 0.1, 1.0)
        return Prediction(Label(0.0, np.zeros((4, 3)), np.zeros(6)), uncertainty)

    one = Walker(loop, "A")
    other = one.twin("B")
    one.predicting = other.predicting = predicting
    one.predict(copper())
    deviation = 2.0
    one.predict(copper(1))
    assert loop.rounds == [Cause.BOUND_EXCEEDED]
    deviation = 1000.0
    for seed in range(loop.settings.uncertainty.max_rewinds):
        other.predict(copper(seed))
        assert other.verdict == "label"
        assert loop.rounds[1:] == [Cause.REJECTED] * (seed + 1)
    with pytest.raises(UntrustedError, match=r"may be wrong by 1e\+03"):
        other.predict(copper(9))
