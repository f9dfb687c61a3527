"""The learner: from a pool of structures to a better potential. Knows no simulation and no MPI."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.symbols import Symbols
from pydantic import TypeAdapter

from ase_bmdal.acquisition.candidates import candidates
from ase_bmdal.common.errors import BatchFailedError, UnknownElementError
from ase_bmdal.labelling.checks import refusal_before
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.learner.events import Event, Finished, Listener, Round
from ase_bmdal.learner.first_contact import first_structures
from ase_bmdal.learner.folder import RunFolder
from ase_bmdal.learner.labels import Labels, errors_before_training
from ase_bmdal.learner.models import Models
from ase_bmdal.learner.origin import check_origin, origin_of
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.structures.labels import has_label

log = logging.getLogger(__name__)


class Learner:
    """A potential, its labels, and the means to get more of them.

    Parameters
    ----------
    reference
        Function, class or `functools.partial` that makes an ASE calculator; called where a label is computed.
    directory
        Run folder; a run that is in it is taken up again.
    settings
        When and how much to learn.
    executor
        Where labels are computed: ``"local"``, ``"in-process"``, ``"mpi"`` or any `concurrent.futures.Executor`.
    labelling
        Limits on a reference calculation.
    initial
        Structures to begin with, labelled or not, instead of first contact.
    model
        Trained potential to begin with, of the architecture that the settings ask for.
    on_event
        Called with every `Event`.

    Attributes
    ----------
    reason_to_finish
        Why learning has ended; None while it has not.

    Raises
    ------
    LabellingError
        If the reference cannot be sent to a worker.
    RunFolderError, StoreError
        If the folder cannot be used.
    """

    def __init__(
        self,
        reference: Callable[[], Any],
        directory: Path,
        settings: LearnerSettings,
        *,
        executor: Any = "local",
        labelling: LabellingSettings | None = None,
        initial: Sequence[Atoms] | None = None,
        model: Potential | None = None,
        on_event: Listener | None = None,
    ) -> None:
        self.settings = settings
        self.limits = labelling or LabellingSettings()
        self.lock = threading.RLock()
        self._reference, self._initial, self._on_event = reference, initial, on_event
        scratch = Path(directory) / "scratch"
        self._labeller = Labeller(reference, scratch=scratch, executor=executor, settings=self.limits)
        self._folder = RunFolder(Path(directory))
        self._labels = Labels(self._folder.store, self._labeller, self._report)
        self._models = Models(self._folder, settings, model, self._report)
        self._seconds = dict.fromkeys(("select", "label", "train"), 0.0)
        self._is_taken_up = False
        self.reason_to_finish: str | None = None

    @property
    def directory(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def model(self) -> Potential | None:
        """Current potential; None before first contact."""
        return self._models.current

    @property
    def version(self) -> int:
        """Grows whenever the potential changes."""
        return self._models.version

    @property
    def is_learning(self) -> bool:
        """Whether rounds are still to come."""
        return self.reason_to_finish is None

    def _review(self) -> str | None:
        settings, rounds = self.settings, self._labels.next_round - 1
        if settings.max_labels is not None and len(self._labels.done) >= settings.max_labels:
            return f"the budget of {settings.max_labels} labels is spent"
        if settings.max_rounds is not None and rounds >= settings.max_rounds:
            return f"the budget of {settings.max_rounds} rounds is spent"
        wanted = settings.convergence
        recent = range(max(1, rounds - wanted.rounds + 1), rounds + 1)
        errors = [errors_before_training(self._labels.of_round(number)) for number in recent]
        if len(errors) == wanted.rounds and all(error and error[0] < wanted.force_mae for error in errors):
            return f"the force error before training was below {wanted.force_mae} eV/Å for {wanted.rounds} rounds"
        return None

    def prepare(self, atoms: Atoms) -> None:
        """Have a potential for a structure: take up the run that is in the folder, or make first contact.

        Raises
        ------
        RunFolderError
            If the folder holds another run.
        BatchFailedError
            If the reference fails for all first structures.
        UnknownElementError
            If an element is new and learning has ended.
        """
        if not self._is_taken_up:
            self._take_up(atoms)
        known = self.model.elements if self.model else ()
        unknown = sorted(set(atoms.numbers.tolist()) - set(known))
        if not unknown:
            return
        if self.model and not self.is_learning:
            raise UnknownElementError(
                f"expected only the elements the model was trained on ({Symbols(list(known))}), got also "
                f"{Symbols(unknown)}; they would be learned, but {self.reason_to_finish}"
            )
        self._make_contact(atoms)

    def learn(self, pool: Sequence[Atoms]) -> None:
        """One round: select a batch from a pool, label it, store it, train.

        Parameters
        ----------
        pool
            Frames to choose from; those that no reference could make sense of are left out.

        Raises
        ------
        BatchFailedError
            If no frame makes sense, or every calculation of the batch fails; says why.
        TrainingError, StoreError
            As `train` and `Labels.label`.
        """
        if self.model is None:
            raise RuntimeError("expected a potential before a round: prepare it first")
        number = self._labels.next_round
        frames = self._sensible(pool)
        with self._timing("select"):
            known = [row.atoms for row in self._labels.done]
            seed, combination = self.settings.seed, self.settings.combination
            choice = candidates(combination, self.model, frames, known, seed=seed, draw=number)
        wanted = self._batch_size()
        tried: list[int] = []
        labelled: list[int] = []
        # What fails is replaced by the next best, until as many again have been tried.
        while len(labelled) < wanted and len(tried) < 2 * wanted:
            with self._timing("select"):
                n = min(wanted - len(labelled), 2 * wanted - len(tried))
                picks = choice.pick(n, tried=tried, labelled=labelled)
            if not picks:
                break
            with self._timing("label"):
                chosen = [frames[index] for index in picks]
                succeeded = self._labels.label(chosen, number, "pool", self.model.predict(chosen))
            self._labels.refuse_if_all_failed(number)
            tried += picks
            labelled += [index for index, good in zip(picks, succeeded, strict=True) if good]
        self._train(number, len(pool))

    def close(self) -> None:
        """End what is running, and let other processes work in the folder."""
        self._labeller.close()
        self._folder.close()

    def _take_up(self, atoms: Atoms) -> None:
        origin = origin_of(self._reference, self._initial, atoms)
        check_origin(self.directory, self._folder.origin, origin)
        told = TypeAdapter(LearnerSettings).dump_python(self.settings, mode="json")
        self._folder.write_origin({**origin, "settings": told})
        self._is_taken_up = True
        self._models.find()
        with self._timing("label"):
            number = self._labels.finish_pending()
        if number is not None:
            self._labels.refuse_if_all_failed(number)
        self.reason_to_finish = self._review()
        if self._labels.done and not self._models.is_trained_on(
            self._labels.done, final=not self.is_learning
        ):
            self._train(self._labels.next_round - 1, pool=0)

    def _make_contact(self, atoms: Atoms) -> None:
        number = self._labels.next_round
        structures, source = (
            first_structures(atoms, self.settings.first_contact, self.settings.seed),
            "first contact",
        )
        if self._initial and number == 0:
            structures, source = list(self._initial), "initial"
        if labelled := [frame for frame in structures if has_label(frame)]:
            self._labels.keep(labelled, number, source)
        if missing := [frame for frame in structures if not has_label(frame)]:
            with self._timing("label"):
                self._labels.label(missing, number, source)
        self._labels.refuse_if_all_failed(number)
        self._train(number, pool=0)

    def _train(self, number: int, pool: int) -> None:
        self.reason_to_finish = reason = self._review()
        with self._timing("train"):
            self._models.train(self._labels.done, number, final=reason is not None)
        rows = self._labels.of_round(number)
        force_mae, force_rmse, energy_mae = errors_before_training(rows) or (None, None, None)
        done = len(self._labels.done)
        report = Round(
            round=number,
            labels=done,
            failed=sum(row.status == "failed" for row in self._labels.rows),
            new_labels=sum(row.status == "done" for row in rows),
            pool=pool,
            force_mae=force_mae,
            force_rmse=force_rmse,
            energy_mae=energy_mae,
            **{f"{part}_seconds": seconds for part, seconds in self._seconds.items()},
        )
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._folder.append_round(report)
        self._report(report)
        if reason:
            self._report(Finished(reason, done, number))

    def _sensible(self, pool: Sequence[Atoms]) -> list[Atoms]:
        refusals = [refusal_before(frame, self.limits) for frame in pool]
        frames = [frame for frame, refusal in zip(pool, refusals, strict=True) if refusal is None]
        if not frames:
            raise BatchFailedError(
                f"none of the {len(pool)} frames of the pool can be labelled: {refusals[0]}"
            )
        if len(frames) < len(pool):
            log.warning("%d of %d frames of the pool make no sense", len(pool) - len(frames), len(pool))
        return frames

    def _batch_size(self) -> int:
        limit = self.settings.max_labels
        left = self.settings.batch_size if limit is None else limit - len(self._labels.done)
        return min(self.settings.batch_size, left)

    @contextmanager
    def _timing(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - start

    def _report(self, event: Event) -> None:
        log.debug("%s", event)
        if isinstance(event, Round | Finished):
            log.info("%s", event)
        if self._on_event:
            self._on_event(event)
