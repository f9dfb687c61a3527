"""What comes to a background loop from outside: labels and potentials, live or as the journal of another run has it."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ase_bmdal.labelling.in_flight import InFlight
from ase_bmdal.labelling.outcome import Outcome
from ase_bmdal.learner.training import TrainingResult
from ase_bmdal.learner.training_process import Trainings
from ase_bmdal.run.events import Arrived

Pause = Callable[[], None]


class Arrivals(Protocol):
    """What has come up to a force call."""

    def labels(self, call: int, timeout: float = 0.0) -> dict[int, Outcome]:
        """Outcomes in their order; waits so many seconds at most for the first."""

    def result(self, call: int) -> TrainingResult | None:
        """What the training gave, once it has ended."""


class Live:
    """What comes, when it comes.

    Parameters
    ----------
    flight
        Where labels come from.
    trainings
        Where potentials come from.
    """

    def __init__(self, flight: InFlight, trainings: Trainings) -> None:
        self._flight, self._trainings = flight, trainings

    def labels(self, call: int, timeout: float = 0.0) -> dict[int, Outcome]:
        """Outcomes; see `Arrivals`."""
        return self._flight.poll(timeout)

    def result(self, call: int) -> TrainingResult | None:
        """Result of the training; see `Arrivals`."""
        return self._trainings.poll()


class Replayed:
    """What came in another run, in the same force calls: waits for it where it came. After its end as `Live`.

    Parameters
    ----------
    live
        Where it comes from in this run.
    events
        Of the other run.
    pause
        Called between two looks at what has come.
    """

    def __init__(self, live: Live, events: Sequence[Arrived], pause: Pause) -> None:
        self._live, self._events, self._pause = live, deque(events), pause
        self._early: dict[int, Outcome] = {}

    def labels(self, call: int, timeout: float = 0.0) -> dict[int, Outcome]:
        """Outcomes; see `Arrivals`."""
        if not self._events:
            return self._early_ones() or self._live.labels(call, timeout)
        if self._events[0].call > call or not self._events[0].labels:
            return {}
        wanted = self._events.popleft().labels
        while not self._early.keys() >= set(wanted):
            self._early |= self._live.labels(call)
            self._pause()
        return {id: self._early.pop(id) for id in wanted}

    def result(self, call: int) -> TrainingResult | None:
        """Result of the training; see `Arrivals`."""
        if not self._events:
            return self._live.result(call)
        if self._events[0].call > call or not self._events[0].potential:
            return None
        self._events.popleft()
        while (result := self._live.result(call)) is None:
            self._pause()
        return result

    def _early_ones(self) -> dict[int, Outcome]:
        early, self._early = self._early, {}
        return early
