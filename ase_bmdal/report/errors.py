"""Errors of a potential on labelled structures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_bmdal.common.deviation import Deviation
from ase_bmdal.structures.labels import Label

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class ForcePairs:
    """Force components of the reference and of a potential.

    Attributes
    ----------
    reference, predicted
        eV/Å, [n_components].
    rounds
        Round of each component, where they come from a run.
    """

    reference: Floats
    predicted: Floats
    rounds: NDArray[np.int64] | None = None

    @property
    def mae(self) -> float:
        """Mean absolute error, eV/Å."""
        return Deviation.of(self.predicted - self.reference).mae

    def of_round(self, number: int) -> "ForcePairs":
        """Components of one round only."""
        chosen = self.rounds == number
        return ForcePairs(reference=self.reference[chosen], predicted=self.predicted[chosen])


def errors_of(predicted: Sequence[Label], reference: Sequence[Label]) -> dict[str, Deviation]:
    """Errors over many structures.

    Parameters
    ----------
    predicted, reference
        One label per structure.

    Returns
    -------
    dict
        ``energy`` (eV), ``energy_per_atom`` (eV), and where both sides have them ``forces`` (eV/Å, over components)
        and ``stress`` (eV/Å³, over components).

    Raises
    ------
    ValueError
        If there is nothing to compare, or not one for one.
    """
    if not len(predicted) == len(reference) > 0:
        raise ValueError(f"expected as many predictions as labels, got {len(predicted)} and {len(reference)}")
    energy = np.array(
        [ours.energy - theirs.energy for ours, theirs in zip(predicted, reference, strict=True)]
    )
    errors = {"energy": Deviation.of(energy)}
    if all(label.forces is not None for label in predicted):
        sizes = np.array([len(label.forces) for label in predicted if label.forces is not None])
        errors["energy_per_atom"] = Deviation.of(energy / sizes)
    for name in ("forces", "stress"):
        if pairs := _both(name, predicted, reference):
            errors[name] = Deviation.between(*zip(*pairs, strict=True))
    return errors


def force_pairs(predicted: Sequence[Label], reference: Sequence[Label]) -> ForcePairs:
    """Force components of both sides in one array each; structures without forces are left out."""
    pairs = _both("forces", predicted, reference)
    if not pairs:
        raise ValueError("expected structures with forces, got none")
    ours, theirs = (np.concatenate([each.ravel() for each in side]) for side in zip(*pairs, strict=True))
    return ForcePairs(reference=theirs, predicted=ours)


def _both(name: str, predicted: Sequence[Label], reference: Sequence[Label]) -> list[tuple[Floats, Floats]]:
    pairs = ((getattr(a, name), getattr(b, name)) for a, b in zip(predicted, reference, strict=True))
    return [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
