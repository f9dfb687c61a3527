"""How the learner gets its labels: loops between it, the labeller, and the simulations that wait."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary, finalize

from ase import Atoms
from ase.symbols import Symbols

from ase_bmdal.baseline.baseline import Baseline
from ase_bmdal.baseline.check import check_baseline
from ase_bmdal.common.errors import BatchFailedError, UnknownElementError
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.outcome import Outcome
from ase_bmdal.labelling.worker.checks import refusal_before
from ase_bmdal.learner.differences import with_baselines
from ase_bmdal.learner.initial import initial_structures
from ase_bmdal.learner.learner import CLOSED, Learner, Request, Task
from ase_bmdal.learner.phase import Phase
from ase_bmdal.learner.pool import Frame
from ase_bmdal.run.events import Cause, Event, LabelDone, LearningEnded, Reporter, Round, TakenOver
from ase_bmdal.structures.labels import labels_carried
from ase_bmdal.structures.neighbours import check_geometry

log = logging.getLogger(__name__)

TAKEN_OVER = "the calculator is closed: another one was made for its folder; images share one by calc.share()"
TICK = 0.2  # seconds between two looks whether to stop
_open: WeakValueDictionary[Path, "Loop"] = WeakValueDictionary()


class Ticket(Protocol):
    """What a simulation that does not wait was promised."""

    @property
    def is_learned(self) -> bool:
        """Whether the present potential knows what was asked for."""


class Loop(ABC):
    """What all loops have in common: how a run begins, goes on after a restart, and ends.

    Parameters
    ----------
    learner
        What is asked and told.
    labeller
        Where labels come from.
    report
        Gets events, and is asked to stop.
    initial
        Structures to begin with, labelled or not; None makes some from the first frame.
    baseline
        What the potential learns the difference to; None for nothing.

    Attributes
    ----------
    lock
        Held while a round is done.
    is_working
        Whether a round is being done, for whichever simulation, and no other can be asked for.
    lead
        Force calls for which a simulation may go on with forces that it doubts.
    pause
        Called between two looks at what has come, by a simulation that waits, without the lock.
    """

    lead = 0

    def __init__(
        self,
        learner: Learner,
        labeller: Labeller,
        report: Reporter,
        initial: Sequence[Atoms] | None = None,
        *,
        baseline: Baseline | None = None,
    ) -> None:
        self.learner, self.baseline, self.lock = learner, baseline, threading.RLock()
        self._labeller, self._report, self._initial = labeller, report, initial
        self.is_working = False
        self._bell = threading.Event()  # rung when something has come
        self.pause: Callable[[], object] = self.wait_for_arrivals
        self._flight = labeller.in_flight(self._bell.set)
        self._quorum = learner.settings.labelling.quorum or 1.0
        self._failed: dict[tuple[int, ...], str] = {}  # beginnings that failed, and are not tried again
        self._seconds, self._start = dict.fromkeys(("select", "label", "train"), 0.0), 0.0
        finalize(self, labeller.close).atexit = False  # an exit kills the processes by itself
        _open[learner.directory.resolve()] = self

    def prepare(self, atoms: Atoms, walker: str = "") -> None:
        """Have a potential that knows a structure; finish first what an exception, Ctrl-C or a kill interrupted.

        Parameters
        ----------
        atoms
            Structure.
        walker
            Name of the simulation it is a frame of.

        Raises
        ------
        ValueError
            If a position is not a number, or the first structure is one that no reference could make sense of.
        BatchFailedError
            If the reference fails for all structures to begin with; they are not tried again.
        UnknownElementError
            If an element is new and a budget is spent.
        BaselineError
            If the baseline fails for structures to begin with.
        Error
            As `round`.
        """
        if self._is_ready(atoms):
            return
        with self._working():
            check_geometry(atoms)
            if not self.learner.is_closed:
                self._advance()
                if self._initial and not self.learner.dataset.done:
                    self._begin((), self._initial, Cause.INITIAL, "initial", walker)
            while unknown := self.learner.unknown_elements(atoms):
                self._begin_with(atoms, unknown, walker)

    @abstractmethod
    def round(self, request: Request, generation: int, look: Callable[[], object] = bool) -> bool:
        """One round: have a batch chosen, label it, train; returns when that is done.

        Parameters
        ----------
        request
            Why it is due.
        generation
            Potential that the request comes from. If there is a newer one by now, as after the round of another
            simulation, there is no round.
        look
            Called now and then while others work and this simulation waits; what it raises ends the waiting.

        Returns
        -------
        bool
            Whether there was one.

        Raises
        ------
        BatchFailedError
            If no frame makes sense, or every calculation fails and a whole batch of them in a row has; says why.
        LabellingError
            If the learner is closed, or the executor loses calculations.
        SimulationStopped
            After `stop`.
        TrainingError, StoreError, RunFolderError
            As `Learner.train` and `Learner.tell`.
        """

    def request(self, request: Request, generation: int) -> Ticket | None:
        """As `round`, for a simulation that can go on; a ticket, if it does not wait here for what it asks for."""
        self.round(request, generation)
        return None

    def wait(self, ticket: Ticket, look: Callable[[], object] = bool) -> None:  # noqa: B027 - for who hands out tickets
        """Wait until the present potential knows what a ticket is for; arguments and errors as `round`."""

    @property
    def has_room(self) -> bool:
        """Whether a batch may be asked for because the pool is full."""
        return self.learner.labels_to_ask_for > 0

    def offer(self, frame: Callable[[], Frame]) -> None:
        """Offer a frame to the pool; it is made only if it is taken."""
        if not self.learner.is_learning:  # who knows when the next batch is due
            self.learner.offer_again(frame)
        elif not self.learner.pool_is_full:
            self.learner.offer(frame())

    def wait_for_arrivals(self) -> None:
        """Wait for something to come, for a moment at most."""
        self._bell.wait(TICK)

    def gather(self) -> None:
        """Write the labels that have come since the last round, unless somebody else is at it."""
        with self._if_free() as is_mine:
            if is_mine and not self.learner.is_closed:
                self._tell(self._flight.drain())

    def settle(self) -> None:
        """Wait for all that is in flight, and have a potential that knows it; raises as `round`."""
        with self._working():
            self._wait_for_all()
            if self._phase is Phase.TRAINING:
                self._finish_round()

    def report(self, event: Event) -> None:
        """Note an event in the journal, and hand it on."""
        if not self.learner.is_closed:
            self.learner.note(event)
        self._report(event)

    def stop(self, reason: str) -> None:
        """Have the labelling or training that is under way end at once; may be called from a signal handler.

        What was labelled is kept, what was not stays to be done.

        Parameters
        ----------
        reason
            Text of the `SimulationStopped` that is raised, now and from here on.
        """
        self._report.stop_reason = reason
        self._labeller.stop(reason)

    def close(self, reason: str = CLOSED) -> None:
        """End what is running, and let others work in the folder; the potential stays as it is.

        Parameters
        ----------
        reason
            Told to whoever wants it to learn again.
        """
        if not self.learner.is_closed:
            if outcomes := self._flight.drain():
                self._write(outcomes)
            self._labeller.close()
            self.learner.close(reason)

    def _is_ready(self, atoms: Atoms) -> bool:
        """Whether there is a potential for a structure, and nothing to finish first or somebody at it already."""
        if self.learner.unknown_elements(atoms):
            return False
        if self.learner.is_closed or self.is_working:
            return True
        has_begun = not self._initial or bool(self.learner.dataset.done)
        return has_begun and self._phase in (Phase.IDLE, Phase.FINISHED)

    @property
    def _phase(self) -> Phase:
        """What is to be done next, besides what is in flight."""
        return self.learner.phase_besides(self._flight)

    def _advance(self) -> None:
        """Finish what was begun: calculations, and the training on their labels."""
        self._take_over()
        if self._phase is Phase.LABELLING:
            self._label(self.learner.pending(self._flight))
            batch_size = self.learner.settings.batch_size
            self.learner.refuse_if_all_failed(in_a_row=batch_size if self.learner.potential else 1)
        if self._phase is Phase.TRAINING:
            self._finish_round()

    def _begin_with(self, atoms: Atoms, unknown: tuple[int, ...], walker: str) -> None:
        """Learn elements from structures that are made from a frame."""
        learner = self.learner
        if learner.potential and not learner.can_learn:
            raise UnknownElementError(
                "expected only the elements the model was trained on "
                f"({Symbols(list(learner.potential.elements))}), got also {Symbols(list(unknown))}; "
                f"they would be learned, but {learner.reason_to_finish}"
            )
        refusal = refusal_before(atoms, learner.settings.labelling)
        if refusal:
            raise ValueError(
                f"expected a structure to begin with that can be labelled, got one where {refusal}"
            )
        structures = initial_structures(atoms, learner.settings.initial_data, learner.settings.seed)
        cause = Cause.NEW_ELEMENT if learner.potential else Cause.INITIAL
        self._begin(unknown, structures, cause, "initial structures", walker)

    def _begin(
        self,
        unknown: tuple[int, ...],
        structures: Sequence[Atoms],
        cause: Cause,
        source: str,
        walker: str,
    ) -> None:
        if unknown in self._failed:
            raise BatchFailedError(f"{self._failed[unknown]}\n(not tried again)")
        labels = labels_carried(structures)
        if self.baseline:
            if not self.learner.dataset.done:
                needs_stress = self.learner.settings.labelling.stress
                check_baseline(self.baseline, structures[0], needs_stress=needs_stress)
            labels = with_baselines(self.baseline, structures, labels)
        self._label(self.learner.begin(structures, cause, source, walker, labels))
        try:
            self.learner.refuse_if_all_failed()
        except BatchFailedError as error:
            self._failed[unknown] = str(error)
            raise
        self._finish_round()

    def _label(self, tasks: Sequence[Task]) -> None:
        """Have tasks labelled, and what the learner asks for in place of those that fail; a quorum of them suffices."""
        left = (1 - self._quorum) * len(tasks) + 1e-9
        waiting, progress = {task.id for task in tasks}, LabelDone(self._number, 0, len(tasks), 0)
        try:
            with self._timing("label"):
                self._submit(tasks)
                while len(waiting) > left:
                    outcomes = self._poll()
                    following = self._tell(outcomes)
                    for id in waiting & outcomes.keys():
                        progress = progress.after(outcomes[id])
                        self._report(progress)
                    waiting = {id for id in waiting if id in self._flight} | {task.id for task in following}
                    progress = replace(progress, of=progress.of + len(following))
        except BaseException:
            self._flight.close()
            raise
        self._flight.check()

    def _wait_for_all(self) -> None:
        while self._flight:
            self._tell(self._poll())
        self._flight.check()

    def _poll(self) -> dict[int, Outcome]:
        return self._flight.poll(TICK)

    def _submit(self, tasks: Sequence[Task]) -> None:
        self._flight.submit({task.id: task.atoms for task in tasks})

    def _tell(self, outcomes: Mapping[int, Outcome]) -> list[Task]:
        """Tell outcomes, and hand out what the learner asks for next, which is returned."""
        following = self._write(outcomes, at_once=self._quorum < 1) if outcomes else []
        self._submit(following)
        return following

    def _write(self, outcomes: Mapping[int, Outcome], *, at_once: bool = False) -> list[Task]:
        following = self.learner.tell(outcomes, at_once=at_once)
        self._flight.written(outcomes)
        return following

    def _take_over(self) -> None:
        """Write labels that had been finished, and not written, when this or an earlier process was interrupted."""
        if self._flight or self.learner.is_closed:
            return
        kept = self._labeller.harvest({entry.id: entry.atoms for entry in self.learner.dataset.pending})
        # The others keep their files, for a larger budget.
        found = {task.id: kept[task.id] for task in self.learner.pending() if task.id in kept}
        if found:
            self.report(TakenOver(tuple(found)))
            self._tell(found)

    @property
    def _number(self) -> int:
        return self.learner.dataset.next_round - 1

    def _finish_round(self) -> None:
        learner = self.learner
        if self._phase is Phase.TRAINING:
            with self._timing("train"):
                report = learner.train(self._time_taken)
        else:
            report = learner.skip_training(self._seconds)
        self._note_round(report)

    def _note_round(self, report: Round) -> None:
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._report(report)
        self._note_end(report)

    def _note_end(self, report: Round) -> None:
        reason = self.learner.reason_to_finish
        if reason:
            self.report(LearningEnded(reason, report.labels, report.round, report.force_mae, report.coverage))

    def _time_taken(self) -> dict[str, float]:
        return self._seconds | {"train": self._seconds["train"] + time.perf_counter() - self._start}

    @contextmanager
    def _working(self) -> Iterator[None]:
        with self.lock:
            self.is_working = True
            try:
                yield
            finally:
                self.is_working = False

    @contextmanager
    def _if_free(self) -> Iterator[bool]:
        """Hold the lock if nobody else does; says whether."""
        is_mine = self.lock.acquire(blocking=False)
        try:
            yield is_mine
        finally:
            if is_mine:
                self.lock.release()

    @contextmanager
    def _timing(self, part: str) -> Iterator[None]:
        self._start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - self._start


class Blocking(Loop):
    """Label, train, go on: whoever calls for a round waits until it is done, and the same seed gives the same run.

    Simulations in other threads go on with the potential there is, as long as their forces are not rejected. With a
    quorum, what comes late joins the next round.
    """

    _n_late = 0

    def round(self, request: Request, generation: int, look: Callable[[], object] = bool) -> bool:
        """One round, which nothing interrupts; see `Loop.round`."""
        with self._working():
            if self.learner.generation != generation:
                return False
            with self._timing("select"):
                tasks = self.learner.ask(request)
            if tasks:
                self._label(tasks)
            else:  # what is late is all that the budget allows
                self._wait_for_all()
            self.learner.refuse_if_all_failed(in_a_row=self.learner.settings.batch_size)
            self._finish_round()
        return True

    def _is_ready(self, atoms: Atoms) -> bool:
        if self._flight and not self.is_working:
            self.gather()
        return super()._is_ready(atoms)

    def gather(self) -> None:
        """Write the labels that have come; see `Loop.gather`."""
        before = self.learner.n_new
        super().gather()
        self._n_late += self.learner.n_new - before

    @property
    def _phase(self) -> Phase:
        found = super()._phase
        waits = found is Phase.TRAINING and self.learner.is_learning and not self.is_working
        return Phase.IDLE if waits and self.learner.n_new <= self._n_late else found

    def _note_round(self, report: Round) -> None:
        self._n_late = 0
        super()._note_round(report)


def close_earlier(directory: Path) -> None:
    """Close the loop of this process that works in a folder, as when a cell of a notebook is run again.

    One that is at work in another thread is left alone, and the folder in use.
    """
    earlier = _open.get(directory.resolve())
    if earlier is None or earlier.learner.is_closed or not earlier.lock.acquire(blocking=False):
        return
    try:
        log.warning("the calculator that was made before for %s is closed", directory)
        earlier.close(TAKEN_OVER)
    finally:
        earlier.lock.release()
