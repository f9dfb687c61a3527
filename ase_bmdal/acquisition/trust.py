"""When a prediction is good enough to go on with, when to learn at once, and when to stop."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from ase import Atoms
from pydantic import Field

from ase_bmdal.common.settings import settings
from ase_bmdal.potential.uncertainty import Raw, Uncertainty

Positive = Annotated[float, Field(gt=0.0)]
Verdict = Literal["trusted", "doubtful", "refused"]


@settings
class Trust:
    """How far predictions are trusted.

    Attributes
    ----------
    enabled
        False trusts all.
    force_tolerance
        A frame on which the force error of an atom may exceed this bound, eV/Å, starts a round at once. None lets it
        set itself by the labels of the last round, with the next three.
    novel
        Such a tolerance in units of the largest bound among these labels, as it was before training on them; after
        first contact of the median of the largest bounds of its structures.
    ceiling
        What it is at most, in units of the largest force in these labels.
    floor
        What it is at least, in units of the mean error that ends learning (`Convergence.force_mae`).
    refuse
        Beyond so many tolerances forces are not handed out: the simulation goes back, or stops.
    probability
        With which a bound on the force error of an atom holds.
    cool_down, longest_cool_down
        Force calls after a round before a frame may start the next one: so many to begin with, twice as many after
        each round, up to the longest. Frames that follow one another at once teach the same; labels for them are
        missing later.
    max_rewinds
        How often `OnTheFlyCalculator.run` goes back at the same place before it gives up.
    """

    enabled: bool = True
    force_tolerance: Positive | None = None
    novel: Positive = 2.0
    ceiling: Positive = 1.0
    floor: Positive = 5.0
    refuse: Annotated[float, Field(gt=1.0)] = 5.0
    probability: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    cool_down: Annotated[int, Field(ge=0)] = 10
    longest_cool_down: Annotated[int, Field(ge=0)] = 100
    max_rewinds: Annotated[int, Field(ge=0)] = 5

    def cool_down_after(self, n_rounds: int) -> int:
        """Force calls before a frame may start a round, after so many rounds."""
        return min(self.cool_down << n_rounds, max(self.cool_down, self.longest_cool_down))


@dataclass
class CoolDown:
    """Force calls since the last round, whoever made them."""

    calls: int


class Trigger:
    """Judges every frame of a simulation, or of one image of it, and keeps those it doubts.

    Parameters
    ----------
    trust
        Limits.
    closest_pair
        Smallest distance in units of the sum of covalent radii.
    keep
        How many doubtful frames are kept, the newest.

    Attributes
    ----------
    doubtful
        Frames since the last trusted one.
    last_trusted
        Newest frame that was trusted; None before there is one.
    """

    def __init__(self, trust: Trust, closest_pair: float, keep: int) -> None:
        self._trust, self._closest_pair = trust, closest_pair
        self.doubtful: deque[Atoms] = deque(maxlen=keep)
        self.last_trusted: Atoms | None = None
        self._since = CoolDown(trust.longest_cool_down)
        self.reason = ""

    def twin(self) -> Self:
        """One for another simulation, or another image, that learns together with this one."""
        other = type(self)(self._trust, self._closest_pair, self.doubtful.maxlen or 0)
        other._since = self._since
        return other

    def judge(
        self, raw: Raw, uncertainty: Uncertainty | None, tolerance: float | None, *, can_learn: bool = False
    ) -> Verdict:
        """Whether to go on with these forces, to learn first, or not to use them; `reason` says why.

        Until a first frame is trusted there is nowhere to go back to: as long as it can learn, it learns instead.
        """
        self.reason = ""
        if not self._trust.enabled:
            return "trusted"
        if raw.closest < self._closest_pair:
            self.reason = (
                f"two atoms are {raw.closest:.2f} times the sum of their covalent radii apart, "
                f"at least {self._closest_pair:.2f} expected"
            )
            return "refused"
        if uncertainty is None or not uncertainty.is_calibrated or tolerance is None:
            return "trusted"
        bounds = uncertainty.force_bounds(raw)
        worst = int(bounds.argmax())
        if bounds[worst] <= tolerance:
            return "trusted"
        must_learn = can_learn and self.last_trusted is None
        limit = math.inf if must_learn else self._trust.refuse * tolerance
        self.reason = (
            f"the force on atom {worst} may be wrong by {bounds[worst]:.2g} eV/Å "
            f"(probability {uncertainty.probability:.0%}), "
        )
        if math.isnan(bounds[worst]) or bounds[worst] > limit:
            self.reason += f"more than the limit of {limit:.2g} eV/Å"
            return "refused"
        self.reason += f"more than the tolerance of {tolerance:.2g} eV/Å"
        return "doubtful"

    def keep(self, frame: Atoms, verdict: Verdict) -> None:
        """Remember a frame that was judged, once for each force call."""
        self._since.calls += 1
        if verdict == "trusted":
            self.last_trusted = frame
            self.doubtful.clear()
        elif verdict == "doubtful":
            self.doubtful.append(frame)

    def is_due(self, n_rounds: int) -> bool:
        """Whether the newest frame calls for a round, after so many."""
        return bool(self.doubtful) and self._since.calls > self._trust.cool_down_after(n_rounds)

    def urgent(self) -> list[Atoms]:
        """Frames to label first: the doubtful ones, or else the last that was trusted."""
        return list(self.doubtful) or [self.last_trusted] * (self.last_trusted is not None)

    def round_done(self) -> None:
        """The potential has changed."""
        self._since.calls = 0
        self.doubtful.clear()
