"""How the learner gets its labels: loops between it, the labeller, and the simulations that wait."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from weakref import WeakValueDictionary, finalize

from ase import Atoms
from ase.symbols import Symbols

from ase_bmdal.baseline.baseline import Baseline
from ase_bmdal.baseline.check import check_baseline
from ase_bmdal.common.errors import BatchFailedError, UnknownElementError
from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.worker.checks import refusal_before
from ase_bmdal.learner.differences import with_baselines
from ase_bmdal.learner.initial import initial_structures
from ase_bmdal.learner.learner import CLOSED, Learner, Request, Task
from ase_bmdal.learner.phase import Phase
from ase_bmdal.run.events import Cause, Event, LabelDone, LearningEnded, Reporter
from ase_bmdal.structures.labels import labels_carried
from ase_bmdal.structures.neighbours import check_geometry

log = logging.getLogger(__name__)

TAKEN_OVER = "the calculator is closed: another one was made for its folder; images share one by calc.share()"
_open: WeakValueDictionary[Path, "Blocking"] = WeakValueDictionary()


class Blocking:
    """Label, train, go on: whoever calls for a round waits until it is done, and the same seed gives the same run.

    Simulations in other threads go on with the potential there is, as long as their forces are not rejected.

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
        Whether a round is being done, for whichever simulation.
    """

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

    def round(self, request: Request, generation: int) -> bool:
        """One round: have a batch chosen, label it, train.

        Parameters
        ----------
        request
            Why it is due.
        generation
            Potential that the request comes from. If there is a newer one by now, as after the round of another
            simulation, there is no round.

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
        with self._working():
            if self.learner.generation != generation:
                return False
            with self._timing("select"):
                tasks = self.learner.ask(request)
            self._label(tasks)
            self.learner.refuse_if_all_failed(in_a_row=self.learner.settings.batch_size)
            self._finish_round()
        return True

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
            self._labeller.close()
            self.learner.close(reason)

    def _is_ready(self, atoms: Atoms) -> bool:
        """Whether there is a potential for a structure, and nothing to finish first or somebody at it already."""
        if self.learner.unknown_elements(atoms):
            return False
        if self.learner.is_closed or self.is_working:
            return True
        has_begun = not self._initial or bool(self.learner.dataset.done)
        return has_begun and self.learner.phase in (Phase.IDLE, Phase.FINISHED)

    def _advance(self) -> None:
        """Finish what was begun: calculations, and the training on their labels."""
        if self.learner.phase is Phase.LABELLING:
            self._label(self.learner.pending())
            batch_size = self.learner.settings.batch_size
            self.learner.refuse_if_all_failed(in_a_row=batch_size if self.learner.potential else 1)
        if self.learner.phase is Phase.TRAINING:
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
        """Have tasks labelled, and what the learner asks for in place of those that fail."""
        number, finished, failed, of = self.learner.dataset.next_round - 1, 0, 0, 0
        while tasks:
            following: list[Task] = []
            of += len(tasks)
            with (
                self._timing("label"),
                closing(self._labeller.collect([task.atoms for task in tasks])) as waves,
            ):
                for wave in waves:
                    following += self.learner.tell({tasks[k].id: outcome for k, outcome in wave.items()})
                    for outcome in wave.values():
                        finished += 1
                        failed += isinstance(outcome, Failure)
                        self._report(LabelDone(number, finished, of, failed))
            tasks = following

    def _finish_round(self) -> None:
        learner = self.learner
        if learner.phase is Phase.TRAINING:
            with self._timing("train"):
                report = learner.train(self._time_taken)
        else:
            report = learner.skip_training(self._seconds)
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._report(report)
        if learner.reason_to_finish:
            self.report(
                LearningEnded(
                    learner.reason_to_finish, report.labels, report.round, report.force_mae, report.coverage
                )
            )

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
    def _timing(self, part: str) -> Iterator[None]:
        self._start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - self._start


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
