"""The learner: from a pool of structures to a better potential. Knows no simulation and no MPI."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary, finalize

from ase import Atoms
from ase.symbols import Symbols

from ase_bmdal.acquisition.candidates import candidates
from ase_bmdal.common.errors import BatchFailedError, LabellingError, UnknownElementError
from ase_bmdal.common.settings import plain
from ase_bmdal.labelling.checks import refusal_before
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.learner.budget import converged, labels_left, spent
from ase_bmdal.learner.events import LearningEnded, Listener, Reporter, Rewound, Round, SimulationEnded
from ase_bmdal.learner.first_contact import first_structures
from ase_bmdal.learner.folder import RunFolder
from ase_bmdal.learner.initial import prepared
from ase_bmdal.learner.labels import Labels, errors_before_training
from ase_bmdal.learner.models import Models
from ase_bmdal.learner.origin import check_origin, origin_of
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.trust import comparable, observed_coverage, own_tolerance, predictions
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.structures.dialects import LabelKeys
from ase_bmdal.structures.labels import KNOWN, Label, has_label, label_of
from ase_bmdal.structures.neighbours import check_geometry
from ase_bmdal.structures.outliers import outliers

log = logging.getLogger(__name__)

CLOSED = "the calculator is closed; make a new one"
TAKEN_OVER = "the calculator is closed: another one was made for its folder; images share one by calc.share()"
_open: WeakValueDictionary[Path, "Learner"] = WeakValueDictionary()
SPARE = 2  # failures in a row that are not yet taken for a reference that always fails


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
        Structures to begin with, labelled or not, instead of first contact. Results of our own potentials, or of a
        calculator that is known not to be the reference, are no labels.
    keys
        Names of their labels, where they are none of the known ones.
    model
        Trained potential to begin with, of the architecture that the settings ask for.
    told
        What else the run was told, by name, as JSON holds it; kept with the settings.
    on_event
        Called with every `Event`.

    Attributes
    ----------
    reason_to_finish
        Why learning has ended; None while it has not.

    Raises
    ------
    ValueError
        If an initial structure cannot be learned from, or `model` does not fit the selection.
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
        keys: LabelKeys = KNOWN,
        model: Potential | None = None,
        told: Mapping[str, Any] | None = None,
        on_event: Listener | None = None,
    ) -> None:
        _refuse_other_committee(settings, model)
        self.settings = settings
        self.limits = labelling or LabellingSettings()
        self.lock = threading.RLock()
        self._reference, self._report, self._told = reference, Reporter(on_event), dict(told or {})
        self._initial = None if initial is None else prepared(initial, keys, reference)
        scratch = Path(directory) / "scratch"
        self._labeller = Labeller(reference, scratch=scratch, executor=executor, settings=self.limits)
        finalize(self, self._labeller.close).atexit = False  # an exit kills the processes by itself
        _close_earlier(Path(directory))
        self._folder = RunFolder(Path(directory))
        _open[self._folder.path.resolve()] = self
        self._labels = Labels(self._folder.store, self._labeller, self._report)
        self._models = Models(self._folder, settings, model, self._report)
        self._seconds = dict.fromkeys(("select", "label", "train"), 0.0)
        self._is_taken_up = self._is_settled = False
        self._failed_contacts: dict[tuple[int, ...], str] = {}
        self._tolerance: tuple[int, float | None] | None = None
        self.reason_to_finish: str | None = None
        self._why_closed = CLOSED
        self._is_spent = False

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
    def tolerance(self) -> float | None:
        """Bound on a force error beyond which a frame is doubtful, eV/Å; None while there are no bounds."""
        uncertainty = self.model.uncertainty if self.model else None
        if not self.settings.trust.enabled or uncertainty is None or not uncertainty.is_calibrated:
            return None
        if self._tolerance is None or self._tolerance[0] != self.version:
            rows = comparable(self._labels.done, self.settings.combination.n_models)
            trust, small = self.settings.trust, self.settings.convergence.force_mae
            own = own_tolerance(rows, uncertainty, trust, small)
            self._tolerance = self.version, trust.force_tolerance or own
        return self._tolerance[1]

    @property
    def n_rounds(self) -> int:
        """Rounds so far, also before a restart; the initial labels are none."""
        return self._labels.n_rounds

    @property
    def is_learning(self) -> bool:
        """Whether rounds are still to come."""
        return self.reason_to_finish is None

    @property
    def can_learn(self) -> bool:
        """Whether a round is to be had for a frame that needs one: also after learning ended with nothing to learn."""
        return self.is_learning or not self._is_spent

    def prepare(self, atoms: Atoms) -> None:
        """Have a potential for a structure: take up the run that is in the folder, or make first contact.

        What an exception or Ctrl-C interrupted is finished first. A first contact that failed is not tried again.

        Raises
        ------
        ValueError
            If a position is not a number, or the first structure is one that no reference could make sense of.
        RunFolderError
            If the folder holds another run, or cannot be written to.
        BatchFailedError
            If the reference fails for all first structures.
        UnknownElementError
            If an element is new and a budget is spent.
        """
        if not self._is_settled and not self.is_closed:
            check_geometry(atoms)
            self._take_up()
            self._resume()
        if self._initial and not self._labels.done and not self.is_closed:
            self._make_contact((), self._initial, "initial")
        while unknown := self._unknown(atoms):
            if self.model and not self.can_learn:
                raise UnknownElementError(
                    f"expected only the elements the model was trained on ({Symbols(list(self.model.elements))}), "
                    f"got also {Symbols(list(unknown))}; they would be learned, but {self.reason_to_finish}"
                )
            refusal = refusal_before(atoms, self.limits)
            if refusal:
                raise ValueError(
                    f"expected a structure to begin with that can be labelled, got one where {refusal}"
                )
            structures = first_structures(atoms, self.settings.first_contact, self.settings.seed)
            self._make_contact(unknown, structures, "first contact")

    def learn(
        self, pool: Sequence[Atoms], urgent: Sequence[Atoms] = (), reason: str = "the pool is full"
    ) -> None:
        """One round: select a batch from a pool, label it, store it, train.

        Parameters
        ----------
        pool
            Frames to choose from; those that no reference could make sense of are left out.
        urgent
            Frames that are labelled in any case, before others are chosen.
        reason
            Why the round is due.

        Raises
        ------
        BatchFailedError
            If no frame makes sense, or every calculation fails and a whole batch of them in a row has; says why.
        LabellingError
            If the learner is closed.
        TrainingError, StoreError, RunFolderError
            As `train`, `Labels.label` and `Models.keep`.
        """
        self._require_open()
        if self.model is None:
            raise RuntimeError("expected a potential before a round: prepare it first")
        number = max(1, self._labels.next_round)
        self._is_settled = False
        first = self._sensible(urgent)[-self.settings.batch_size :]
        frames = [*first, *(frame for frame in self._sensible(pool) if frame not in first)]
        if not frames:
            raise BatchFailedError(
                f"none of the {len(pool) + len(urgent)} frames can be labelled: "
                f"{refusal_before([*urgent, *pool][0], self.limits)}"
            )
        self._label_best(frames, len(first), number)
        self._labels.refuse_if_all_failed(number, in_a_row=self.settings.batch_size)
        self._train(number, len(pool), reason, frames)
        self._is_settled = True

    def report_rewind(self, from_step: int, to_step: int, reason: str, rewinds: int) -> None:
        """Report that a simulation has gone back."""
        self._report(Rewound(from_step, to_step, reason, rewinds))

    def report_end(self, reason: str, steps: int, rewinds: int) -> None:
        """Report that a simulation has ended."""
        rows = self._labels.of_round(self._labels.next_round - 1)
        force_mae = (errors_before_training(rows) or (None,))[0]
        self._report(
            SimulationEnded(
                reason, steps, rewinds, len(self._labels.done), force_mae, observed_coverage(rows)
            )
        )

    def keep_last_trusted(self, frames: Sequence[Atoms]) -> Path:
        """Write the state that a simulation was set back to into the run folder.

        Raises
        ------
        RunFolderError
            If it cannot be written.
        """
        return self._folder.write_frames("last_trusted.traj", frames)

    def stop(self, reason: str) -> None:
        """Have the labelling or training that is under way end at once; may be called from a signal handler.

        What was labelled is kept, what was not stays to be done.

        Parameters
        ----------
        reason
            Text of the `SimulationStopped` that `learn` and `prepare` raise, now and from here on.
        """
        self._report.stop_reason = reason
        self._labeller.stop(reason)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed: then it only predicts."""
        return not self._folder.close.alive

    def close(self, reason: str = CLOSED) -> None:
        """End what is running, and let others work in the folder; the potential stays as it is.

        Parameters
        ----------
        reason
            Told to whoever wants it to learn again.
        """
        if self.is_closed:
            return
        self._labeller.close()
        self._folder.close()
        self._why_closed = reason
        self.reason_to_finish, self._is_spent = self.reason_to_finish or reason, True

    def __str__(self) -> str:
        state = "learning" if self.is_learning else "learning has ended"
        return f"{self.directory}: {len(self._labels.done)} labels, {'closed' if self.is_closed else state}"

    def _require_open(self) -> None:
        if self.is_closed:
            raise LabellingError(f"expected a learner that can learn, but {self._why_closed}")

    def _unknown(self, atoms: Atoms) -> tuple[int, ...]:
        known = self.model.elements if self.model else ()
        return tuple(sorted(set(atoms.numbers.tolist()) - set(known)))

    def _take_up(self) -> None:
        """Once: see that the folder holds this run, and find its last potential."""
        if self._is_taken_up:
            return
        origin = origin_of(self._reference, self._initial)
        if self._labels.done:  # a run that has none yet may begin otherwise
            check_origin(self.directory, self._folder.origin, origin)
        kept = {"settings": plain(self.settings), "labelling": plain(self.limits), **self._told}
        self._folder.write_origin({**origin, **kept})
        self._models.find()
        self._is_taken_up = True

    def _resume(self) -> None:
        """Finish what was begun: calculations, the training on their labels, the log."""
        with self._timing("label"):
            number = self._labels.finish_pending(labels_left(self.settings, self._labels))
        if number is not None:
            self._labels.refuse_if_all_failed(number, in_a_row=self.settings.batch_size if self.model else 1)
        self._see_if_it_ends()
        if self._labels.done:
            if not self._models.is_calibrated:
                self._models.calibrate(self._labels.done)
            if not self._models.is_trained_on(self._labels.done, final=not self.is_learning):
                self._train(self._labels.next_round - 1, pool=0, why="")
            elif (report := self._models.report) and report not in self._folder.rounds():
                self._folder.log_round(report)
        self._is_settled = True

    def _see_if_it_ends(self) -> str | None:
        budget = spent(self.settings, self._labels)
        self._is_spent = budget is not None
        self.reason_to_finish = budget or converged(self.settings, self._labels)
        return self.reason_to_finish

    def _make_contact(self, unknown: tuple[int, ...], structures: Sequence[Atoms], source: str) -> None:
        self._require_open()
        if unknown in self._failed_contacts:
            raise BatchFailedError(f"{self._failed_contacts[unknown]}\n(not tried again)")
        number = self._labels.next_round
        self._is_settled = False
        chosen, known = self._within_budget(structures)
        with self._timing("label"):
            self._labels.label(chosen, number, source, known=known)
        try:
            self._labels.refuse_if_all_failed(number)
        except BatchFailedError as error:
            self._failed_contacts[unknown] = str(error)
            raise
        self._train(number, 0, source)
        self._is_settled = True

    def _within_budget(self, structures: Sequence[Atoms]) -> tuple[list[Atoms], list[Label | None]]:
        """Structures with their labels; of those without, as many as may be labelled."""
        known = [label_of(atoms) if has_label(atoms) else None for atoms in structures]
        left = labels_left(self.settings, self._labels)
        if left is None:
            return list(structures), known
        left = max(0, left - sum(label is not None for label in known))
        missing = [index for index, label in enumerate(known) if label is None]
        kept = [index for index in range(len(known)) if index not in set(missing[left:])]
        return [structures[index] for index in kept], [known[index] for index in kept]

    def _label_best(self, frames: Sequence[Atoms], n_urgent: int, number: int) -> None:
        """Label a batch, first the urgent frames, which stand in front; what fails is replaced by the next best,
        until as many again have been tried.
        """
        if self.model is None:
            raise RuntimeError("expected a potential to choose with")
        with self._timing("select"):
            known = [row.atoms for row in self._labels.done]
            seed, combination = self.settings.seed, self.settings.combination
            choice = candidates(combination, self.model, frames, known, seed=seed, draw=number)
        left = labels_left(self.settings, self._labels)
        wanted = self.settings.batch_size if left is None else min(self.settings.batch_size, left)
        limit = wanted + max(wanted, SPARE)
        tried: list[int] = []
        labelled: list[int] = []
        while len(labelled) < wanted and len(tried) < limit and (labelled or len(tried) <= SPARE):
            with self._timing("select"):
                n = min(wanted - len(labelled), limit - len(tried))
                first = [] if tried else list(range(min(n, n_urgent)))
                others = choice.pick(n - len(first), tried=tried + first, labelled=labelled + first)
                picks = [*first, *others]
                chosen = [frames[index] for index in picks]
                before = self._predictions(chosen)
            if not picks:
                return
            with self._timing("label"):
                succeeded = self._labels.label(chosen, number, "pool", predictions=before)
            tried += picks
            labelled += [index for index, good in zip(picks, succeeded, strict=True) if good]

    def _predictions(self, frames: Sequence[Atoms]) -> list[dict[str, Any]]:
        if self.model is None:
            raise RuntimeError("expected a potential to predict with")
        return predictions(self.model, frames)

    def _train(self, number: int, pool: int, why: str, frames: Sequence[Atoms] = ()) -> None:
        reason = self._see_if_it_ends()
        self._name_outliers(number)
        with self._timing("train"):
            if self.settings.trust.enabled and self.model is None:
                self._labels.predict(self._models.rehearse(self._labels.done, number))
            outcome = self._models.train(self._labels.done, number, final=reason is not None, frames=frames)
        report = replace(self._summary(number, pool, why), **outcome._asdict())
        self._models.keep(number, asdict(report))
        self._folder.log_round(asdict(report))
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._report(report)
        if reason:
            self._report(LearningEnded(reason, report.labels, number, report.force_mae, report.coverage))

    def _name_outliers(self, number: int) -> None:
        """Say which labels of a round are far from their like: a calculation may fail in silence."""
        rows = self._labels.done
        found = outliers([row.atoms for row in rows], [label_of(row.atoms) for row in rows])
        for place, text in found.items():
            if rows[place].round == number:
                log.warning("label %d: %s", rows[place].id, text)

    def _summary(self, number: int, pool: int, why: str) -> Round:
        rows = self._labels.of_round(number)
        force_mae, force_rmse, energy_mae = errors_before_training(rows) or (None, None, None)
        # A round that is trained again, as after a restart with other settings, keeps what it was before.
        earlier = {line["round"]: line for line in self._folder.rounds()}.get(number, {})
        seconds = {f"{part}_seconds": value for part, value in self._seconds.items()}
        return Round(
            round=number,
            labels=len(self._labels.done),
            failed=sum(row.status == "failed" for row in self._labels.rows),
            new_labels=sum(row.status == "done" for row in rows),
            pool=pool or earlier.get("pool", 0),
            force_mae=force_mae,
            force_rmse=force_rmse,
            energy_mae=energy_mae,
            coverage=observed_coverage(rows),
            reason=why or earlier.get("reason", ""),
            **{name: value + earlier.get(name, 0.0) for name, value in seconds.items()},
        )

    def _sensible(self, pool: Sequence[Atoms]) -> list[Atoms]:
        refusals = [refusal_before(frame, self.limits) for frame in pool]
        frames = [frame for frame, refusal in zip(pool, refusals, strict=True) if refusal is None]
        if len(frames) < len(pool):
            log.warning("%d of %d frames make no sense", len(pool) - len(frames), len(pool))
        return frames

    @contextmanager
    def _timing(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - start


def _close_earlier(directory: Path) -> None:
    """Close the learner of this process that works in the folder, as when a cell of a notebook is run again.

    One that is at work in another thread is left alone, and the folder in use.
    """
    earlier = _open.get(directory.resolve())
    if earlier is None or earlier.is_closed or not earlier.lock.acquire(blocking=False):
        return
    try:
        log.warning("the calculator that was made before for %s is closed", directory)
        earlier.close(TAKEN_OVER)
    finally:
        earlier.lock.release()


def _refuse_other_committee(settings: LearnerSettings, model: Potential | None) -> None:
    wanted = settings.combination.n_models
    if model and len(model.members) != wanted:
        raise ValueError(
            f"model: expected one of {wanted} network{'s' * (wanted > 1)} for the selection "
            f"{settings.combination}, got one of {len(model.members)}"
        )
