"""What a backend is."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase_bmdal.labelling.lease import Lease


def file_lease(path: Path) -> Lease:
    """One that workers see if they see the run folder."""
    return Lease(path=path, home=path.parents[1].stat().st_ino)


def on_this_machine(call: Callable[[], Any]) -> Iterable[Any]:
    """What a function gives here."""
    return [call()]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """An executor and how to treat it.

    Parameters
    ----------
    executor
        Takes the tasks.
    owned
        Whether it ends with the labeller.
    isolated
        Whether labels are computed in child processes.
    hindrance
        Asked when nothing has come for a while: why nothing will come; empty while something may.
    lease
        Makes that of a batch, from its file.
    left
        That of a batch that a driver has left, from its file; raises OSError without one.
    everywhere
        Has a function called where the workers are, as far as can be, and gives what it returned there.
    n_workers
        Labels that it computes at a time; 0 where nobody knows.
    """

    executor: Executor
    owned: bool = True
    isolated: bool = True
    hindrance: Callable[[], str] = str
    lease: Callable[[Path], Lease] = file_lease
    left: Callable[[Path], Lease] = file_lease
    everywhere: Callable[[Callable[[], Any]], Iterable[Any]] = on_this_machine
    n_workers: int = 0
