"""What a learner reports while it works; an interface decides what of it to show."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ase_bmdal.common.errors import SimulationStopped


@dataclass(frozen=True)
class Labelling:
    """A calculation of a batch has finished: how many of how many have, how many failed."""

    round: int
    finished: int
    of: int
    failed: int


@dataclass(frozen=True)
class Training:
    """An epoch has finished; the losses are those of `potential.fit.Epoch`."""

    round: int
    epoch: int
    of: int
    train_loss: float
    valid_loss: float | None


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round has finished. Round 0 is first contact.

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
    reason
        Why the round was due.
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
    reason: str = ""


@dataclass(frozen=True)
class Finished:
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


@dataclass(frozen=True)
class Ended:
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


Event = Labelling | Training | Round | Finished | Rewound | Ended
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
        if self.stop_reason and isinstance(event, Training):
            raise SimulationStopped(self.stop_reason)
        log.log(logging.DEBUG if isinstance(event, Labelling | Training) else logging.INFO, "%s", event)
        if self.listener:
            self.listener(event)
