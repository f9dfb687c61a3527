"""The learner: asked for structures to label, told what they came to. Knows no simulation, process or clock."""

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ase import Atoms

from ase_bmdal.acquisition.ranking import Ranking, rank
from ase_bmdal.common.errors import BatchFailedError, LabellingError
from ase_bmdal.common.randomness import stream
from ase_bmdal.common.settings import plain
from ase_bmdal.labelling.outcome import Outcome
from ase_bmdal.labelling.worker.checks import refusal_before
from ase_bmdal.learner.batch import Batch
from ase_bmdal.learner.budget import converged, labels_left, spent
from ase_bmdal.learner.known_features import KnownFeatures
from ase_bmdal.learner.phase import Phase, phase
from ase_bmdal.learner.pool import Frame, Pool
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.training import PotentialHistory, Train, Trained, TrainingJob, TrainingResult
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.training import train
from ase_bmdal.run.dataset import Dataset
from ase_bmdal.run.events import Cause, Event, Listener, Round
from ase_bmdal.run.folder import RunFolder
from ase_bmdal.run.history import History
from ase_bmdal.run.identity import check_identity
from ase_bmdal.run.store import Entry
from ase_bmdal.structures.labels import Label, labels_carried
from ase_bmdal.structures.outliers import outliers
from ase_bmdal.structures.same import exact_changes
from ase_bmdal.uncertainty.calibrate import observed_coverage, predictions
from ase_bmdal.uncertainty.error_model import ErrorModel

log = logging.getLogger(__name__)

KNOWN = "labels"  # that the potential of a prediction was trained on
CLOSED = "the calculator is closed; make a new one"


class Request(NamedTuple):
    """Why a round is due.

    Attributes
    ----------
    cause, reason
        Why, and the same in words.
    required
        Frames that are labelled in any case, before others are chosen.
    walker
        Name of the simulation that asks.
    """

    cause: Cause = Cause.REQUESTED
    reason: str = ""
    required: Sequence[Frame] = ()
    walker: str = ""


class Task(NamedTuple):
    """A structure to label, with the number that its outcome is told by."""

    id: int
    atoms: Atoms


class Learner:
    """A potential, its labels, and which labels it wants next.

    All that it is, is in its folder: `phase` says what is to be done next, before and after a restart. A loop asks for
    tasks, tells their outcomes, and has it trained:

        tasks = learner.ask(request)
        while tasks:
            tasks = learner.tell(outcomes of tasks)
        learner.train()

    Parameters
    ----------
    folder
        Run folder; a run that is in it is taken up again.
    settings
        When and how much to learn.
    identity
        What must be the same when a run is taken up again, by name.
    told
        What else the run was told, by name, as JSON holds it; kept with the settings.
    potential, error_model
        Trained potential to begin with, of the architecture that the settings ask for, and what is known of its errors.
    report
        Called after each epoch of a training, and with what the first labels say of a baseline.
    train
        Trains a potential; as `ase_bmdal.train`.

    Attributes
    ----------
    dataset
        Labels of the run.
    reason_to_finish
        Why learning has ended; None while it has not.

    Raises
    ------
    ValueError
        If `potential` does not fit the selection.
    RunFolderError, StoreError
        If the folder holds another run, or cannot be used.
    """

    def __init__(
        self,
        folder: RunFolder,
        settings: LearnerSettings,
        *,
        identity: Mapping[str, str] | None = None,
        told: Mapping[str, Any] | None = None,
        potential: Potential | None = None,
        error_model: ErrorModel | None = None,
        report: Listener = lambda event: None,
        train: Train = train,
    ) -> None:
        refuse_other_committee(settings, potential)
        self.settings, self._folder, self._report = settings, folder, report
        self.dataset = Dataset(folder.store)
        if self.dataset.done:  # a run that has none yet may begin otherwise
            check_identity(folder.path, folder.told, dict(identity or {}))
        folder.write_settings({**(identity or {}), "settings": plain(settings), **(told or {})})
        self._pool = Pool(settings.pool_size, first=min(2 * settings.batch_size, settings.pool_size))
        self._potentials = PotentialHistory(folder, settings, report, train=train)
        if potential is not None:
            self._potentials.begin(potential, error_model)
        self._potentials.find(self.dataset.done)
        self._batch: Batch | None = None  # the newest
        self._waiting: list[Batch] = []
        self._rng = stream(settings.seed, "pool")
        self._features = KnownFeatures(settings.acquisition.kernel, settings.seed)
        self._why_closed = ""
        self.reason_to_finish: str | None = None
        self._see_if_it_ends()

    @property
    def directory(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def current(self) -> Trained | None:
        """The potential with what is known of its errors, replaced as a whole; None before there is one."""
        return self._potentials.current

    @property
    def potential(self) -> Potential | None:
        """Current potential; None before there is one."""
        return self.current.potential if self.current else None

    @property
    def generation(self) -> int:
        """Grows whenever the potential changes; 0 before there is one."""
        return self.current.generation if self.current else 0

    @property
    def n_rounds(self) -> int:
        """Rounds so far, also before a restart; the initial labels are none."""
        return self.dataset.n_rounds

    @property
    def is_learning(self) -> bool:
        """Whether rounds are still to come."""
        return self.reason_to_finish is None

    @property
    def can_learn(self) -> bool:
        """Whether a round is to be had for a frame that needs one: also after learning ended with nothing to learn."""
        return self.is_learning or not (self._why_closed or spent(self.settings, self.dataset))

    @property
    def phase(self) -> Phase:
        """What is to be done next, if nobody is at it."""
        return self.phase_besides(())

    def phase_besides(self, in_flight: Container[int]) -> Phase:
        """What is to be done next, besides what somebody works on already."""
        return phase(
            n_pending=len(self.pending(in_flight)),
            n_done=len(self.dataset.done),
            has_potential=self.current is not None,
            is_trained=self._potentials.is_trained_on(self.dataset.done_ids, final=not self.is_learning),
            has_ended=not self.is_learning,
        )

    @property
    def n_new(self) -> int:
        """Labels that the potential does not know."""
        return len(self.dataset.done) - self._potentials.n_known

    def is_enough(self, round: int, quorum: float) -> bool:
        """Whether so large a part of the calculations of a round have ended, those that were replaced not counted."""
        entries = self.dataset.of_round(round)
        n_pending = sum(entry.status == "pending" for entry in entries)
        n_failed = sum(entry.status == "failed" for entry in entries)
        return n_pending <= (1 - quorum) * (len(entries) - n_failed) + 1e-9

    @property
    def pool_is_full(self) -> bool:
        """Whether a round is due for the frames in the pool."""
        return self._pool.is_full(self.n_rounds)

    @property
    def has_frames(self) -> bool:
        """Whether there are frames in the pool."""
        return bool(self._pool.frames)

    def offer(self, frame: Frame) -> None:
        """Take a frame into the pool, if there is room and it may still be of use, also when learning starts again."""
        if self.can_learn:
            self._pool.offer(frame, self.n_rounds)

    def offer_again(self, frame: Callable[[], Frame]) -> None:
        """Take a frame also into a full pool, by chance and in the place of another; it is made only if it is taken."""
        if not self.pool_is_full:
            self.offer(frame())
        elif self.can_learn:
            self._pool.replace(frame, self._rng)

    def pending(self, in_flight: Container[int] = ()) -> list[Task]:
        """What was asked for and not told yet, and nobody works on; as much of it as the budget allows."""
        left = labels_left(self.settings, self.dataset)
        entries = self.dataset.pending[:left]
        return [Task(entry.id, entry.atoms) for entry in entries if entry.id not in in_flight]

    @property
    def labels_to_ask_for(self) -> int:
        """How many of a batch the budget allows besides those that are pending."""
        left = labels_left(self.settings, self.dataset)
        batch_size = self.settings.batch_size
        return batch_size if left is None else max(0, min(batch_size, left - len(self.dataset.pending)))

    def unknown_elements(self, atoms: Atoms) -> tuple[int, ...]:
        """Atomic numbers in a structure that the potential does not know."""
        known = self.potential.elements if self.potential else ()
        return tuple(sorted(set(atoms.numbers.tolist()) - set(known)))

    def begin(
        self,
        structures: Sequence[Atoms],
        cause: Cause,
        source: str,
        walker: str = "",
        labels: Sequence[Label | None] | None = None,
    ) -> list[Task]:
        """Take structures to begin with, in one commit; those that have no label yet are to be labelled.

        Parameters
        ----------
        structures
            Labelled or not; of those that are not, as many as the budget allows are taken.
        cause
            Why they are labelled.
        source
            Where they come from.
        walker
            Name of the simulation they were made for.
        labels
            Label of each, or None for one that has none; None takes those that the structures carry.

        Returns
        -------
        list of Task
            What is to be labelled.

        Raises
        ------
        LabellingError
            If the learner is closed.
        StoreError
            If they cannot be written; nothing has changed then.
        """
        self._require_open()
        known = labels_carried(structures) if labels is None else labels
        kept = self._within_budget(known)
        chosen = [structures[index] for index in kept]
        entries = self.dataset.add(
            chosen,
            round=self.dataset.next_round,
            source=source,
            cause=cause,
            walkers=[walker] * len(chosen),
            records=[known[index] for index in kept],
        )
        self._see_if_it_ends()
        return [Task(entry.id, entry.atoms) for entry in entries if entry.status == "pending"]

    def ask(self, request: Request) -> list[Task]:
        """Choose a batch from the required frames and the pool, and write it as pending in one commit.

        What is pending already counts as known. The pool is empty afterwards, also after an error: what ended in one
        would end in it again.

        Returns
        -------
        list of Task
            What is to be labelled.

        Raises
        ------
        BatchFailedError
            If no frame makes sense.
        LabellingError
            If the learner is closed.
        StoreError
            If it cannot be written; nothing has changed then.
        """
        self._require_open()
        if not self.labels_to_ask_for:
            return []
        pool = self._pool.empty()
        if self.potential is None:
            raise RuntimeError("expected a potential before a round: prepare it first")
        newest_first = self._unknown(self._sensible(request.required))[::-1]
        required = newest_first[: self.settings.batch_size][::-1]
        others = [*newest_first[len(required) :], *self._sensible(pool)]
        frames = [*required, *(frame for frame in others if frame not in required)]
        if not frames:
            given = [*request.required, *pool]
            raise BatchFailedError(
                f"none of the {len(given)} frames can be labelled: "
                f"{refusal_before(given[0].atoms, self.settings.labelling)}"
            )
        number = max(1, self.dataset.next_round)
        self._batch = Batch(
            frames,
            len(required),
            self._rank([frame.atoms for frame in frames], number),
            self.labels_to_ask_for,
            round=number,
            cause=request.cause,
            reason=request.reason,
            walker=request.walker,
            n_pool=len(pool),
        )
        return self._next_tasks(self._batch)

    def tell(self, outcomes: Mapping[int, Outcome], *, at_once: bool = False) -> list[Task]:
        """Write what tasks came to, in one commit.

        Parameters
        ----------
        outcomes
            By number of the task.
        at_once
            Whether a failure is replaced as soon as it is known, and not once all of its batch is known.

        Returns
        -------
        list of Task
            The next best in place of what failed.

        Raises
        ------
        StoreError
            If it cannot be written; all that was written before is still there.
        """
        self.dataset.finish(outcomes)
        self._see_if_it_ends()
        following = []
        for batch in [each for each in self._waiting if any(map(each.holds, outcomes))]:
            for id in outcomes:
                batch.told(id, is_done=self.dataset.status(id) == "done")
            if at_once or not batch.is_waiting:
                following += self._next_tasks(batch)
        self._waiting = [batch for batch in self._waiting if batch.is_waiting]
        return following

    def refuse_if_all_failed(self, in_a_row: int = 1) -> None:
        """Stop if the last round brought failures and not one label.

        Parameters
        ----------
        in_a_row
            So many calculations at least have to have failed one after the other, those of earlier rounds included.

        Raises
        ------
        BatchFailedError
            With the reasons, each once.
        """
        number = self.dataset.next_round - 1
        entries = [entry for entry in self.dataset.of_round(number) if entry.status != "pending"]
        if not entries or any(entry.status == "done" for entry in entries):
            return
        newest_first = (entry.status for entry in reversed(self.dataset.entries) if entry.status != "pending")
        if sum(1 for _ in takewhile(lambda status: status == "failed", newest_first)) < in_a_row:
            return
        raise _all_failed(entries, f"of round {number}")

    def refuse_failures(self, ids: Sequence[int]) -> None:
        """Stop because calculations failed one after the other, in whichever rounds.

        Raises
        ------
        BatchFailedError
            With the reasons, each once.
        """
        raise _all_failed(self.dataset.some(ids), "in a row")

    def train(self, seconds: Callable[[], Mapping[str, float]] = dict) -> Round:
        """Train on all labels, note the round in the journal, and keep the potential.

        Parameters
        ----------
        seconds
            Time taken so far by ``select``, ``label`` and ``train``, for the journal.

        Returns
        -------
        Round
            What is noted.

        Raises
        ------
        TrainingError
            If the loss is not a number, or the labels cannot be learned from.
        StoreError, RunFolderError
            If it cannot be written.
        """
        return self.take(self._potentials.carry_out(self.training_job()), seconds())

    def training_job(self) -> TrainingJob:
        """What a training is to do: all labels there are, from the present potential on or anew.

        Before there is a potential, some labels are predicted by one that is trained on the others, which takes as
        long as a training.

        Raises
        ------
        TrainingError
            If the loss is not a number, or the labels cannot be learned from.
        StoreError
            If it cannot be written.
        """
        number, done = self.dataset.next_round - 1, self.dataset.done
        self._name_outliers(number)
        if self.settings.uncertainty.enabled and self.current is None:
            held_out = self._potentials.predict_held_out(done, number)
            compared = self._potentials.compare_baseline(done, number, held_out)
            if compared:
                self._folder.note(compared)
                self._report(compared)
            self.dataset.record_predictions(held_out)
        frames = [frame.atoms for frame in self._batch.frames] if self._batch else []
        return self._potentials.job(
            list(self.dataset.done), number, final=not self.is_learning, frames=frames
        )

    def take(self, result: TrainingResult, seconds: Mapping[str, float] = MappingProxyType({})) -> Round:
        """Note what a training gave in the journal, keep its potential, and use it from here on.

        Parameters
        ----------
        result
            What `training_job` came to, in this process or another.
        seconds
            Time taken by ``select``, ``label`` and ``train``, for the journal.

        Returns
        -------
        Round
            What is noted.

        Raises
        ------
        StoreError, RunFolderError
            If it cannot be written.
        """
        noted = self._noted()
        report = replace(self._summary(result.number, seconds, noted), **result.training._asdict())
        self._potentials.take(result)
        if result.features is not None:
            self._features.take(result.notes["label_ids"], result.features, self.generation)
        with_labels = {entry.round for entry in self.dataset.done if entry.round < result.number}
        for number in sorted(
            with_labels - noted.keys()
        ):  # as in the background, without a training of their own
            self._folder.note(self._summary(number, {}, noted))
        self._folder.note(report)  # first: a kill in between repeats the training, and nothing is missing
        self._potentials.keep(result.number)
        return report

    def skip_training(self, seconds: Mapping[str, float] = MappingProxyType({})) -> Round:
        """Note a round in the journal that brought no label."""
        report = self._summary(self.dataset.next_round - 1, seconds, self._noted())
        self._folder.note(report)
        return report

    def note(self, event: Event) -> None:
        """Add an event to the journal."""
        self._folder.note(event)

    def keep_last_trusted(self, frames: Sequence[Atoms]) -> Path:
        """Write the state that a simulation was set back to into the run folder.

        Raises
        ------
        RunFolderError
            If it cannot be written.
        """
        return self._folder.write_frames("last_trusted.traj", frames)

    def _noted(self) -> dict[int, Round]:
        """Rounds that are in the journal, by number."""
        return {each.round: each for each in History.read(self.directory).rounds}

    def _summary(self, number: int, seconds: Mapping[str, float], noted: Mapping[int, Round]) -> Round:
        """A round, in numbers."""
        entries = self.dataset.of_round(number)
        force_mae, force_rmse, energy_mae = self.dataset.errors_before_training(number) or (None, None, None)
        batch = self._batch if self._batch and self._batch.round == number else None
        # A round that is trained again, as after a restart with other settings, keeps what it was before.
        earlier = noted.get(number)
        return Round(
            round=number,
            labels=len(self.dataset.done),
            failed=self.dataset.n_failed,
            new_labels=sum(entry.status == "done" for entry in entries),
            pool=batch.n_pool if batch else earlier.pool if earlier else 0,
            force_mae=force_mae,
            force_rmse=force_rmse,
            energy_mae=energy_mae,
            coverage=observed_coverage(entries),
            trained_on=next(
                (entry.prediction[KNOWN] for entry in entries if KNOWN in entry.prediction), None
            ),
            cause=entries[0].cause if entries else Cause.UNKNOWN,
            reason=batch.reason if batch else earlier.reason if earlier else _source(entries),
            walker=batch.walker if batch else earlier.walker if earlier else "",
            select_seconds=seconds.get("select", 0.0) + (earlier.select_seconds if earlier else 0.0),
            label_seconds=seconds.get("label", 0.0) + (earlier.label_seconds if earlier else 0.0),
            train_seconds=seconds.get("train", 0.0) + (earlier.train_seconds if earlier else 0.0),
        )

    @property
    def is_closed(self) -> bool:
        """Whether it was closed: then it only predicts."""
        return bool(self._why_closed)

    def close(self, reason: str = CLOSED) -> None:
        """Let others work in the folder; the potential stays as it is.

        Parameters
        ----------
        reason
            Told to whoever wants it to learn again.
        """
        if not self.is_closed:
            self._folder.close()
            self._why_closed = reason
            self.reason_to_finish = self.reason_to_finish or reason

    def __str__(self) -> str:
        state = "closed" if self.is_closed else "learning" if self.is_learning else "learning has ended"
        return f"{self.directory}: {len(self.dataset.done)} labels, {state}"

    def _require_open(self) -> None:
        if self.is_closed:
            raise LabellingError(f"expected a learner that can learn, but {self._why_closed}")

    def _see_if_it_ends(self) -> None:
        if self.dataset.done or self.current:
            budget = spent(self.settings, self.dataset)
            self.reason_to_finish = budget or converged(self.settings, self.dataset)

    def _within_budget(self, known: Sequence[Label | None]) -> list[int]:
        """Places of structures that have a label, and of as many of the others as may be labelled."""
        left = labels_left(self.settings, self.dataset)
        missing = [index for index, label in enumerate(known) if label is None]
        if left is not None:
            left -= len(self.dataset.pending) + len(known) - len(missing)
            missing = missing[max(0, left) :]
            return [index for index in range(len(known)) if index not in set(missing)]
        return list(range(len(known)))

    def _next_tasks(self, batch: Batch) -> list[Task]:
        picks = batch.next()
        if not picks or self.current is None:
            return []
        chosen = [batch.frames[index] for index in picks]
        structures = [frame.atoms for frame in chosen]
        entries = self.dataset.add(
            structures,
            round=batch.round,
            source="pool",
            cause=batch.cause,
            walkers=[frame.walker for frame in chosen],
            predictions=[
                each | {KNOWN: self._potentials.n_known}
                for each in predictions(self.current.potential, self.current.error_model, structures)
            ],
        )
        batch.wait_for([entry.id for entry in entries], picks)
        if batch not in self._waiting:
            self._waiting.append(batch)
        return [Task(entry.id, entry.atoms) for entry in entries]

    def _rank(self, pool: Sequence[Atoms], number: int) -> Ranking:
        current = self.current
        if current is None:
            raise RuntimeError("expected a potential before a round: prepare it first")
        known = sorted([*self.dataset.done, *self.dataset.pending], key=attrgetter("id"))
        return rank(
            self.settings.acquisition,
            current.potential,
            pool,
            [entry.atoms for entry in known],
            seed=self.settings.seed,
            draw=number,
            features=lambda _: self._features.of(known, current.potential, current.generation),
        )

    def _sensible(self, frames: Sequence[Frame]) -> list[Frame]:
        refusals = [refusal_before(frame.atoms, self.settings.labelling) for frame in frames]
        sensible = [frame for frame, refusal in zip(frames, refusals, strict=True) if refusal is None]
        if len(sensible) < len(frames):
            log.warning("%d of %d frames make no sense", len(frames) - len(sensible), len(frames))
        return sensible

    def _unknown(self, frames: list[Frame]) -> list[Frame]:
        """Frames that were not asked for before; all of them if there are no others."""
        asked = {_place(entry.atoms): entry.atoms for entry in (*self.dataset.done, *self.dataset.pending)}
        known = [asked.get(_place(frame.atoms)) for frame in frames]
        return [
            frame
            for frame, atoms in zip(frames, known, strict=True)
            if atoms is None or exact_changes(atoms, frame.atoms) or atoms.info != frame.atoms.info
        ] or frames

    def _name_outliers(self, number: int) -> None:
        """Say which labels of a round are far from their like: a calculation may fail in silence."""
        entries = self.dataset.done
        found = outliers([entry.atoms for entry in entries], [entry.label for entry in entries])
        for index, text in found.items():
            if entries[index].round == number:
                log.warning("label %d: %s", entries[index].id, text)


def _place(atoms: Atoms) -> bytes:
    return bytes(atoms.positions.tobytes())


def refuse_other_committee(settings: LearnerSettings, potential: Potential | None) -> None:
    """Refuse a potential of another number of networks than the run trains.

    Raises
    ------
    ValueError
        Saying how many it needs.
    """
    wanted = settings.committee_size
    if potential and len(potential.members) != wanted:
        raise ValueError(
            f"model: expected one of {wanted} network{'s' * (wanted > 1)} for the selection "
            f"{settings.acquisition}, got one of {len(potential.members)}"
        )


def _all_failed(entries: Sequence[Entry], which: str) -> BatchFailedError:
    reasons = dict.fromkeys(f"{entry.error_class}: {entry.error_text}" for entry in entries)
    places = next((f"; see {entry.scratch}" for entry in entries if entry.scratch), "")
    return BatchFailedError(
        f"all {len(entries)} reference calculations {which} failed{places}:\n" + "\n".join(reasons)
    )


def _source(entries: Sequence[Entry]) -> str:
    return entries[0].source if entries else ""
