"""The potentials of a run: trained, kept on disk after every round, found again after a restart."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ase import Atoms

from ase_bmdal.acquisition.kernel import Floats
from ase_bmdal.common.deviation import Deviation
from ase_bmdal.common.randomness import stream
from ase_bmdal.learner.initial_holdout import initial_holdout
from ase_bmdal.learner.known_features import known_features
from ase_bmdal.learner.loading import read_potential, save_potential
from ase_bmdal.learner.promotion import known_structures, objection
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.potential.fit import Epoch
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.training import train
from ase_bmdal.potential.with_baseline import known_by
from ase_bmdal.run.events import BaselineCompared, EpochDone, Listener
from ase_bmdal.run.folder import RunFolder, last_model
from ase_bmdal.run.store import Entry
from ase_bmdal.uncertainty.calibrate import automatic_tolerance, comparable, fit_error_model, predictions
from ase_bmdal.uncertainty.error_model import ErrorModel

log = logging.getLogger(__name__)

Train = Callable[..., Potential]


class Trained(NamedTuple):
    """A potential and what is known of its errors; replaced as a whole.

    Attributes
    ----------
    potential
        Immutable.
    error_model
        Gives bounds on its errors; None if nobody asked for them.
    tolerance
        Bound on a force error beyond which a frame is to be labelled, eV/Å; None while there are no bounds.
    generation
        Grows with each potential of a process.
    """

    potential: Potential
    error_model: ErrorModel | None
    tolerance: float | None
    generation: int


class Training(NamedTuple):
    """How the potential of a round came about, and what was wrong with the first that was trained; see `Round`."""

    training: str
    objection: str


class TrainingJob(NamedTuple):
    """What a training is to do; all that it depends on, besides the settings of the run.

    Attributes
    ----------
    number
        Round.
    entries
        Labels, at least one.
    final
        Whether the potential stays, as learning has ended: `Retraining.most_visits` does not hold then.
    frames
        Of the simulation, to look for absurd forces beside the labels.
    before
        Potential to go on from, and not to be worse than; None for none.
    label_ids
        Labels that it knows, by number.
    n_scratch
        Labels of the last training from scratch; None if that was elsewhere, on nobody knows how many.
    """

    number: int
    entries: Sequence[Entry]
    final: bool
    frames: Sequence[Atoms]
    before: Potential | None
    label_ids: Sequence[int]
    n_scratch: int | None


class TrainingResult(NamedTuple):
    """What a training gave.

    Attributes
    ----------
    number
        Round.
    potential, error_model, tolerance
        As in `Trained`.
    training
        How it came about.
    notes
        Of the model file.
    features : [n_entries, n_features]
        Of the labels, by the kernel of the selection; None if nobody computed them.
    """

    number: int
    potential: Potential
    error_model: ErrorModel | None
    tolerance: float | None
    training: Training
    notes: dict[str, Any]
    features: Floats | None = None


class PotentialTrainer:
    """Carries out trainings; knows no folder and no present potential.

    Parameters
    ----------
    settings
        How potentials are trained.
    report
        Called after each epoch.
    train
        Trains a potential; as `ase_bmdal.train`.
    """

    def __init__(self, settings: LearnerSettings, report: Listener, *, train: Train = train) -> None:
        self._settings, self._report, self._trains = settings, report, train

    def carry_out(self, job: TrainingJob) -> TrainingResult:
        """Train; changes nothing here.

        Raises
        ------
        TrainingError
            If the loss is not a number, or the labels cannot be learned from.
        """
        entries, number, before = job.entries, job.number, job.before
        warm = before is not None and not self._has_outgrown(job)
        found = self._train(job, before if warm else None)
        first = wrong = self._objection(found, job)
        if wrong and warm:
            log.warning("round %d: the potential is worse than before (%s): from scratch", number, wrong)
            warm, found = False, self._train(job, None)
            wrong = self._objection(found, job)
        if wrong and before and not _knows(before, entries):
            log.warning("round %d: the new potential is worse than before, but knows all elements", number)
            wrong = None
        if wrong and before:
            log.warning(
                "round %d: the new potential is worse than before (%s): the old one stays", number, wrong
            )
            found = before
        notes = {
            "label_ids": [entry.id for entry in entries],
            "seed": self._settings.seed,
            "final": job.final,
            "n_scratch": job.n_scratch if warm else len(entries),
        }
        baselines = [entry.baseline for entry in entries if entry.baseline]
        if baselines:
            found = found.of_difference(known_by([entry.atoms for entry in entries], baselines))
        error_model = self._fitted(found, entries)
        training = Training("not promoted" if wrong else "warm" if warm else "from scratch", first or "")
        return TrainingResult(
            number, found, error_model, self._tolerance(error_model, entries), training, notes
        )

    def described(self, result: TrainingResult, job: TrainingJob) -> TrainingResult:
        """The same with features of the labels, if another selection may compare with them.

        A selection computes them otherwise, and a simulation waits for it.
        """
        kernel = self._settings.acquisition.kernel
        if job.final or kernel.is_diagonal:
            return result
        features = known_features(kernel, result.potential, job.entries, self._settings.seed)
        return result._replace(features=features)

    def predict_held_out(self, entries: Sequence[Entry], number: int) -> dict[int, dict[str, Any]]:
        """Predictions for some of the initial labels by a potential trained on the others, by number of the label.

        Without them there would be no bounds until the first round, and the youngest potential is the least to be
        trusted. It needs them before it is trained on all, from scratch.

        Raises
        ------
        TrainingError
            If the loss is not a number, or the labels cannot be learned from.
        """
        limits = self._settings.uncertainty
        known, unseen = initial_holdout(entries, limits.recent)
        if not unseen:
            return {}
        potential = self._rehearsed(known, number)
        error_model = fit_error_model(potential, known, limits)
        found = predictions(potential, error_model, [entry.atoms for entry in unseen])
        return {entry.id: prediction for entry, prediction in zip(unseen, found, strict=True)}

    def compare_baseline(
        self, entries: Sequence[Entry], number: int, found: Mapping[int, Mapping[str, Any]]
    ) -> BaselineCompared | None:
        """Whether the baseline helps: the same labels, learned and predicted without it.

        Parameters
        ----------
        entries
            Initial labels.
        number
            Round.
        found
            What `predict_held_out` gave.

        Returns
        -------
        BaselineCompared or None
            None if there is no baseline, or nothing to compare.

        Raises
        ------
        TrainingError
            If the loss is not a number, or the labels cannot be learned from.
        """
        known, unseen = initial_holdout(entries, self._settings.uncertainty.recent)
        if not found or known[0].baseline is None:
            return None
        potential = self._rehearsed([entry.whole for entry in known], number)
        labels = potential.predict([entry.atoms for entry in unseen])
        return BaselineCompared(
            len(known),
            len(unseen),
            _force_mae([found[entry.id]["forces"] for entry in unseen], unseen),
            _force_mae([label.forces for label in labels], [entry.whole for entry in unseen]),
        )

    def _has_outgrown(self, job: TrainingJob) -> bool:
        """Whether there are so many labels that a training from scratch is due; never of a potential from elsewhere."""
        known = job.n_scratch
        return known is not None and len(job.entries) >= self._settings.retraining.growth * known

    def _fitted(self, potential: Potential, entries: Sequence[Entry]) -> ErrorModel | None:
        limits = self._settings.uncertainty
        return fit_error_model(potential, entries, limits) if limits.enabled else None

    def _tolerance(self, error_model: ErrorModel | None, entries: Sequence[Entry]) -> float | None:
        settings, limits = self._settings, self._settings.uncertainty
        if error_model is None or not error_model.is_calibrated or not limits.enabled:
            return None
        known = comparable(entries, settings.committee_size)
        own = automatic_tolerance(known, error_model, limits, settings.convergence.force_mae)
        return limits.force_tolerance or own

    def _objection(self, found: Potential, job: TrainingJob) -> str | None:
        """What is worse than in the potential before, on the labels both were trained on."""
        if job.before is None:
            return None
        known = set(job.label_ids)
        earlier = [entry.atoms for entry in job.entries if entry.id in known]
        rng = stream(self._settings.seed, "promotion", job.number)
        return objection(found, job.before, earlier, job.frames, self._settings.retraining.promotion, rng)

    def _train(self, job: TrainingJob, start: Potential | None) -> Potential:
        settings, entries, number = self._settings, job.entries, job.number
        held_out = [entry.atoms for entry in entries if self._is_held_out(entry)]
        rest = [entry.atoms for entry in entries if not self._is_held_out(entry)] or held_out
        how, retraining = settings.training, settings.retraining
        if not job.final:
            how = retraining.while_learning(how, len(rest))
        if start:
            how = retraining.warm_start(how, len(rest))
        seed = int(stream(settings.seed, "training", number).integers(2**31))
        valid = held_out if held_out is not rest else None
        start = start and start.of_difference(None)  # which is what the labels of a run are already
        return self._trained(rest, number, seed, valid=valid, model=start, training=how)

    def _rehearsed(self, entries: Sequence[Entry], number: int) -> Potential:
        """Trained on some of the initial labels."""
        settings = self._settings
        seed = int(stream(settings.seed, "rehearsal").integers(2**31))
        how = settings.retraining.while_learning(settings.training, len(entries))
        return self._trained([entry.atoms for entry in entries], number, seed, training=how)

    def _trained(self, structures: Sequence[Atoms], number: int, seed: int, **how: Any) -> Potential:
        settings = self._settings
        return self._trains(
            structures,
            seed=seed,
            n_models=settings.committee_size,
            architecture=settings.architecture,
            atomic_energies=settings.atomic_energies,
            name_outliers=False,
            on_epoch=lambda epoch: self._report_epoch(number, epoch),
            **how,
        )

    def _is_held_out(self, entry: Entry) -> bool:
        draw = stream(self._settings.seed, "held out", entry.id).random()
        return bool(draw < self._settings.retraining.valid_fraction)

    def _report_epoch(self, number: int, epoch: Epoch) -> None:
        self._report(EpochDone(number, epoch.number, epoch.of, epoch.train_loss, epoch.valid_loss))


def _knows(potential: Potential, entries: Sequence[Entry]) -> bool:
    """Whether a potential can be asked for all structures."""
    return len(known_structures([entry.atoms for entry in entries], potential)) == len(entries)


class PotentialHistory(PotentialTrainer):
    """The current potential and how it came about.

    Parameters
    ----------
    folder
        Where potentials are kept.
    settings
        How they are trained.
    report
        Called after each epoch.
    train
        Trains a potential; as `ase_bmdal.train`.

    Attributes
    ----------
    current
        The newest potential; None before there is one.
    """

    def __init__(
        self, folder: RunFolder, settings: LearnerSettings, report: Listener, *, train: Train = train
    ) -> None:
        super().__init__(settings, report, train=train)
        self._folder = folder
        self.current: Trained | None = None
        self._notes: dict[str, Any] = {}  # of the newest potential on disk
        self._unkept: dict[str, Any] = {}

    def begin(self, potential: Potential, error_model: ErrorModel | None) -> None:
        """Begin with a potential that was trained elsewhere: every round goes on from it."""
        self._notes = {"n_scratch": None}
        self._replace(potential, error_model, self._tolerance(error_model, ()))

    def find(self, entries: Sequence[Entry]) -> None:
        """Take the newest potential of the folder, unless the settings ask for another kind.

        Parameters
        ----------
        entries
            Labels of the run.
        """
        path = last_model(self._folder.path)
        if path is None:
            return
        potential, error_model, notes = read_potential(path)
        wanted = (self._settings.architecture, self._settings.committee_size, self._settings.seed)
        if (potential.settings, len(potential.members), notes["seed"]) != wanted:
            log.info("the settings of the potential in %s have changed: it is trained anew", path)
            return
        self._notes = notes
        self._replace(potential, error_model, self._tolerance(error_model, entries))
        if entries and not self._is_calibrated:
            self.calibrate(entries)

    def is_trained_on(self, ids: Sequence[int], *, final: bool) -> bool:
        """Whether the current potential knows exactly these labels, and got its last training if it is due."""
        known = self._notes.get("label_ids") == ids
        return known and (not final or self._notes["final"] is True)

    @property
    def n_known(self) -> int:
        """Labels that the current potential knows."""
        return len(self._notes.get("label_ids", ()))

    def job(
        self, entries: Sequence[Entry], number: int, *, final: bool, frames: Sequence[Atoms] = ()
    ) -> TrainingJob:
        """What a training from the current potential on is to do; see there."""
        return TrainingJob(
            number,
            entries,
            final,
            frames,
            self.current.potential if self.current else None,
            self._notes.get("label_ids", ()),
            self._notes.get("n_scratch", 0),
        )

    def train(
        self, entries: Sequence[Entry], number: int, *, final: bool, frames: Sequence[Atoms] = ()
    ) -> Training:
        """Train on all labels, and take the new potential unless it is worse than the current one; see `TrainingJob`.

        Raises
        ------
        TrainingError
            If the loss is not a number, or the labels cannot be learned from.
        """
        result = self.carry_out(self.job(entries, number, final=final, frames=frames))
        self.take(result)
        return result.training

    def take(self, result: TrainingResult) -> None:
        """Have what a training gave take the place of the current potential."""
        self._unkept = result.notes
        self._replace(result.potential, result.error_model, result.tolerance)

    def calibrate(self, entries: Sequence[Entry]) -> None:
        """Find out how far to trust the current potential, which is trained on these labels."""
        if self.current is not None:
            potential = self.current.potential
            error_model = self._fitted(potential, entries)
            self._replace(potential, error_model, self._tolerance(error_model, entries))

    def keep(self, number: int) -> None:
        """Write the current potential, with what it was trained on.

        Raises
        ------
        RunFolderError
            If it cannot be written.
        """
        if self.current is None:
            raise RuntimeError("expected a potential to keep: train it first")
        with self._folder.writing(self._folder.model_path(number)) as path:
            notes = {"round": number, **self._unkept}
            save_potential(path, self.current.potential, self.current.error_model, notes)
        self._notes = notes

    @property
    def _is_calibrated(self) -> bool:
        """Whether the current potential has the error model that the settings ask for."""
        found, limits = self.current.error_model if self.current else None, self._settings.uncertainty
        return (found.probability if found else None) == (limits.probability if limits.enabled else None)

    def _replace(self, potential: Potential, error_model: ErrorModel | None, tolerance: float | None) -> None:
        generation = self.current.generation + 1 if self.current else 1
        self.current = Trained(potential, error_model, tolerance, generation)


def _force_mae(predicted: Sequence[Any], entries: Sequence[Entry]) -> float:
    return Deviation.between(predicted, [entry.label.forces_for("an error") for entry in entries]).mae
