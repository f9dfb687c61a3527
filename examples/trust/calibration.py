"""Bounds of 50, 80, 90 and 95 %, and how often the force errors of atoms were within them.

Learning curves on published data: each batch is chosen by LCMD + FEAT(LL), predicted, and only then learned; bounds
come from the errors of the batches before, and are compared with those of the next batch and of a test set. And runs of
the campaign: bounds for the labels of each round, from the labels before. Started again, it goes on.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from records import Record, append, commit, is_done, read

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ase_bmdal import Retraining, TrainingSettings, UncertaintyLimits, train
from ase_bmdal.acquisition.acquisition import Acquisition
from ase_bmdal.acquisition.ranking import rank
from ase_bmdal.common.randomness import stream
from ase_bmdal.learner.initial_holdout import initial_holdout
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.run.store import Entry, LabelStore
from ase_bmdal.uncertainty.calibrate import calibrated, fit_error_model, force_errors, predictions
from ase_bmdal.uncertainty.conformal import coverage
from ase_bmdal.uncertainty.error_model import ErrorModel
from ase_bmdal_experiments.data import read_frames

LIMITS = UncertaintyLimits()
LEVELS = (0.5, 0.8, 0.9, 0.95)
DATA = {"aspirin": ("md17", 4.0), "tio2": (None, 6.5)}  # labels, cutoff in Å
SELECTION = Acquisition.parse("LCMD + FEAT(LL)")


class Curve:
    """A learning curve that is predicted before it is learned.

    Parameters
    ----------
    pool, test
        Labelled structures.
    cutoff
        Å.
    batch
        Structures at first and in each round.
    how
        Training from scratch.
    seed
        Of all random numbers.
    """

    def __init__(
        self,
        pool: Sequence[Atoms],
        test: Sequence[Atoms],
        cutoff: float,
        batch: int,
        how: TrainingSettings,
        seed: int,
    ) -> None:
        self._pool, self._test, self._batch, self._seed = list(pool), list(test), batch, seed
        self._how, self._cutoff = how, cutoff
        self.rows: list[Entry] = []
        first = [self._pool.pop() for _ in range(batch)]
        self._label(first, [{} for _ in first])
        known, unseen = initial_holdout(self.rows, LIMITS.recent)
        found = predictions(*self._trained(known, None), [row.atoms for row in unseen])
        said = {row.id: prediction for row, prediction in zip(unseen, found, strict=True)}
        self.rows = [replace(row, prediction=said.get(row.id, {})) for row in self.rows]
        self._model, self._error_model = self._trained(self.rows, None)

    def round(self) -> dict[str, dict[str, float]]:
        """Learn from the next batch; gives observed coverage by level, of the batch and of the test set."""
        before = {level: calibrated(self.rows, replace(LIMITS, probability=level))[0] for level in LEVELS}
        chosen = self._pick()
        tested = self._ratios(self._test, predictions(self._model, self._error_model, self._test))
        found = predictions(self._model, self._error_model, chosen)
        next_batch = self._ratios(chosen, found)
        self._label(chosen, found)
        self._model, self._error_model = self._trained(self.rows, self._model)
        return {
            name: {str(level): round(coverage(these, factor), 4) for level, factor in before.items()}
            for name, these in (("next", next_batch), ("test", tested))
        }

    def _pick(self) -> list[Atoms]:
        known = [row.atoms for row in self.rows]
        choice = rank(SELECTION, self._model, self._pool, known, seed=self._seed, draw=len(known))
        picks = sorted(choice.best(self._batch), reverse=True)
        return [self._pool.pop(index) for index in picks]

    def _label(self, structures: Sequence[Atoms], found: Sequence[dict[str, Any]]) -> None:
        number, start = len(self.rows) // self._batch, len(self.rows)
        self.rows += [
            Entry(id=start + k, atoms=atoms, status="done", round=number, source="pool", prediction=said)
            for k, (atoms, said) in enumerate(zip(structures, found, strict=True))
        ]

    def _trained(self, rows: Sequence[Entry], model: Potential | None) -> tuple[Potential, ErrorModel]:
        how = Retraining().warm_start(self._how, len(rows)) if model else self._how
        seed = int(stream(self._seed, "training", len(rows)).integers(2**31))
        structures = [row.atoms for row in rows]
        trained = train(structures, cutoff=self._cutoff, training=how, seed=seed, model=model)
        return trained, fit_error_model(trained, rows, LIMITS)

    @staticmethod
    def _ratios(structures: Sequence[Atoms], found: Sequence[dict[str, Any]]) -> np.ndarray:
        errors = [
            np.linalg.norm(said["forces"] - atoms.get_forces(), axis=1)
            for said, atoms in zip(found, structures, strict=True)
        ]
        return np.concatenate(errors) / np.concatenate([said["raw_forces"] for said in found])


def from_data(name: str, seed: int, data: Path, wanted: argparse.Namespace) -> Record:
    """A learning curve on published data."""
    labels, cutoff = DATA[name]
    pool, test = (
        _some(read_frames(data / f"{name}_{part}.npz", labels), n, seed)
        for part, n in (("pool", wanted.pool), ("test", wanted.test))
    )
    curve = Curve(pool, test, cutoff, wanted.batch, TrainingSettings(epochs=wanted.epochs), seed)
    rounds = [{"n_train": wanted.batch * (k + 1)} | curve.round() for k in range(wanted.rounds)]
    return {"data": name, "seed": seed, "rounds": rounds}


def _some(frames: Sequence[Atoms], n: int, seed: int) -> list[Atoms]:
    return [frames[int(index)] for index in stream(seed, "calibration").permutation(len(frames))[:n]]


def from_run(folder: Path) -> Record:
    """What bounds the labels of a run would have given each other, round after round."""
    rows = LabelStore(folder / "labels.db").rows("done")
    by_level = {level: calibrated(rows, replace(LIMITS, probability=level))[1] for level in LEVELS}
    numbers = sorted({number for covered in by_level.values() for number in covered})
    rounds = [
        {
            "n_train": sum(row.round < number for row in rows),
            "n_atoms": sum(len(force_errors(row)) for row in rows if row.round == number),
            "next": {
                str(level): round(covered[number], 4)
                for level, covered in by_level.items()
                if number in covered
            },
        }
        for number in numbers
    ]
    system, _, seed = folder.name.removesuffix("-on").rpartition("-")
    return {"data": system, "seed": int(seed), "rounds": rounds}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--data", type=Path, help="folder of the data sets (.npz)")
    options.add_argument("--runs", type=Path, help="folder of run folders, the --work of the campaign")
    options.add_argument("--seeds", type=int, default=3, help="of each data set (%(default)s)")
    options.add_argument("--batch", type=int, default=10, help="structures of a round (%(default)s)")
    options.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    options.add_argument("--pool", type=int, default=500, help="structures to choose from (%(default)s)")
    options.add_argument("--test", type=int, default=200, help="structures to test with (%(default)s)")
    options.add_argument("--epochs", type=int, default=300, help="from scratch (%(default)s)")
    wanted = options.parse_args()
    tasks = []
    if wanted.data:
        tasks += [(name, seed, None) for seed in range(wanted.seeds) for name in DATA]
    if wanted.runs:
        for folder in sorted(wanted.runs.glob("*-*-on")):
            system, _, seed = folder.name.removesuffix("-on").rpartition("-")
            tasks.append((system, int(seed), folder))
    now = commit()
    for name, seed, folder in tasks:
        if is_done(read(wanted.out), data=name, seed=seed):
            continue
        record = from_run(folder) if folder else from_data(name, seed, wanted.data, wanted)
        append(wanted.out, record | {"commit": now})
        print(record, flush=True)


if __name__ == "__main__":
    main()
