"""What is in a run folder, read without its lock: a run that is still going on is not disturbed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_bmdal.common.errors import RunFolderError
from ase_bmdal.report.errors import ForcePairs
from ase_bmdal.run.events import Round
from ase_bmdal.run.history import History
from ase_bmdal.run.store import Entry, LabelStore


@dataclass(frozen=True, eq=False)
class Run:
    """A run as its folder holds it.

    Attributes
    ----------
    path
        The run folder.
    settings
        What the run was told, and how it began; empty before its calculator is made, as of labels alone.
    history
        What happened.
    rows
        Every structure that was chosen, and what became of it.
    """

    path: Path
    settings: dict[str, Any]
    history: History
    rows: list[Entry]

    def of_status(self, status: str) -> list[Entry]:
        """Structures that are ``"done"``, ``"failed"`` or ``"pending"``."""
        return [row for row in self.rows if row.status == status]

    @property
    def rounds(self) -> list[Round]:
        """Rounds so far."""
        return self.history.rounds

    @property
    def predicted_rounds(self) -> list[Round]:
        """Rounds whose structures were predicted before the potential was trained on them."""
        return [each for each in self.rounds if each.force_mae is not None]

    def predictions_before_training(self) -> ForcePairs | None:
        """Forces predicted before training, beside the reference; None if there are none."""
        known = [row for row in self.rows if row.is_test]
        if not known:
            return None
        return ForcePairs(
            reference=np.concatenate([row.label.forces_for("an error").ravel() for row in known]),
            predicted=np.concatenate([_whole_forces(row).ravel() for row in known]),
            rounds=np.concatenate([np.full(3 * len(row.atoms), row.round) for row in known]),
        )


def _whole_forces(row: Entry) -> NDArray[np.float64]:
    """Predicted forces, with those of the baseline if there is one, eV/Å, [n_atoms, 3]."""
    predicted = np.asarray(row.prediction["forces"])
    return predicted if row.baseline is None else predicted + row.baseline.forces_for("predictions")


def read_run(path: Path) -> Run:
    """Read a run folder; writes nothing to it.

    Raises
    ------
    RunFolderError
        If there is none, or it cannot be read.
    StoreError
        If its labels cannot be read.
    """
    labels = path / "labels.db"
    if not labels.is_file():  # or LabelStore would make one
        raise RunFolderError(f"expected a run folder, found no labels.db in {path}")
    return Run(path, _settings(path / "settings.json"), History.read(path), LabelStore(labels).rows())


def _settings(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunFolderError(f"cannot read {path}: {error}") from error
