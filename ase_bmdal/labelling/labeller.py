"""Send structures to the reference, hand back labels as they come."""

import contextlib
import logging
import os
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ase import Atoms

from ase_bmdal.common.errors import LabellingError, SimulationStopped
from ase_bmdal.labelling.executors import ExecutorChoice, resolve
from ase_bmdal.labelling.lease import HeldLease, Lease
from ase_bmdal.labelling.queue import TaskQueue
from ase_bmdal.labelling.record import LabelRecord, Unfinished, describe
from ase_bmdal.labelling.reference import capture
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.labelling.worker import LabelTask, end_processes
from ase_bmdal.structures.bare import bare_copy

log = logging.getLogger(__name__)

RUNNING = "running"
TICK = 0.2  # seconds between two looks whether to stop


class Labeller:
    """Reference calculations in parallel, each of which may fail without harm to the others.

    Parameters
    ----------
    reference
        Called without arguments, once for each structure, it makes a new ASE calculator: a calculator class,
        a function or `functools.partial`. It is called where the label is computed.
    scratch
        Folder that all workers see. Each structure has a folder of its own below it, removed on success.
    executor
        ``"local"``, ``"mpi"``, ``"in-process"`` or any `concurrent.futures.Executor`.
    n_workers
        Number of workers for ``"local"``; None for one per core.
    settings
        Limits on a calculation.

    Raises
    ------
    LabellingError
        If the reference cannot be sent, or there is nobody to work.
    """

    def __init__(
        self,
        reference: Callable[[], Any],
        *,
        scratch: Path,
        executor: ExecutorChoice = "local",
        n_workers: int | None = None,
        settings: LabellingSettings | None = None,
    ) -> None:
        _refuse_second_driver()
        self.settings = settings or LabellingSettings()
        self.scratch = Path(scratch).absolute()
        self._reference = capture(reference)
        self._name = uuid.uuid4().hex
        self._batches: dict[Path, HeldLease] = {}
        self._closed, self._stop_reason = False, ""
        self._resolved = resolve(executor, n_workers, self.settings.timeout)

    def label(self, structures: Sequence[Atoms]) -> Generator[tuple[int, LabelRecord], None, None]:
        """Label structures; as `collect`, one at a time.

        Parameters
        ----------
        structures
            Structures to label.

        Yields
        ------
        tuple
            Index into ``structures`` and its record, in the order in which they finish.

        Raises
        ------
        LabellingError, SimulationStopped
            As `collect`.
        """
        with contextlib.closing(self.collect(structures)) as waves:
            for wave in waves:
                yield from wave.items()

    def collect(self, structures: Sequence[Atoms]) -> Generator[dict[int, LabelRecord], None, None]:
        """Label structures.

        Leaving the loop early, by Ctrl-C or any exception, ends the calculations that are not finished;
        use `contextlib.closing` or close the labeller to have it happen at once.

        Parameters
        ----------
        structures
            Structures to label.

        Yields
        ------
        dict
            All records that have come since the last time, by index into ``structures``.

        Raises
        ------
        LabellingError
            If structures remain without a record, and why: a worker does not see the scratch folder, the executor
            takes no structures or lost the same one twice, or the labeller was closed.
        SimulationStopped
            After `stop`.
        """
        self._require_open()
        folder = self._open_batch()
        queue = TaskQueue(self._resolved.executor)
        try:
            yield from self._waves(structures, folder, queue)
        finally:
            self._close_batch(folder)  # first: workers must know even where the executor cannot cancel
            queue.cancel()

    def _waves(
        self, structures: Sequence[Atoms], folder: Path, queue: TaskQueue
    ) -> Generator[dict[int, LabelRecord], None, None]:
        waiting = deque(range(len(structures)))
        tried: set[int] = set()
        trouble: list[str] = []
        while waiting or queue:
            # What is computed in this very process is done when submit returns, so one at a time.
            for index in _take(waiting, len(waiting) if self._resolved.isolated else 1):
                try:
                    queue.submit(index, self._task(index, structures[index], folder))
                except Exception as error:
                    trouble.append(f"the executor takes no structures: {': '.join(describe(error))}")
                    waiting.clear()
                    break
            outcomes = queue.poll(TICK)
            records = {index: it for index, it in outcomes.items() if isinstance(it, LabelRecord)}
            if records:
                yield records
            self._require_open()
            for index, lost in outcomes.items():
                if isinstance(lost, LabelRecord):
                    continue
                _refuse_unseen(lost)
                if index in tried:
                    trouble.append(f"structure {index} was lost twice: {lost}")
                else:
                    log.warning("structure %d of the batch was lost, and is tried once more: %s", index, lost)
                    tried.add(index)
                    waiting.append(index)
        if trouble:
            raise LabellingError(
                f"some of {len(structures)} structures have no label and stay pending: {trouble[0]}"
            )

    def _task(self, index: int, atoms: Atoms, folder: Path) -> LabelTask:
        return LabelTask(
            reference=self._reference,
            atoms=bare_copy(atoms),
            settings=self.settings,
            scratch=folder / f"structure-{index:05d}",
            lease=self._batches[folder].lease,
            owner=self._name,
            isolated=self._resolved.isolated,
        )

    def _require_open(self) -> None:
        if self._closed:
            raise LabellingError("the labeller is closed; structures without a label stay pending")
        if self._stop_reason:
            raise SimulationStopped(self._stop_reason)

    def _open_batch(self) -> Path:
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.scratch, prefix="batch-"))
            self._batches[folder] = HeldLease(Lease(path=folder / RUNNING))
        except OSError as error:
            raise LabellingError(f"cannot make scratch folders in {self.scratch}: {error}") from error
        return folder

    def _close_batch(self, folder: Path) -> None:
        lease = self._batches.pop(folder, None)
        if lease is not None:
            lease.release()
        with contextlib.suppress(OSError):  # kept if a failed calculation left something
            os.rmdir(folder)  # noqa: PTH106

    def stop(self, reason: str) -> None:
        """Have `collect` hand out what is there and end, in this thread or any; may be called from a signal handler.

        Parameters
        ----------
        reason
            Why; the text of the `SimulationStopped` that it raises, now and from here on.
        """
        self._stop_reason = reason

    def close(self) -> None:
        """End all calculations and the processes they run in; an executor of the user's is left alone."""
        self._closed = True
        for folder in tuple(self._batches):
            self._close_batch(folder)
        end_processes(self._name)
        if self._resolved.owned:
            self._resolved.executor.shutdown(wait=True, cancel_futures=True)
        end_processes(self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _take(waiting: deque[int], n: int) -> list[int]:
    return [waiting.popleft() for _ in range(min(n, len(waiting)))]


def _refuse_unseen(lost: Unfinished) -> None:
    if lost.is_unseen:
        raise LabellingError(
            f"the label worker on {lost.host} does not see {lost.reason}. All workers need the run folder under the "
            "same path: put it on a file system that they share"
        )


def _refuse_second_driver() -> None:
    name = getattr(sys.modules["__main__"], "__name__", "")
    if name not in (
        "__worker__",
        "__mp_main__",
    ):  # what mpi4py and multiprocessing call the script in a worker
        return
    reason = (
        "this script is being run a second time by a worker of its own pool; put it under "
        'if __name__ == "__main__":, or use executor="mpi" or "local", which do not run it'
    )
    if name == "__worker__":
        from ase_bmdal.labelling import mpi

        mpi.abort(reason)
    raise LabellingError(reason)
