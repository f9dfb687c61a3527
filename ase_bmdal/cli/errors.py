"""Errors of a potential on labelled structures, for a reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from ase_bmdal.potential.gmnn import Potential
    from ase_bmdal.potential.with_baseline import WithBaseline
    from ase_bmdal.structures.labels import Label


def errors_text(
    model: Potential | WithBaseline, frames: Sequence[Atoms], labels: Sequence[Label], places: Sequence[int]
) -> str:
    """A table of errors, and the structures with the largest ones.

    Parameters
    ----------
    model
        Predicts.
    frames, labels
        One label per structure.
    places
        Of the structures in their file, counted from 0.
    """
    from ase_bmdal.report.errors import errors_of
    from ase_bmdal.report.tables import errors_table
    from ase_bmdal.structures.outliers import worst

    predicted = model.predict(frames)
    lines = [f"  structure {places[k]}: {text}" for k, text in worst(frames, predicted, labels).items()]
    return "\n".join([errors_table(errors_of(predicted, labels)), "", "Largest errors", "", *lines])
