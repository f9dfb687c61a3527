"""Labels in the driver itself, one after the other: to debug a reference."""

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from ase_bmdal.labelling.backends import mpi
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.settings import LabellingSettings

P = ParamSpec("P")
T = TypeVar("T")


def backend(n_workers: int | None, settings: LabellingSettings) -> Backend:
    """Compute in this process.

    Raises
    ------
    ValueError
        If there is a time limit, which it cannot hold, or a launcher, which it cannot be under.
    """
    if settings.timeout is not None:
        raise ValueError(
            f'executor="in-process" cannot hold a time limit, got timeout={settings.timeout:g}; use "local" or None'
        )
    if settings.launcher is not None:
        raise ValueError(
            f'executor="in-process" cannot be launched by another program, got launcher={settings.launcher!r}; '
            'use "local" or None'
        )
    if "mpi4py" in sys.modules:
        mpi.make_ase_serial()
    return Backend(executor=InProcessExecutor(), isolated=False, n_workers=1)


class InProcessExecutor(Executor):
    """Calls each function at once, so that Ctrl-C and a debugger reach it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function; its future is done on return."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
