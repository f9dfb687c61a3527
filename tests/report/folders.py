"""Run folders as a run leaves them, without a run."""

import json

import numpy as np
from ase.build import molecule

from ase_bmdal.labelling import Failure
from ase_bmdal.run import journal
from ase_bmdal.run.events import Round
from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.labels import Label
from tests.builders import rattled


def made_up_run(path, n_rounds=4, with_failure=True):
    """Two labels in each round, their predictions better each time, and one failure."""
    path.mkdir()
    store, rng, rounds = LabelStore(path / "labels.db"), np.random.default_rng(0), []
    for number in range(n_rounds):
        frames = [rattled(molecule("H2O"), seed=10 * number + k) for k in range(2)]
        forces = [rng.standard_normal((3, 3)) for _ in frames]
        error = 0.5 / 2**number
        store.add(
            frames,
            round=number,
            source="pool",
            predictions=[{"energy": -1.0, "forces": each + error} for each in forces] if number else None,
            records=[Label(energy=-1.0, forces=each) for each in forces],
        )
        rounds.append(_round(number, error if number else None))
    if with_failure:
        record = Failure("ValueError", "no\nconvergence " * 20, scratch="somewhere")
        store.add([molecule("H2O")], round=n_rounds - 1, source="pool", records=[record])
    for each in rounds:
        journal.append(path, each)
    (path / "settings.json").write_text(
        json.dumps({"format": 1, "settings": {"architecture": {"cutoff": 5.0}}})
    )
    return path


def _round(number, error):
    return Round(
        round=number,
        labels=2 * number + 2,
        failed=0,
        new_labels=2,
        pool=20,
        force_mae=error,
        force_rmse=error,
        energy_mae=error,
        select_seconds=0.1,
        label_seconds=0.2,
        train_seconds=0.3,
    )
