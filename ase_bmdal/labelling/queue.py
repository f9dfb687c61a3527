"""Tasks that an executor was given, and what has become of them."""

import contextlib
import queue
from concurrent.futures import CancelledError, Executor, Future
from typing import Any

from ase_bmdal.labelling.record import LabelRecord, Unfinished, describe
from ase_bmdal.labelling.worker import LabelTask, label_structure

Outcome = LabelRecord | Unfinished


class TaskQueue:
    """Submit, poll, cancel: none of them waits for a calculation.

    Parameters
    ----------
    executor
        Where the tasks are worked on.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._futures: dict[int, Future[Any]] = {}
        self._done: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()

    def __len__(self) -> int:
        """Number of tasks whose outcome has not been handed out."""
        return len(self._futures)

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
        future.add_done_callback(lambda done: self._done.put((index, done)))

    def poll(self, timeout: float) -> dict[int, Outcome]:
        """All outcomes that are there, by number.

        Parameters
        ----------
        timeout
            Seconds to wait for the first one.
        """
        outcomes: dict[int, Outcome] = {}
        with contextlib.suppress(queue.Empty):
            index, future = self._done.get(timeout=timeout)
            while True:
                del self._futures[index]
                outcomes[index] = _outcome(future)
                index, future = self._done.get_nowait()
        return dict(sorted(outcomes.items()))

    def cancel(self) -> None:
        """Have the executor forget what it has not begun, where it can."""
        for future in self._futures.values():
            with contextlib.suppress(Exception):  # some executors cannot, and say so
                future.cancel()
        self._futures.clear()


def _outcome(future: Future[Any]) -> Outcome:
    # The worker itself raises nothing: it died, could not load what it was sent, or the executor is broken.
    try:
        error = future.exception()
    except CancelledError as cancelled:
        error = cancelled
    if error is not None:
        return Unfinished(reason=": ".join(describe(error)).rstrip(": "))
    outcome = future.result()
    if isinstance(outcome, LabelRecord | Unfinished):
        return outcome
    return Unfinished(
        reason=f"expected one outcome of a label from the executor, got an object of class {type(outcome).__name__}; "
        "an executor that runs a task on several ranks at once is no use here"
    )
