"""Structures that are being labelled: handed in at any time, taken out as they finish."""

import contextlib
import logging
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.kept import BATCH, remove
from ase_bmdal.labelling.lease import RUNNING, HeldLease, Lease
from ase_bmdal.labelling.outcome import ComputedLabel, NotFinished, Outcome, Unseen
from ase_bmdal.labelling.parcel import unpack
from ase_bmdal.labelling.queue import TaskQueue
from ase_bmdal.labelling.task import LabelTask

log = logging.getLogger(__name__)


class InFlight:
    """Structures that are being labelled, by number; `Labeller.in_flight` makes it.

    Workers know by a lease that they are wanted, which is held while there are any.

    Parameters
    ----------
    backend
        Where they are labelled.
    make_task
        Makes the task of a structure from its number, it, its scratch folder and the lease.
    scratch
        Folder below which each batch has one.
    refuse
        Raises if the labeller was closed or stopped.
    on_arrival
        Called, in any thread, when there is something to take out.
    """

    def __init__(
        self,
        backend: Backend,
        make_task: Callable[[int, Atoms, Path, Lease], LabelTask],
        scratch: Path,
        refuse: Callable[[], None],
        on_arrival: Callable[[], None],
    ) -> None:
        self._backend, self._make_task, self._scratch, self._refuse = backend, make_task, scratch, refuse
        self._queue = TaskQueue(backend.executor, on_arrival)
        self._structures: dict[int, Atoms] = {}
        self._unwritten: set[int] = set()  # taken out, and not where they belong yet
        self._waiting: deque[int] = deque()
        self._losses = Losses()
        self._held: HeldLease | None = None
        self._given = 0

    def __len__(self) -> int:
        """Number of structures that were not taken out."""
        return len(self._structures)

    def __contains__(self, number: object) -> bool:
        return number in self._structures

    def submit(self, structures: Mapping[int, Atoms]) -> None:
        """Hand in structures, by numbers that none has that is in flight.

        Raises
        ------
        LabellingError
            If the scratch folder cannot be made.
        """
        if structures and self._held is None:
            self._held = self._hold()
        self._structures.update(structures)
        self._waiting.extend(structures)
        self._given += len(structures)
        if self._backend.isolated:  # what is computed in this very process is done in `poll`
            self._hand_over(len(self._waiting))

    def poll(self, timeout: float = 0.0) -> dict[int, Outcome]:
        """Take out what has finished.

        Parameters
        ----------
        timeout
            Longest time to wait for the first, seconds.

        Raises
        ------
        LabellingError
            If a worker does not see the scratch folder; if the labeller was closed, or the executor will bring
            nothing more, and there is nothing left.
        SimulationStopped
            If it was stopped and there is nothing left.
        """
        arrived = self.drain()
        if arrived:
            return arrived
        self._refuse_to_go_on()
        self._hand_over(len(self._waiting) if self._backend.isolated else min(1, len(self._waiting)))
        arrived = self._take(timeout)
        if not arrived:
            self._refuse_to_go_on()
            self._refuse_to_wait_in_vain()
        return arrived

    def drain(self) -> dict[int, Outcome]:
        """Take out what has finished, whether or not more is to come."""
        return self._take(0.0)

    def written(self, outcomes: Mapping[int, Outcome]) -> None:
        """Outcomes that were taken out are where they belong: labels need not be kept in files any more."""
        self._unwritten -= outcomes.keys()
        for outcome in outcomes.values():
            if isinstance(outcome, ComputedLabel):
                remove(outcome)

    def check(self) -> None:
        """Refuse to go on if structures were lost for good.

        Raises
        ------
        LabellingError
            If a worker does not see the scratch folder; if the executor takes no structures, or has lost the same one
            twice.
        """
        self._losses.refuse_unseen()
        if self._losses.trouble:
            why = [self._losses.trouble[0], self._backend.hindrance()]
            self._losses.trouble = []
            raise LabellingError(
                f"some of {self._given} structures have no label and stay pending: {'; '.join(filter(None, why))}"
            )

    def close(self) -> None:
        """End what is not finished, and forget it; it may be used again."""
        self._let_go()  # first: workers must know even where the executor cannot cancel
        self._queue.cancel()
        self._structures.clear()
        self._waiting.clear()
        self._losses = Losses()

    def _refuse_to_go_on(self) -> None:
        self._refuse()
        self._losses.refuse_unseen()

    def _refuse_to_wait_in_vain(self) -> None:
        if self._structures and (reason := self._backend.hindrance()):
            raise LabellingError(
                f"{len(self._structures)} structures have no label and stay pending: {reason}"
            )

    def _hand_over(self, n: int) -> None:
        oldest = min({*self._structures, *self._unwritten}, default=0)
        for number in [self._waiting.popleft() for _ in range(n)]:
            if number not in self._structures or self._held is None:
                continue
            lease = self._held.lease
            task = self._make_task(number, self._structures[number], _folder(lease, number), lease)
            try:
                self._queue.submit(number, replace(task, oldest=oldest))
            except Exception as error:  # whatever engines raise
                self._losses.trouble.append(f"the executor takes no structures: {Failure.of(error)}")
                self._forget(set(self._structures) - self._queue.numbers)

    def _take(self, timeout: float) -> dict[int, Outcome]:
        outcomes, lost = self._queue.poll(timeout)
        outcomes = {number: self._with_files(number, outcome) for number, outcome in outcomes.items()}
        self._unwritten |= outcomes.keys()
        again = self._losses.again(lost)
        self._waiting.extend(again)
        self._forget(outcomes.keys() | (lost.keys() - set(again)))
        return outcomes

    def _with_files(self, number: int, outcome: Outcome) -> Outcome:
        """A failure with its files in the folder of the batch, wherever they were."""
        if not isinstance(outcome, Failure) or not outcome.files or self._held is None:
            return outcome
        folder = _folder(self._held.lease, number)
        try:
            unpack(outcome.files, folder)
        except OSError as error:
            log.warning("cannot write the files of a failed calculation to %s: %s", folder, error)
        return replace(outcome, files=b"", scratch=str(folder) if folder.exists() else None)

    def _forget(self, numbers: set[int]) -> None:
        for number in numbers:
            self._structures.pop(number, None)
        if not self._structures:
            self._let_go()

    def _hold(self) -> HeldLease:
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._scratch, prefix=BATCH))
            return HeldLease(self._backend.lease(folder / RUNNING))
        except OSError as error:
            raise LabellingError(f"cannot make scratch folders in {self._scratch}: {error}") from error

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()
            with contextlib.suppress(OSError):  # kept if a failed calculation left something
                held.lease.path.parent.rmdir()


def _folder(lease: Lease, number: int) -> Path:
    return lease.path.with_name(f"structure-{number:05d}")


class Losses:
    """Structures that an executor lost, each of which is tried once more."""

    def __init__(self) -> None:
        self.trouble: list[str] = []
        self._unseen: list[str] = []
        self._tried: set[int] = set()

    def again(self, lost: Mapping[int, NotFinished]) -> list[int]:
        """Which of them to try again; none of a worker that does not see the folder of the batch."""
        unseen = {index: reason for index, reason in lost.items() if isinstance(reason, Unseen)}
        self._unseen.extend(map(_text, unseen.values()))
        twice = (lost.keys() - unseen.keys()) & self._tried
        self.trouble.extend(f"structure {index} was lost twice: {lost[index]}" for index in sorted(twice))
        again = [index for index in lost if index not in self._tried | unseen.keys()]
        if again:
            log.warning("lost %d structures, which are tried once more: %s", len(again), lost[again[0]])
        self._tried.update(again)
        return again

    def refuse_unseen(self) -> None:
        """Say once that a worker does not see the folder of the batch.

        Raises
        ------
        LabellingError
            If one does not.
        """
        unseen, self._unseen = self._unseen, []
        if unseen:
            raise LabellingError(unseen[0])


def _text(unseen: Unseen) -> str:
    host, folder, why = unseen.args
    return (
        f"the label worker on {host} does not see {folder}: {why}. All workers need the run folder under the same "
        "path: put it on a file system that they share, or have labels computed on disks of theirs, by "
        'LabellingSettings(local_scratch="/tmp")'
    )
