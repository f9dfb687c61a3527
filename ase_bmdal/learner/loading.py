"""Potentials on disk, each with its error model beside it in the same file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, overload

from ase_bmdal.baseline.baseline import OneOrMore
from ase_bmdal.common.errors import ModelError
from ase_bmdal.potential.files import read_model, save_model
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.with_baseline import WithBaseline, with_baseline
from ase_bmdal.run.folder import last_model
from ase_bmdal.uncertainty.error_model import ErrorModel

ERROR_MODEL = "error_model"


class SavedPotential(NamedTuple):
    """What a model file holds.

    Attributes
    ----------
    potential
        One network or a committee.
    error_model
        What is known of its errors; None if nothing is.
    notes
        What else was kept with it.
    """

    potential: Potential
    error_model: ErrorModel | None
    notes: dict[str, Any]


def save_potential(
    path: Path, potential: Potential, error_model: ErrorModel | None, notes: Mapping[str, Any]
) -> None:
    """Write a potential with its error model in one step.

    Raises
    ------
    OSError
        If it cannot be written; an older one stays as it was.
    """
    numbers, arrays = error_model.as_data() if error_model else ({}, {})
    known = {ERROR_MODEL: numbers} if error_model else {}
    save_model(path, potential, {**notes, **known}, arrays)


def read_potential(path: str | Path) -> SavedPotential:
    """Read a potential with its error model.

    Parameters
    ----------
    path
        A model file, or a run folder, whose newest potential is taken.

    Raises
    ------
    ModelError
        If there is none, the file is no model, or a newer version wrote it.
    """
    path = Path(path)
    newest = last_model(path) if path.is_dir() else path
    if newest is None:
        raise ModelError(f"expected a run folder with a trained potential, found none in {path}")
    potential, notes, arrays = read_model(newest)
    numbers = notes.pop(ERROR_MODEL, None)
    error_model = None if numbers is None else ErrorModel.from_data(numbers, arrays)
    return SavedPotential(potential, error_model, notes)


@overload
def load_model(path: str | Path, *, baseline: None = None) -> Potential: ...
@overload
def load_model(path: str | Path, *, baseline: OneOrMore) -> WithBaseline: ...
def load_model(path: str | Path, *, baseline: OneOrMore | None = None) -> Potential | WithBaseline:
    """Read a potential.

    Parameters
    ----------
    path
        A model file, or a run folder, whose newest potential is taken.
    baseline
        What it was trained on the difference to, as for `train`; None for nothing.

    Raises
    ------
    ModelError
        If there is none, the file is no model, or a newer version wrote it; if it needs a baseline, or another one.
    """
    return with_baseline(read_potential(path).potential, baseline)


def load_error_model(path: str | Path) -> ErrorModel | None:
    """Read what is known of the errors of a potential; None if nothing is.

    Parameters
    ----------
    path
        A model file, or a run folder, whose newest potential is taken.

    Raises
    ------
    ModelError
        If there is none, the file is no model, or a newer version wrote it.
    """
    return read_potential(path).error_model
