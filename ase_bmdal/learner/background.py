"""The loop in which simulations go on while labels are computed and potentials are trained."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import finalize

from ase import Atoms

from ase_bmdal.baseline.baseline import Baseline
from ase_bmdal.common.errors import RunFolderError
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.outcome import Outcome
from ase_bmdal.learner.arrivals import Arrivals, Live, Replayed
from ase_bmdal.learner.learner import CLOSED, Learner, Request, Task
from ase_bmdal.learner.loops import TICK, Loop, Ticket
from ase_bmdal.learner.phase import Phase
from ase_bmdal.learner.pool import Frame
from ase_bmdal.learner.training import TrainingResult
from ase_bmdal.learner.training_process import TrainingProcess, Trainings
from ase_bmdal.run.events import Arrived, LabelDone, Reporter
from ase_bmdal.run.history import History

ENOUGH = 0.9  # of a batch, for those who wait for it


@dataclass(eq=False)
class Promise:
    """A batch that was asked for, by its round.

    Attributes
    ----------
    round
        Number of the round.
    needed
        Calculations that have to have ended, besides most of the batch, by number.
    is_learned
        Whether the present potential knows enough of it.
    n_waiting
        Simulations that wait for it.
    """

    round: int
    needed: Sequence[int] = ()
    is_learned: bool = False
    n_waiting: int = 0


class Background(Loop):
    """Simulations go on: each force call takes in the labels and the potential that have come since the one before.

    Parameters
    ----------
    learner, labeller, report, initial, baseline
        As for every `Loop`.
    trainings
        Where potentials are trained; None for a process.
    replay
        Run folder of a run whose labels and potentials came in the order, and in the force calls, that they come in
        here; None for none.

    Raises
    ------
    RunFolderError
        If there is nothing to replay.
    """

    def __init__(
        self,
        learner: Learner,
        labeller: Labeller,
        report: Reporter,
        initial: Sequence[Atoms] | None = None,
        *,
        baseline: Baseline | None = None,
        trainings: Trainings | None = None,
        replay: Path | None = None,
    ) -> None:
        super().__init__(learner, labeller, report, initial, baseline=baseline)
        settings = learner.settings
        self.lead = settings.background.lead
        busy = settings.batch_size + max(labeller.n_workers, settings.batch_size)
        self._most = settings.background.most_in_flight or busy
        self._enough = settings.labelling.quorum or ENOUGH
        self._trainings = trainings or TrainingProcess(settings, report)
        finalize(self, self._trainings.close).atexit = False
        self._arrivals = self._arrivals_of(replay)
        self._calls, self._has_resumed = 0, False
        self._promises: list[Promise] = []
        self._kept: list[Promise] | None = None  # by the training that is under way
        self._training_since = 0.0
        self._failures: list[int] = []  # in a row

    def prepare(self, atoms: Atoms, walker: str = "") -> None:
        """Take in what has come; see `Loop.prepare`."""
        with self._if_free() as is_mine:
            if is_mine:
                self._calls += 1
                if self.learner.potential and not self.learner.is_closed:
                    self._take_in()
        super().prepare(atoms, walker)

    def round(self, request: Request, generation: int, look: Callable[[], object] = bool) -> bool:
        """Ask for a batch, and wait until it is learned; see `Loop.round`."""
        promise = self.request(request, generation)
        if promise is None:
            return False
        self.wait(promise, look)
        return True

    def request(self, request: Request, generation: int) -> Promise | None:
        """Ask for a batch; see `Loop.request`."""
        with self.lock:
            if self.learner.generation != generation:
                return None
            with self._timing("select"):
                tasks = self.learner.ask(request)
                self._submit(tasks)
            if not tasks:  # what is in flight is all that the budget allows
                needed = [entry.id for entry in self.learner.dataset.pending]
            else:  # one frame is asked for by who cannot go on without it, several by who goes back
                needed = [task.id for task in tasks[:1]] if len(request.required) == 1 else []
            promise = Promise(self._number, needed)
            self._promises.append(promise)
            return promise

    def wait(self, ticket: Ticket, look: Callable[[], object] = bool) -> None:
        """Wait until a batch is learned; see `Loop.wait`."""
        mine = [promise for promise in self._promises if promise is ticket]
        for promise in mine:
            promise.n_waiting += 1
        try:
            self._take_in_until(lambda: ticket.is_learned, look)
        finally:
            for promise in mine:
                promise.n_waiting -= 1

    @property
    def has_room(self) -> bool:
        """Whether a batch may be asked for because the pool is full."""
        batch_size = self.learner.labels_to_ask_for
        return batch_size > 0 and len(self._flight) + batch_size <= max(self._most, batch_size)

    def offer(self, frame: Callable[[], Frame]) -> None:
        """Offer a frame; what comes to a full pool takes the place of another."""
        self.learner.offer_again(frame)

    def settle(self) -> None:
        """Wait for all that is in flight, and learn it; see `Loop.settle`."""
        self._take_in_until(lambda: not self._flight and self._kept is None)
        with self.lock:
            if self._phase is Phase.TRAINING:
                self._train()
        self._take_in_until(lambda: self._kept is None)

    def close(self, reason: str = CLOSED) -> None:
        """End what is running; see `Loop.close`."""
        self._trainings.close()
        super().close(reason)

    def _is_ready(self, atoms: Atoms) -> bool:
        if self.learner.unknown_elements(atoms):
            return False
        has_begun = not self._initial or bool(self.learner.dataset.done)
        return has_begun or self.learner.is_closed or self.is_working

    def _advance(self) -> None:
        if self.learner.potential is None:
            super()._advance()

    def _take_in_until(self, is_over: Callable[[], bool], look: Callable[[], object] = bool) -> None:
        while not is_over():
            look()
            self._bell.clear()
            with self.lock:
                self._take_in()
            if not is_over():
                self.pause()

    def _take_in(self) -> None:
        """Labels and the potential that have come; what follows from them."""
        self._resume()
        self._come(self._arrivals.labels(self._calls))
        self._flight.check()
        self._refuse_failures()
        if result := self._result():
            self._replace(result)
        if self._is_due():
            self._train()
        elif self._kept is None and self.learner.n_new == 0:
            self._keep(self._kept_by_now())

    def _resume(self) -> None:
        """Hand out what was pending when another process was killed or had ended."""
        if not self._has_resumed:
            self._has_resumed = True
            self._take_over()
            self._submit(self.learner.pending(self._flight))

    def _label(self, tasks: Sequence[Task]) -> None:
        try:
            super()._label(tasks)
        except BaseException:  # nothing is in flight any more
            self._has_resumed = False
            raise
        finally:
            self._failures = []

    def _poll(self) -> dict[int, Outcome]:
        return self._arrivals.labels(self._calls, TICK)

    def _come(self, outcomes: Mapping[int, Outcome]) -> None:
        if outcomes:
            self._tell(outcomes)
            data = self.learner.dataset
            n_known = len(data.entries) - len(data.pending)
            self._report(LabelDone(self._number, n_known, len(data.entries), data.n_failed))

    def _tell(self, outcomes: Mapping[int, Outcome]) -> list[Task]:
        if not outcomes:
            return []
        following = self._write(outcomes, at_once=self._quorum < 1 or self.learner.potential is not None)
        self._submit(following)
        for id in outcomes:
            self._failures = [*self._failures, id] if self.learner.dataset.status(id) == "failed" else []
        self.learner.note(Arrived(self._calls, tuple(outcomes)))
        return following

    def _refuse_failures(self) -> None:
        if len(self._failures) >= self.learner.settings.batch_size:
            failures, self._failures = self._failures, []
            self.learner.refuse_failures(failures)

    def _is_due(self) -> bool:
        """Whether a training is to begin."""
        learner, settings = self.learner, self.learner.settings
        if self._kept is not None:
            return False
        if learner.n_new and any(promise.n_waiting for promise in self._kept_by_now()):
            return True
        if not learner.is_learning:  # the last
            return not self._flight and learner.phase is Phase.TRAINING
        if learner.n_new == 0:
            return False
        least = settings.background.new_labels * (len(learner.dataset.done) - learner.n_new)
        return learner.n_new >= max(settings.batch_size, least)

    def _train(self) -> None:
        self._training_since = time.perf_counter()
        job = self.learner.training_job()
        self._kept = self._kept_by_now()
        self._trainings.start(job._replace(final=job.final and not self._flight))

    def _kept_by_now(self) -> list[Promise]:
        """Promises that a potential keeps which knows all labels."""
        return [promise for promise in self._promises if self._can_be_kept(promise)]

    def _can_be_kept(self, promise: Promise) -> bool:
        ended = all(self.learner.dataset.status(id) != "pending" for id in promise.needed)
        return ended and self.learner.is_enough(promise.round, self._enough)

    def _result(self) -> TrainingResult | None:
        try:
            return self._arrivals.result(self._calls)
        except BaseException:  # the next training is one more attempt
            self._kept = None
            raise

    def _replace(self, result: TrainingResult) -> None:
        self._seconds["train"] = time.perf_counter() - self._training_since
        report = self.learner.take(result, self._seconds)
        self.learner.note(Arrived(self._calls, potential=True))
        self._keep(self._kept or ())
        self._kept = None
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._report(report)
        if result.notes["final"]:
            self._note_end(report)

    def _keep(self, promises: Sequence[Promise]) -> None:
        for promise in promises:
            promise.is_learned = True
        self._promises = [promise for promise in self._promises if not promise.is_learned]

    def _finish_round(self) -> None:
        """In this process, as for elements that are new; what is being trained elsewhere does not know them."""
        self._trainings.close()
        super()._finish_round()
        self._kept = None
        self._keep(self._kept_by_now())

    def _arrivals_of(self, replay: Path | None) -> Arrivals:
        live = Live(self._flight, self._trainings)
        if replay is None:
            return live
        events = History.read(replay).arrivals
        if not events:
            raise RunFolderError(f"replay: expected a run that was made with background=True, got {replay}")
        return Replayed(live, events, self._pause)

    def _pause(self) -> None:
        self._bell.clear()
        self.wait_for_arrivals()
