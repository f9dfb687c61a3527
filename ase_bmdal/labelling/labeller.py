"""Send structures to the reference, hand back labels as they come."""

import contextlib
import logging
import sys
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from ase import Atoms

from ase_bmdal.common.errors import LabellingError, SimulationStopped
from ase_bmdal.labelling.backends import ExecutorChoice, resolve
from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.harvest import harvest
from ase_bmdal.labelling.in_flight import InFlight
from ase_bmdal.labelling.kept import local_prefix, on_this_disk
from ase_bmdal.labelling.lease import Lease
from ase_bmdal.labelling.outcome import ComputedLabel, Outcome
from ase_bmdal.labelling.reference import capture
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.labelling.task import LabelTask
from ase_bmdal.labelling.worker.processes import end_processes
from ase_bmdal.structures.structure_only import structure_only

log = logging.getLogger(__name__)

TICK = 0.2  # seconds between two looks whether to stop


class Labeller:
    """Reference calculations in parallel, each of which may fail without harm to the others.

    Parameters
    ----------
    reference
        Called without arguments, once for each structure, it makes a new ASE calculator: a calculator class,
        a function or `functools.partial`. It is called where the label is computed.
    scratch
        Folder that all workers see, unless there is a `local_scratch`. Each structure has a folder of its own below it,
        removed on success.
    executor
        ``"local"``, ``"mpi"``, ``"in-process"``, ``"slurm"``, a dask ``Client`` or any `concurrent.futures.Executor`.
    n_workers
        Number of workers for ``"local"``; None for as many as there are cores for.
    settings
        Limits on a calculation.
    baseline
        The same as `reference`, of the method whose results are kept beside each label.
    identity
        Who the labels are from. If it is not empty, a finished label is a file in `scratch`, or in the local scratch
        folder of its worker, until it is said to be written (`InFlight.written`), for `harvest` by a later labeller
        of the same identity.

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
        baseline: Callable[[], Any] | None = None,
        identity: str = "",
    ) -> None:
        _refuse_second_driver()
        self.settings = settings or LabellingSettings()
        self.scratch = Path(scratch).absolute()
        self._reference, self._identity = capture(reference, baseline), identity
        self._name, self._prefix = uuid.uuid4().hex, local_prefix(self.scratch, identity)
        self._flights: WeakSet[InFlight] = WeakSet()
        self._closed, self._stop_reason = False, ""
        self._backend = resolve(executor, n_workers, self.settings)

    @property
    def n_workers(self) -> int:
        """Labels that are computed at a time; 0 where nobody knows."""
        return self._backend.n_workers

    def label(self, structures: Sequence[Atoms]) -> Generator[tuple[int, Outcome], None, None]:
        """Label structures; as `collect`, one at a time.

        Parameters
        ----------
        structures
            Structures to label.

        Yields
        ------
        tuple
            Index into ``structures`` and its outcome, in the order in which they finish.

        Raises
        ------
        LabellingError, SimulationStopped
            As `collect`.
        """
        with contextlib.closing(self.collect(structures)) as waves:
            for wave in waves:
                yield from wave.items()

    def collect(self, structures: Sequence[Atoms]) -> Generator[dict[int, Outcome], None, None]:
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
            All outcomes that have come since the last time, by index into ``structures``.

        Raises
        ------
        LabellingError
            If structures remain without an outcome, and why: a worker does not see the scratch folder, the executor
            takes no structures or lost the same one twice, or the labeller was closed.
        SimulationStopped
            After `stop`.
        """
        self._require_open()
        with contextlib.closing(self.in_flight()) as flight:
            flight.submit(dict(enumerate(structures)))
            while flight:
                if outcomes := flight.poll(TICK):
                    yield outcomes
                    flight.written(outcomes)
            self._require_open()
            flight.check()

    def in_flight(self, on_arrival: Callable[[], None] = lambda: None) -> InFlight:
        """Structures to be handed in and taken out one by one; ends with the labeller.

        Parameters
        ----------
        on_arrival
            Called, in any thread, when there is something to take out.
        """
        flight = InFlight(self._backend, self._task, self.scratch, self._require_open, on_arrival)
        self._flights.add(flight)
        return flight

    def harvest(self, pending: Mapping[int, Atoms]) -> dict[int, ComputedLabel]:
        """Labels that were finished and not written when this or an earlier driver was interrupted.

        To be called while nothing is in flight, by the only driver that works in the folder.

        Parameters
        ----------
        pending
            Structures without a label, by number.
        """
        return harvest(
            self.scratch,
            pending,
            self._identity,
            self.settings,
            elsewhere=self._kept_elsewhere(),
            left=self._backend.left,
        )

    def _kept_elsewhere(self) -> list[tuple[str, bytes]]:
        """Files of labels on disks of workers."""
        folder = self.settings.local_scratch
        if folder is None:
            return []
        look = partial(on_this_disk, folder, self._prefix)
        try:
            return [file for files in self._backend.everywhere(look) for file in files]
        except Exception as error:  # whatever engines and disks raise
            log.warning("cannot look for finished labels on the disks of the workers: %s", Failure.of(error))
            return []

    def _task(self, number: int, atoms: Atoms, scratch: Path, lease: Lease) -> LabelTask:
        return LabelTask(
            reference=self._reference,
            atoms=structure_only(atoms),
            settings=self.settings,
            scratch=scratch,
            lease=lease,
            owner=self._name,
            number=number,
            identity=self._identity,
            prefix=self._prefix,
            isolated=self._backend.isolated,
        )

    def _require_open(self) -> None:
        if self._closed:
            raise LabellingError("the labeller is closed; structures without a label stay pending")
        if self._stop_reason:
            raise SimulationStopped(self._stop_reason)

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
        for flight in tuple(self._flights):
            flight.close()
        end_processes(self._name)
        if self._backend.owned:
            self._backend.executor.shutdown(wait=True, cancel_futures=True)
        end_processes(self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
        from ase_bmdal.labelling.backends import mpi

        mpi.abort(reason)
    raise LabellingError(reason)
