"""What a learner reports while it works; an interface decides what of it to show."""

import logging
from collections.abc import Callable
from dataclasses import dataclass


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


@dataclass(frozen=True)
class Finished:
    """Learning has ended; the potential stays as it is from here on."""

    reason: str
    labels: int
    rounds: int


Event = Labelling | Training | Round | Finished
Listener = Callable[[Event], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reporter:
    """Hands events to the log, and to whoever listens."""

    listener: Listener | None

    def __call__(self, event: Event) -> None:
        """Report an event."""
        log.log(logging.INFO if isinstance(event, Round | Finished) else logging.DEBUG, "%s", event)
        if self.listener:
            self.listener(event)
