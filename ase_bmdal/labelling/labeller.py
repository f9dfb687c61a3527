"""Send structures to the reference, hand back labels as they come."""

import contextlib
import itertools
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ase import Atoms

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.executors import ExecutorChoice, resolve
from ase_bmdal.labelling.record import LabelRecord, describe, failure
from ase_bmdal.labelling.reference import capture
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.labelling.worker import LabelTask, end_processes, label_structure
from ase_bmdal.structures.bare import bare_copy

RUNNING = "running"


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
        self._batches: set[Path] = set()
        self._closed = False
        self._resolved = resolve(executor, n_workers, self.settings.timeout)

    def label(self, structures: Sequence[Atoms]) -> Generator[tuple[int, LabelRecord], None, None]:
        """Label structures.

        Leaving the loop early, by Ctrl-C or any exception, ends the calculations that are not finished;
        use `contextlib.closing` or close the labeller to have it happen at once.

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
        LabellingError
            If no structure can be submitted at all, or the scratch folder cannot be made.
        """
        if self._closed:
            raise LabellingError("the labeller is closed")
        folder = self._open_batch()
        pending: dict[Future[LabelRecord], int] = {}
        try:
            yield from self._collect(structures, folder, pending)
        finally:
            for future in pending:
                future.cancel()
            self._close_batch(folder)

    def _collect(
        self, structures: Sequence[Atoms], folder: Path, pending: dict[Future[LabelRecord], int]
    ) -> Generator[tuple[int, LabelRecord], None, None]:
        waiting = iter(enumerate(structures))
        # What is computed in this very process is done when submit returns, so one at a time.
        at_once = None if self._resolved.isolated else 1
        submitted = False
        while True:
            for index, atoms in itertools.islice(waiting, at_once):
                try:
                    pending[self._submit(index, atoms, folder)] = index
                    submitted = True
                except RuntimeError as error:  # broken or shut down
                    if not submitted:
                        raise LabellingError(f"the executor takes no structures: {error}") from error
                    yield index, failure(*describe(error))
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=pending.__getitem__):
                yield pending.pop(future), _outcome(future)

    def _submit(self, index: int, atoms: Atoms, folder: Path) -> Future[LabelRecord]:
        task = LabelTask(
            reference=self._reference,
            atoms=bare_copy(atoms),
            settings=self.settings,
            scratch=folder / f"structure-{index:05d}",
            running=folder / RUNNING,
            owner=self._name,
            isolated=self._resolved.isolated,
        )
        return self._resolved.executor.submit(label_structure, task)

    def _open_batch(self) -> Path:
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.scratch, prefix="batch-"))
            (folder / RUNNING).touch()
        except OSError as error:
            raise LabellingError(f"cannot make scratch folders in {self.scratch}: {error}") from error
        self._batches.add(folder)
        return folder

    def _close_batch(self, folder: Path) -> None:
        # Workers anywhere look for this file ten times a second, and give up when it is gone.
        (folder / RUNNING).unlink(missing_ok=True)
        self._batches.discard(folder)
        with contextlib.suppress(OSError):  # kept if a failed calculation left something
            os.rmdir(folder)  # noqa: PTH106

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


def _outcome(future: Future[LabelRecord]) -> LabelRecord:
    try:
        error = future.exception()
    except CancelledError as cancelled:
        error = cancelled
    # The label worker raises nothing: this one died, or could not load what it was sent.
    return future.result() if error is None else failure(*describe(error))


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
