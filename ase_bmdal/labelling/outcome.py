"""What a reference calculation came to: a label, or the reason why there is none."""

from dataclasses import dataclass, field
from typing import TypeAlias

from ase_bmdal.labelling.failure import Failure
from ase_bmdal.structures.labels import Label

Outcome: TypeAlias = Label | Failure


@dataclass(frozen=True)
class ComputedLabel(Label):
    """A label, how long it took, and what the baseline says of the structure.

    Attributes
    ----------
    seconds
        Wall time of the calculation.
    baseline
        Energy, forces and stress of the baseline; None if there is none.
    kept
        File that holds the label until the driver has written it; None if there is none.
    """

    seconds: float = 0.0
    baseline: Label | None = None
    kept: str | None = field(default=None, repr=False)


class NotFinished(Exception):  # noqa: N818 - what happened, not an error of the program
    """A calculation was not carried through, which says nothing about its structure: it has no outcome."""


class Unseen(NotFinished):
    """A label worker does not see the folder of the batch; host, folder and reason."""
