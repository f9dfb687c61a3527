"""What a backend is."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass


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
    """

    executor: Executor
    owned: bool = True
    isolated: bool = True
    hindrance: Callable[[], str] = str
