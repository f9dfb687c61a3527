"""From a slow potential to a fast one: a plain network learns from a potential with a baseline, and from its labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from ase import Atoms
from pydantic import Field, NonNegativeFloat

from ase_bmdal.baseline.baseline import OneOrMore
from ase_bmdal.calculator.exploration import Exploration, explore
from ase_bmdal.calculator.gmnn import GMNNCalculator
from ase_bmdal.common.deviation import Deviation
from ase_bmdal.common.errors import RunFolderError
from ase_bmdal.common.randomness import stream
from ase_bmdal.common.settings import settings, with_leaves
from ase_bmdal.learner.loading import save_potential
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.settings import TrainingSettings
from ase_bmdal.potential.training import train
from ase_bmdal.run.dataset import force_deviation
from ase_bmdal.run.store import Entry, LabelStore
from ase_bmdal.structures.labels import label_of
from ase_bmdal.uncertainty.calibrate import automatic_tolerance, fit_error_model, predictions
from ase_bmdal.uncertainty.error_model import ErrorModel
from ase_bmdal.uncertainty.limits import UncertaintyLimits

Progress = Callable[[str], object]


@settings
class Distillation:
    """How a potential is distilled.

    Attributes
    ----------
    exploration
        Where the frames come from that the teacher labels.
    unseen
        Part of them that is not trained on, to compare with the teacher.
    label_share
        Weight of all labels of the reference together, in units of that of all frames.
    folds
        Trainings in each of which another part of the labels is held out, to know the errors.
    training
        Of each of these networks, and of the one that is kept.
    uncertainty
        Of the bounds.
    """

    exploration: Exploration = Exploration()
    unseen: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    label_share: NonNegativeFloat = 0.3
    folds: Annotated[int, Field(ge=2)] = 2
    training: TrainingSettings = TrainingSettings(epochs=60)
    uncertainty: UncertaintyLimits = UncertaintyLimits()


class Losses(NamedTuple):
    """What a distilled potential lost.

    Attributes
    ----------
    of_labels
        Force errors, eV/Å, on labels of the reference, each predicted by a network that it was held out from.
    of_teacher
        The same of the teacher, each predicted before it was trained on it, as far as there are such predictions.
    from_teacher
        Force differences to the teacher, eV/Å, on frames that were not trained on.
    """

    of_labels: Deviation
    of_teacher: Deviation | None
    from_teacher: Deviation


@dataclass(frozen=True, eq=False)
class Distilled:
    """A plain potential, with what it lost.

    Attributes
    ----------
    potential, error_model
        To be used without the baseline; bounds are made of its errors on the labels of the reference.
    n_labels, n_frames
        What it was trained on.
    losses
        What it lost.
    """

    potential: Potential
    error_model: ErrorModel
    n_labels: int
    n_frames: int
    losses: Losses

    def save(self, path: str | Path) -> None:
        """Write it to a model file, in one step.

        Raises
        ------
        OSError
            If it cannot be written; an older file stays as it was.
        """
        save_potential(Path(path), self.potential, self.error_model, {})

    def __str__(self) -> str:
        held_out, teacher, difference = self.losses
        lines = [
            f"trained on {self.n_labels} labels and {self.n_frames} frames of its teacher; forces, MAE and RMSE:",
            f"  to the reference, labels held out: {_in_mev(held_out)}",
            f"  to the teacher, frames not trained on: {_in_mev(difference)}",
        ]
        if teacher:
            lines.append(
                f"  the teacher itself to the reference, before training on a label: {_in_mev(teacher)}"
            )
        return "\n".join(lines)


def distil(
    run: str | Path,
    *,
    baseline: OneOrMore | None = None,
    how: Distillation | None = None,
    seed: int = 0,
    on_progress: Progress = lambda text: None,
    **changes: Any,
) -> Distilled:
    """Train a plain network on what a run has learned: labels, and frames that its potential labels.

    Parameters
    ----------
    run
        Run folder.
    baseline
        Of the run, as for `OnTheFlyCalculator`; None if it has none.
    how
        All settings; None for the defaults.
    seed
        Same seed, same machine, same potential.
    on_progress
        Called with a line of text, many times.
    changes
        Other values of single settings, by the names of their fields in `Distillation` and its branches.

    Raises
    ------
    RunFolderError
        If the run has fewer labels than there are folds.
    ModelError
        If there is no potential, or it needs a baseline, or another one.
    UntrustedError
        As `explore`.
    TypeError
        If no setting has such a name.
    ValueError
        If a setting makes no sense, or no temperature is known.
    """
    how = with_leaves(how or Distillation(), {"epochs": "training.epochs"}, **changes)
    teacher = GMNNCalculator(run, baseline=baseline)
    entries = LabelStore(Path(run) / "labels.db").rows("done")
    if len(entries) < how.folds:
        raise RunFolderError(
            f"expected at least {how.folds} labels in {run}, one for each fold, got {len(entries)}"
        )
    rng = stream(seed, "distillation")
    n_frames = how.exploration.n_frames
    frames = explore(
        teacher,
        [entry.atoms for entry in entries],
        how.exploration,
        rng,
        largest_bound=_largest_bound(entries, teacher.error_model, how.uncertainty),
        on_frames=lambda n: on_progress(f"frame {n} of {n_frames}"),
    )
    unseen = set(rng.choice(n_frames, max(1, round(how.unseen * n_frames)), replace=False).tolist())
    seen = [frame for index, frame in enumerate(frames) if index not in unseen]
    student = _Student(teacher.model.settings, seen, how, seed, on_progress)
    tested, predicted = student.test(entries), [entry.learned for entry in entries if entry.is_test]
    potential = student.train("the potential", entries)
    error_model = fit_error_model(potential, [*student.frames, *tested], how.uncertainty)
    return Distilled(
        potential,
        error_model,
        len(entries),
        len(seen),
        Losses(
            force_deviation(tested),
            force_deviation(predicted) if predicted else None,
            _difference(potential, [frames[index] for index in sorted(unseen)]),
        ),
    )


class _Student:
    """Trains networks on the same frames and different labels."""

    def __init__(
        self, architecture: Any, frames: Sequence[Atoms], how: Distillation, seed: int, on_progress: Progress
    ) -> None:
        self.frames = [_entry(index, atoms, {}) for index, atoms in enumerate(frames)]
        self._architecture, self._how, self._seed, self._tell = architecture, how, seed, on_progress

    def train(self, what: str, entries: Sequence[Entry]) -> Potential:
        """Train a network on all frames and some labels."""
        weight = self._how.label_share * len(self.frames) / len(entries)
        potential: Potential = train(
            [*(frame.atoms for frame in self.frames), *(_weighted(entry.atoms, weight) for entry in entries)],
            architecture=self._architecture,
            training=self._how.training,
            seed=self._seed,
            name_outliers=False,
            on_epoch=lambda epoch: self._tell(f"{what}: epoch {epoch.number} of {epoch.of}"),
        )
        return potential

    def test(self, entries: Sequence[Entry]) -> list[Entry]:
        """Labels with predictions of networks that they were held out from, and their uncertainty."""
        found: dict[int, Entry] = {}
        folds = self._how.folds
        for fold in range(folds):
            rest = [entry for place, entry in enumerate(entries) if place % folds != fold]
            held_out = entries[fold::folds]
            potential = self.train(f"fold {fold + 1} of {folds}", rest)
            known = fit_error_model(potential, [*self.frames, *map(_plain, rest)], self._how.uncertainty)
            predicted = predictions(potential, known, [entry.atoms for entry in held_out])
            found |= {
                entry.id: _entry(entry.id, entry.atoms, prediction)
                for entry, prediction in zip(held_out, predicted, strict=True)
            }
        return [found[entry.id] for entry in entries]


def _entry(id: int, atoms: Atoms, prediction: dict[str, Any]) -> Entry:
    return Entry(id=id, atoms=atoms, status="done", round=1, source="pool", prediction=prediction)


def _plain(entry: Entry) -> Entry:
    return _entry(entry.id, entry.atoms, {})


def _weighted(atoms: Atoms, weight: float) -> Atoms:
    labelled = label_of(atoms).attach(atoms)
    labelled.info["config_weight"] = weight
    return labelled


def _largest_bound(
    entries: Sequence[Entry], error_model: ErrorModel | None, limits: UncertaintyLimits
) -> float:
    """Beyond which a simulation of the run would go back, eV/Å."""
    if error_model is None:
        return np.inf
    tolerance = automatic_tolerance(
        [entry.learned for entry in entries], error_model, limits, small_error=0.02
    )
    return np.inf if tolerance is None else limits.refuse * tolerance


def _difference(potential: Potential, frames: Sequence[Atoms]) -> Deviation:
    found = [label.forces_for("a comparison") for label in potential.predict(frames)]
    return Deviation.between(found, [atoms.get_forces() for atoms in frames])


def _in_mev(deviation: Deviation) -> str:
    return f"{1000 * deviation.mae:.1f}, {1000 * deviation.rmse:.1f} meV/Å"
