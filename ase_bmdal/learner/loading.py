"""Potentials from wherever they are kept."""

from pathlib import Path

from ase_bmdal.common.errors import ModelError
from ase_bmdal.learner.folder import last_model
from ase_bmdal.potential.files import read_model
from ase_bmdal.potential.gmnn import Potential


def load_model(path: str | Path) -> Potential:
    """Read a potential.

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
    return read_model(newest)[0]
