"""When a simulation calls for a round."""

from collections import deque
from dataclasses import dataclass
from typing import Self

from ase import Atoms

from ase_bmdal.uncertainty.limits import UncertaintyLimits, Verdict


@dataclass
class ForceCalls:
    """Force calls since the last round, whoever made them."""

    number: int


class Trigger:
    """Frames of one simulation, or of one image of it, that its potential doubts, and when they call for a round.

    Parameters
    ----------
    limits
        How soon after a round the next may come.
    keep
        How many doubtful frames are kept, the newest.

    Attributes
    ----------
    doubtful
        Frames since the last one that was accepted.
    last_accepted
        Newest frame that was accepted; None before there is one.
    """

    def __init__(self, limits: UncertaintyLimits, keep: int) -> None:
        self._limits = limits
        self.doubtful: deque[Atoms] = deque(maxlen=keep)
        self.last_accepted: Atoms | None = None
        self._since = ForceCalls(limits.longest_cool_down)

    def twin(self) -> Self:
        """One for another simulation, or another image, that learns together with this one."""
        other = type(self)(self._limits, self.doubtful.maxlen or 0)
        other._since = self._since
        return other

    def note(self, frame: Atoms, verdict: Verdict) -> None:
        """Remember a frame that was judged, once for each force call."""
        self._since.number += 1
        if verdict == "accept":
            self.last_accepted = frame
            self.doubtful.clear()
        elif verdict == "label":
            self.doubtful.append(frame)

    def is_due(self, n_rounds: int) -> bool:
        """Whether the newest frame calls for a round, after so many."""
        return bool(self.doubtful) and self._since.number > self._limits.cool_down_after(n_rounds)

    def required(self) -> list[Atoms]:
        """Frames to label before others: the doubtful ones, or else the last that was accepted."""
        return list(self.doubtful) or [self.last_accepted] * (self.last_accepted is not None)

    def round_done(self) -> None:
        """The potential has changed."""
        self._since.number = 0
        self.doubtful.clear()
