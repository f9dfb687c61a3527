"""What happens in a run, each event with a line of text; an interface decides what of it to show."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from ase_bmdal.common.errors import SimulationStopped
from ase_bmdal.labelling.failure import Failure


class Cause(StrEnum):
    """Why structures are labelled."""

    INITIAL = "initial structures"
    NEW_ELEMENT = "new element"
    POOL_FULL = "pool full"
    BOUND_EXCEEDED = "bound exceeded"
    REJECTED = "forces rejected"
    REQUESTED = "requested"
    UNKNOWN = "unknown"  # of runs that were begun before causes were noted


@dataclass(frozen=True)
class LabelDone:
    """A calculation of a batch has finished: how many of how many have, how many failed."""

    round: int
    finished: int
    of: int
    failed: int

    def after(self, outcome: object) -> Self:
        """The same after one more."""
        return replace(self, finished=self.finished + 1, failed=self.failed + isinstance(outcome, Failure))

    def __str__(self) -> str:
        return f"round {self.round}: labelled {self.finished} of {self.of}, {self.failed} failed"


@dataclass(frozen=True)
class EpochDone:
    """An epoch has finished; the losses are those of `potential.fit.Epoch`."""

    round: int
    epoch: int
    of: int
    train_loss: float
    valid_loss: float | None

    def __str__(self) -> str:
        return f"round {self.round}: epoch {self.epoch} of {self.of}, loss {self.train_loss:.4g}"


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round has finished. Round 0 is that of the initial structures.

    Attributes
    ----------
    round
        Number of the round.
    labels, failed
        Labels, and failed calculations, of the run so far.
    new_labels
        Labels of this round.
    pool
        Number of frames it chose from.
    force_mae, force_rmse
        Error over the new labels of what was predicted *before* training on them, eV/Å; None without a model then.
    energy_mae
        The same of the energy, eV per atom.
    coverage
        Part of the atoms of the new labels whose force error was within the bound given before; None without bounds.
    trained_on
        Labels that the potential knew which the new ones were predicted with; None if nobody noted it.
    cause
        Why the round was due.
    reason
        The same in words, with its numbers.
    walker
        Name of the simulation that it was due for; empty if it has none.
    training
        How its potential came about: ``"from scratch"``, ``"warm"``, or ``"not promoted"`` if its predecessor stays.
    objection
        What was wrong with the first potential that was trained; empty if nothing was.
    select_seconds, label_seconds, train_seconds
        Time taken.
    """

    round: int
    labels: int
    failed: int
    new_labels: int
    pool: int
    force_mae: float | None
    force_rmse: float | None
    energy_mae: float | None
    select_seconds: float
    label_seconds: float
    train_seconds: float
    coverage: float | None = None
    trained_on: int | None = None
    cause: Cause = Cause.UNKNOWN
    reason: str = ""
    walker: str = ""
    training: str = ""
    objection: str = ""

    def __str__(self) -> str:
        error = "" if self.force_mae is None else f" force MAE before training {_in_mev(self.force_mae)};"
        return (
            f"round {self.round}: {self.labels} labels, {self.failed} failed;{error} select "
            f"{self.select_seconds:.1f} s, label {self.label_seconds:.1f} s, train {self.train_seconds:.1f} s"
        )


@dataclass(frozen=True)
class Arrived:
    """What came to simulations that do not wait for it: labels, in their order, or a new potential.

    Attributes
    ----------
    call
        Number of the force call in which it was taken in.
    labels
        Numbers of the structures whose calculation had ended.
    potential
        Whether a potential had been trained.
    """

    call: int
    labels: tuple[int, ...] = ()
    potential: bool = False

    def __str__(self) -> str:
        what = "a potential" if self.potential else f"labels {', '.join(map(str, self.labels))}"
        return f"in force call {self.call} came {what}"


@dataclass(frozen=True)
class TakenOver:
    """Labels that had been finished when a run was interrupted are taken over when it goes on.

    Attributes
    ----------
    labels
        Numbers of their structures.
    """

    labels: tuple[int, ...]

    def __str__(self) -> str:
        n = len(self.labels)
        what = "1 label that had been finished" if n == 1 else f"{n} labels that had been finished"
        return f"{what} when the run was interrupted {'is' if n == 1 else 'are'} taken over"


@dataclass(frozen=True)
class BaselineCompared:
    """Whether the baseline is worth its time, as the first labels say.

    Attributes
    ----------
    trained, tested
        Labels that two potentials were trained on, one with the baseline and one without, and others.
    force_mae, force_mae_without
        Their errors on the others, eV/Å.
    """

    trained: int
    tested: int
    force_mae: float
    force_mae_without: float

    @property
    def helps(self) -> bool:
        """Whether the error is smaller with it."""
        return self.force_mae < self.force_mae_without

    def __str__(self) -> str:
        return (
            f"the baseline {'helps' if self.helps else 'does not help'}: trained on {self.trained} labels, force MAE "
            f"on {self.tested} others {_in_mev(self.force_mae)}, and without it {_in_mev(self.force_mae_without)}"
        )


@dataclass(frozen=True)
class LearningEnded:
    """Learning has ended; the potential stays as it is from here on.

    Attributes
    ----------
    reason
        Why.
    labels, rounds
        Of the run.
    force_mae, coverage
        Of the last round; see `Round`.
    """

    reason: str
    labels: int
    rounds: int
    force_mae: float | None = None
    coverage: float | None = None

    def __str__(self) -> str:
        return f"learning has ended: {self.reason}"


@dataclass(frozen=True)
class Rewound:
    """The simulation has gone back from a step that could not be trusted to an earlier one.

    Attributes
    ----------
    from_step, to_step
        Numbers of the steps.
    reason
        Why the step could not be trusted.
    rewinds
        How often this has happened in this simulation.
    """

    from_step: int
    to_step: int
    reason: str
    rewinds: int

    def __str__(self) -> str:
        return f"step {self.from_step} back to step {self.to_step}: {self.reason}"


@dataclass(frozen=True)
class SimulationEnded:
    """A simulation has ended.

    Attributes
    ----------
    reason
        Why.
    steps, rewinds
        Steps of the simulation, and how often it went back.
    labels
        Of the run so far.
    force_mae, coverage
        Of the last round; see `Round`.
    """

    reason: str
    steps: int
    rewinds: int
    labels: int
    force_mae: float | None
    coverage: float | None

    def __str__(self) -> str:
        parts = [f"{self.reason}: {self.steps} steps, {self.rewinds} rewinds, {self.labels} labels"]
        if self.force_mae is not None:
            parts.append(f"expected force MAE {_in_mev(self.force_mae)} at most")
        if self.coverage is not None:
            parts.append(f"{self.coverage:.0%} of the last errors within their bounds")
        return ", ".join(parts)


def _in_mev(force: float) -> str:
    return f"{1000 * force:.0f} meV/Å"


Event = (
    LabelDone
    | EpochDone
    | Arrived
    | TakenOver
    | Round
    | BaselineCompared
    | LearningEnded
    | Rewound
    | SimulationEnded
)
Listener = Callable[[Event], None]

log = logging.getLogger(__name__)


@dataclass
class Reporter:
    """Hands events to the log, and to whoever listens; an epoch is where a training can be stopped."""

    listener: Listener | None
    stop_reason: str = ""

    def __call__(self, event: Event) -> None:
        """Report an event.

        Raises
        ------
        SimulationStopped
            After an epoch, if there is a `stop_reason`.
        """
        if self.stop_reason and isinstance(event, EpochDone):
            raise SimulationStopped(self.stop_reason)
        log.log(logging.DEBUG if isinstance(event, LabelDone | EpochDone) else logging.INFO, "%s", event)
        if self.listener:
            self.listener(event)
