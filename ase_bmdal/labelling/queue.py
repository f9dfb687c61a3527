"""Tasks that an executor was given, and what has become of them."""

import contextlib
import queue
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from operator import itemgetter
from typing import Any

from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.outcome import NotFinished, Outcome
from ase_bmdal.labelling.task import LabelTask
from ase_bmdal.labelling.worker.label import label_structure
from ase_bmdal.structures.labels import Label


class TaskQueue:
    """Submit, poll, cancel: none of them waits for a calculation.

    Parameters
    ----------
    executor
        Where the tasks are worked on.
    on_arrival
        Called, in any thread, when a task has come back.
    """

    def __init__(self, executor: Executor, on_arrival: Callable[[], None] = lambda: None) -> None:
        self._executor, self._on_arrival = executor, on_arrival
        self._futures: dict[int, Future[Any]] = {}
        self._done: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()

    def __len__(self) -> int:
        """Number of tasks that `poll` has not handed out."""
        return len(self._futures)

    @property
    def numbers(self) -> set[int]:
        """Of the tasks that `poll` has not handed out."""
        return set(self._futures)

    def submit(self, index: int, task: LabelTask) -> None:
        """Hand a task to the executor.

        Parameters
        ----------
        index
            Number by which its outcome is known.
        task
            The task.

        Raises
        ------
        Exception
            Whatever an executor raises that takes no tasks, as one that is broken or shut down.
        """
        future = self._executor.submit(label_structure, task)
        self._futures[index] = future
        future.add_done_callback(lambda done: self._arrive(index, done))

    def _arrive(self, index: int, future: Future[Any]) -> None:
        self._done.put((index, future))
        self._on_arrival()

    def poll(self, timeout: float = 0.0) -> tuple[dict[int, Outcome], dict[int, NotFinished]]:
        """What has come in since the last time.

        Parameters
        ----------
        timeout
            Longest time to wait for the first one, seconds.

        Returns
        -------
        tuple
            Outcomes, and tasks that were not carried through, both by number.
        """
        outcomes: dict[int, Outcome] = {}
        lost: dict[int, NotFinished] = {}
        for index, future in self._arrived(timeout):
            if self._futures.get(index) is not future:
                continue  # of a task that was cancelled, whose number another may have by now
            del self._futures[index]
            try:
                outcomes[index] = _outcome(future)
            except NotFinished as reason:
                lost[index] = reason
        return outcomes, lost

    def _arrived(self, timeout: float) -> list[tuple[int, Future[Any]]]:
        arrived: list[tuple[int, Future[Any]]] = []
        with contextlib.suppress(queue.Empty):
            arrived.append(self._done.get(timeout > 0, timeout))
            while True:
                arrived.append(self._done.get_nowait())
        return sorted(arrived, key=itemgetter(0))

    def cancel(self) -> None:
        """Have the executor forget what it has not begun, where it can."""
        for future in self._futures.values():
            with contextlib.suppress(Exception):  # some executors cannot, and say so
                future.cancel()
        self._futures.clear()


def _outcome(future: Future[Any]) -> Outcome:
    # The worker itself raises nothing else: it died, could not load what it was sent, or the executor is broken.
    try:
        outcome = future.result()
    except NotFinished:
        raise
    except (Exception, CancelledError) as error:
        raise NotFinished(str(Failure.of(error))) from error
    if isinstance(outcome, Label | Failure):
        return outcome
    raise NotFinished(
        f"expected one outcome of a label from the executor, got an object of class {type(outcome).__name__}; "
        "an executor that runs a task on several ranks at once is no use here"
    )
