"""Which errors of a prediction may be gone on with: the verdict on a bound."""

import math
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from ase_bmdal.common.settings import settings
from ase_bmdal.uncertainty.error_model import Bounds

Verdict = Literal["accept", "label", "reject"]


@settings
class UncertaintyLimits:
    """How far predictions are trusted.

    Attributes
    ----------
    enabled
        False accepts all.
    force_tolerance
        A frame on which the force error of an atom may exceed this bound, eV/Å, starts a round at once. None lets it
        set itself by the labels of the last round, with the next four.
    novel
        Such a tolerance in units of the largest bound among these labels, as it was before training on them; for
        the initial structures of the median of their largest bounds.
    ceiling
        What it is at most, in units of the largest force in these labels.
    floor
        What it is at least, in units of the mean error that ends learning (`Convergence.force_mae`).
    difference
        What it is at least with a baseline, in units of the largest difference to it in these labels: the baseline
        holds a simulation whose forces are wrong by no more than its own.
    refuse
        Beyond so many tolerances forces are not handed out: the simulation goes back, or stops.
    probability
        With which a bound on the force error of an atom holds.
    recent
        Labels that the bounds are made of, or those of two rounds if these are more: potentials long gone say little
        of this one.
    power
        Bounds grow with the deviation of a single network to this power: errors grow faster than the distance from
        what is known.
    adaptation
        How far the quantile that makes the bounds moves after a round whose errors exceeded them too often or too
        seldom.
    cool_down, longest_cool_down
        Force calls after a round before a frame may start the next one: so many to begin with, twice as many after
        each round, up to the longest. Frames that follow one another at once teach the same; labels for them are
        missing later.
    max_rewinds
        How often `OnTheFlyCalculator.run` goes back at the same place before it gives up.
    """

    enabled: bool = True
    force_tolerance: PositiveFloat | None = None
    novel: PositiveFloat = 2.0
    ceiling: PositiveFloat = 1.0
    floor: PositiveFloat = 5.0
    difference: NonNegativeFloat = 1.0
    refuse: Annotated[float, Field(gt=1.0)] = 5.0
    probability: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    recent: Annotated[int, Field(ge=2)] = 20
    power: PositiveFloat = 1.5
    adaptation: NonNegativeFloat = 0.2
    cool_down: NonNegativeInt = 10
    longest_cool_down: NonNegativeInt = 100
    max_rewinds: NonNegativeInt = 5

    def cool_down_after(self, n_rounds: int) -> int:
        """Force calls before a frame may start a round, after so many rounds."""
        return min(self.cool_down << n_rounds, max(self.cool_down, self.longest_cool_down))


class Judgement(NamedTuple):
    """A verdict, and in words why it is not to go on; empty if it is."""

    verdict: Verdict
    reason: str = ""


ACCEPTED = Judgement("accept")


def judge(
    bounds: Bounds | None, tolerance: float | None, limits: UncertaintyLimits, *, must_answer: bool = False
) -> Judgement:
    """Whether to go on with forces, to have the frame labelled as well, or not to use them.

    Parameters
    ----------
    bounds
        On their errors; None if they are not known.
    tolerance
        Bound beyond which a frame is labelled, eV/Å; None for none.
    limits
        When a frame is rejected, and the probability that the bounds hold with.
    must_answer
        Whether a large bound is no reason to reject, as where there is nothing to go back to.
    """
    if bounds is None or tolerance is None:
        return ACCEPTED
    worst = int(bounds.forces.argmax())
    bound = bounds.forces[worst]
    if bound <= tolerance:
        return ACCEPTED
    limit = math.inf if must_answer else limits.refuse * tolerance
    is_rejected = math.isnan(bound) or bound > limit
    exceeded = f"limit of {limit:.2g}" if is_rejected else f"tolerance of {tolerance:.2g}"
    return Judgement(
        "reject" if is_rejected else "label",
        f"the force on atom {worst} may be wrong by {bound:.2g} eV/Å "
        f"(probability {limits.probability:.0%}), more than the {exceeded} eV/Å",
    )


def collision(closest: float, least: float) -> Judgement:
    """Whether atoms are too close for any forces to be right.

    Parameters
    ----------
    closest
        Smallest distance of two atoms in units of the sum of their covalent radii.
    least
        What is too close, in the same units.
    """
    if closest >= least:
        return ACCEPTED
    return Judgement(
        "reject",
        f"two atoms are {closest:.2f} times the sum of their covalent radii apart, at least {least:.2f} expected",
    )
