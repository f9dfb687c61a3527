"""The potential of a run: trained, kept on disk after every round, found again after a restart."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from ase import Atoms

from ase_bmdal.common.randomness import stream
from ase_bmdal.labelling.store import StoredLabel
from ase_bmdal.learner.events import EpochDone, Listener
from ase_bmdal.learner.folder import RunFolder, last_model
from ase_bmdal.learner.promotion import objection
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.trust import fit_uncertainty, predictions, rehearsal
from ase_bmdal.potential.files import read_model, save_model
from ase_bmdal.potential.fit import Epoch
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.training import train

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """How the potential of a round came about, and what was wrong with the first that was trained; see `Round`."""

    training: str
    objection: str


class Models:
    """The current potential and how it came about.

    Parameters
    ----------
    folder
        Where potentials are kept.
    settings
        How they are trained.
    model
        Potential to begin with.
    report
        Called after each epoch.

    Attributes
    ----------
    current
        The potential; None before there is one.
    version
        Grows whenever `current` changes.
    """

    def __init__(
        self, folder: RunFolder, settings: LearnerSettings, model: Potential | None, report: Listener
    ) -> None:
        self._folder, self._settings, self._report = folder, settings, report
        self.current = model
        self.version = 0
        self._notes: dict[str, Any] = {}

    def find(self) -> None:
        """Take the newest potential of the folder, unless the settings ask for another kind."""
        path = last_model(self._folder.path)
        if path is None:
            return
        model, notes = read_model(path)
        wanted = (self._settings.architecture, self._settings.combination.n_models, self._settings.seed)
        if (model.settings, len(model.members), notes["seed"]) != wanted:
            log.info("the settings of the potential in %s have changed: it is trained anew", path)
            return
        self.current, self._notes = model, notes
        self.version += 1

    def is_trained_on(self, labels: Sequence[StoredLabel], *, final: bool) -> bool:
        """Whether the current potential knows exactly these labels, and got its last training if it is due."""
        known = self._notes.get("label_ids") == [row.id for row in labels]
        return known and (not final or self._notes["final"] is True)

    @property
    def report(self) -> dict[str, Any] | None:
        """What was reported of the round after which the current potential was kept."""
        return self._notes.get("report")

    def train(
        self, labels: Sequence[StoredLabel], number: int, *, final: bool, frames: Sequence[Atoms] = ()
    ) -> Outcome:
        """Train on all labels, and take the new potential unless it is worse than the current one.

        Parameters
        ----------
        labels
            At least one.
        number
            Round.
        final
            Train from scratch; otherwise only if that is due.
        frames
            Of the simulation, to look for absurd forces beside the labels.

        Raises
        ------
        TrainingError
            As `train`.
        """
        before, notes = self.current, self._notes
        n_scratch = notes.get("n_scratch", 0)
        warm = before is not None and not final and len(labels) < self._settings.retraining.growth * n_scratch
        found = self._train(labels, number, before if warm else None)
        first = wrong = self._objection(found, labels, frames, number)
        if wrong and warm:
            log.warning("round %d: the potential is worse than before (%s): from scratch", number, wrong)
            warm, found = False, self._train(labels, number, None)
            wrong = self._objection(found, labels, frames, number)
        if wrong:
            log.warning(
                "round %d: the new potential is worse than before (%s): the old one stays", number, wrong
            )
        else:
            self.current = found
        self.calibrate(labels)
        self.version += 1
        self._notes = {
            "label_ids": [row.id for row in labels],
            "seed": self._settings.seed,
            "final": final,
            "n_scratch": n_scratch if warm else len(labels),
        }
        return Outcome("not promoted" if wrong else "warm" if warm else "from scratch", first or "")

    def _objection(
        self, found: Potential, labels: Sequence[StoredLabel], frames: Sequence[Atoms], number: int
    ) -> str | None:
        """What is worse than in the current potential, on the labels both were trained on."""
        if self.current is None:
            return None
        known = set(self._notes.get("label_ids", ()))
        earlier = [row.atoms for row in labels if row.id in known]
        rng = stream(self._settings.seed, "promotion", number)
        return objection(found, self.current, earlier, frames, self._settings.retraining.promotion, rng)

    def _train(self, labels: Sequence[StoredLabel], number: int, start: Potential | None) -> Potential:
        settings = self._settings
        held_out = [row.atoms for row in labels if self._is_held_out(row)]
        rest = [row.atoms for row in labels if not self._is_held_out(row)] or held_out
        how = settings.retraining.shortened(settings.training, len(rest)) if start else settings.training
        return train(
            rest,
            valid=held_out if held_out is not rest else None,
            seed=int(stream(settings.seed, "training", number).integers(2**31)),
            model=start,
            n_models=settings.combination.n_models,
            architecture=settings.architecture,
            training=how,
            atomic_energies=settings.atomic_energies,
            name_outliers=False,
            on_epoch=lambda epoch: self._report_epoch(number, epoch),
        )

    def rehearse(self, labels: Sequence[StoredLabel], number: int) -> dict[int, dict[str, Any]]:
        """Predictions for some of the first labels by a potential trained on the others, by number of the label.

        Without them there would be no bounds until the first round, and the youngest potential is the least to be
        trusted. It needs them before it is trained on all, from scratch.

        Raises
        ------
        TrainingError
            As `train`.
        """
        settings = self._settings
        known, unseen = rehearsal(labels)
        if not unseen:
            return {}
        model = train(
            [row.atoms for row in known],
            seed=int(stream(settings.seed, "rehearsal").integers(2**31)),
            n_models=settings.combination.n_models,
            architecture=settings.architecture,
            training=settings.training,
            atomic_energies=settings.atomic_energies,
            name_outliers=False,
            on_epoch=lambda epoch: self._report_epoch(number, epoch),
        )
        model = model.with_uncertainty(fit_uncertainty(model, known, settings.trust))
        found = predictions(model, [row.atoms for row in unseen])
        return {row.id: prediction for row, prediction in zip(unseen, found, strict=True)}

    def calibrate(self, labels: Sequence[StoredLabel]) -> None:
        """Find out how far to trust the current potential, which is trained on these labels."""
        trust = self._settings.trust
        if self.current is None:
            return
        known = fit_uncertainty(self.current, labels, trust) if trust.enabled else None
        self.current = self.current.with_uncertainty(known)

    @property
    def is_calibrated(self) -> bool:
        """Whether the current potential has the uncertainty that the settings ask for."""
        found, trust = self.current.uncertainty if self.current else None, self._settings.trust
        return (found.probability if found else None) == (trust.probability if trust.enabled else None)

    def keep(self, number: int, report: dict[str, Any]) -> None:
        """Write the current potential, with what it was trained on and the report of its round.

        Raises
        ------
        RunFolderError
            If it cannot be written.
        """
        if self.current is None:
            raise RuntimeError("expected a potential to keep: train it first")
        notes = {"round": number, **self._notes, "report": report}
        with self._folder.writing(self._folder.model_path(number)) as path:
            save_model(path, self.current, notes)
        self._notes = notes

    def _is_held_out(self, row: StoredLabel) -> bool:
        draw = stream(self._settings.seed, "held out", row.id).random()
        return bool(draw < self._settings.retraining.valid_fraction)

    def _report_epoch(self, number: int, epoch: Epoch) -> None:
        self._report(EpochDone(number, epoch.number, epoch.of, epoch.train_loss, epoch.valid_loss))
