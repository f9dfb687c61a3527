"""A run that is killed between any two of its writes ends with the same labels as one that is not."""

import os

import numpy as np
from ase.calculators.emt import EMT

from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.learner.learner import Request
from ase_bmdal.learner.loops import Blocking
from ase_bmdal.run import journal
from ase_bmdal.run.events import Cause, Reporter
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from tests.learner.by_hand import frames, learner
from tests.learner.runs import copper

KILLS = int(os.environ.get("KILLS", "100"))
ROUNDS = 12


class KilledError(BaseException):
    """What nobody catches, as nobody catches kill -9."""


class Death:
    """Comes after so many writes: before one of them, after it, or, in the journal, in its midst."""

    def __init__(self, monkeypatch):
        self.left, self.deaths = None, 0
        for name in ("add", "finish", "record_predictions"):
            monkeypatch.setattr(LabelStore, name, self._deadly(getattr(LabelStore, name)))
        monkeypatch.setattr("os.replace", self._deadly(os.replace))
        monkeypatch.setattr(journal, "_append", self._deadly(journal._append, self._half))

    def comes_after(self, writes):
        self.left = writes

    def _deadly(self, write, half=None):
        def deadly(*arguments, **how):
            if self._is_here():
                if half:
                    half(*arguments)
                raise KilledError
            result = write(*arguments, **how)
            if self._is_here():
                raise KilledError
            return result

        return deadly

    def _is_here(self):
        if self.left is None:
            return False
        self.left -= 1
        self.deaths += self.left < 0
        return self.left < 0

    @staticmethod
    def _half(path, line):
        with path.open("a") as file:
            file.write(line[: len(line) // 2])


def simulate(folder):
    """A process: takes the run up, and goes on to its end; the frames before a round are always the same."""
    made = learner(folder, max_rounds=ROUNDS)
    try:
        labels = Labeller(EMT, scratch=folder / "scratch", executor="in-process", identity="EMT")
        loop = Blocking(made, labels, Reporter(None))
        loop.prepare(copper())
        while made.is_learning:
            for frame in frames(made.n_rounds):
                made.offer(frame)
            loop.round(Request(Cause.POOL_FULL), made.generation)
            loop.prepare(copper())
    finally:
        made.close()  # the lock of a process that is killed is gone


def content(folder):
    return [
        (entry.id, entry.status, entry.round, entry.cause, entry.atoms.positions.tolist(), energy(entry))
        for entry in LabelStore(folder / "labels.db").rows()
    ]


def energy(entry):
    return entry.atoms.get_potential_energy() if entry.status == "done" else None


def test_it_ends_with_the_same_labels(tmp_path, monkeypatch):
    simulate(tmp_path / "whole")
    whole, rng, number = content(tmp_path / "whole"), np.random.default_rng(0), 0
    assert len(whole) == 4 + 3 * ROUNDS
    death = Death(monkeypatch)
    while death.deaths < KILLS:
        number += 1
        folder = tmp_path / f"killed-{number}"
        while True:
            death.comes_after(int(rng.integers(12)))
            try:
                simulate(folder)
                break
            except KilledError:
                pass
        death.comes_after(10**9)
        assert content(folder) == whole
        assert [each.round for each in History.read(folder).rounds] == list(range(ROUNDS + 1))
        assert len(list((folder / "models").iterdir())) == ROUNDS + 1
