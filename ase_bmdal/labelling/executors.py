"""Where labels are computed.

=================  =============================================================================
``"local"``        threads of the driver, one per core, each with a child process
``"mpi"``          the ranks of ``mpiexec -n 5 python -m mpi4py.futures script.py``
``"in-process"``   the driver itself, one after the other: to debug a reference, without time limit
an ``Executor``    whatever it stands for: a process pool, a queue of a cluster; never shut down here
=================  =============================================================================
"""

import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
ExecutorChoice: TypeAlias = Literal["local", "mpi", "in-process"] | Executor


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """An executor and how to treat it.

    Parameters
    ----------
    executor
        Takes the tasks.
    owned
        Whether it ends with the labeller.
    isolated
        Whether labels are computed in child processes.
    """

    executor: Executor
    owned: bool = True
    isolated: bool = True


def resolve(choice: ExecutorChoice, n_workers: int | None, timeout: float | None) -> Resolved:
    """Turn what the user chose into an executor.

    Parameters
    ----------
    choice
        A name or an executor.
    n_workers
        Number of workers; for ``"local"`` only.
    timeout
        Time limit of a label.

    Returns
    -------
    Resolved
        The executor.

    Raises
    ------
    ValueError
        If the choice is unknown, or cannot keep what is asked of it.
    LabellingError
        If MPI is chosen and there are no ranks to work.
    """
    if n_workers is not None and (choice != "local" or n_workers < 1):
        raise ValueError(
            f'n_workers must be at least 1 and goes with "local" only, got {n_workers} with {choice!r}'
        )
    if choice == "local":
        return Resolved(executor=LocalExecutor(n_workers or available_cores()))
    if choice == "in-process":
        return Resolved(executor=_in_process(timeout), isolated=False)
    if choice == "mpi":
        from ase_bmdal.labelling import mpi

        return Resolved(executor=mpi.executor())
    if not isinstance(choice, Executor):
        raise ValueError(
            f'executor must be "local", "mpi", "in-process" or a concurrent.futures.Executor, got {choice!r}'
        )
    if type(choice).__module__.partition(".")[0] == "mpi4py":
        from ase_bmdal.labelling import mpi

        mpi.prepare_workers(choice)
    return Resolved(executor=choice, owned=False)


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_process(timeout: float | None) -> Executor:
    if timeout is not None:
        raise ValueError(
            f'executor="in-process" cannot hold a time limit, got timeout={timeout:g}; use "local" or None'
        )
    if "mpi4py" in sys.modules:
        from ase_bmdal.labelling import mpi

        mpi.make_ase_serial()
    return InProcessExecutor()


class LocalExecutor(Executor):
    """Threads that never keep the interpreter from ending, unlike those of ``ThreadPoolExecutor``.

    Parameters
    ----------
    n_workers
        Number of threads.
    """

    def __init__(self, n_workers: int) -> None:
        self._closed = False
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=_serve, args=(self._queue,), daemon=True, name=f"label-{k}")
            for k in range(n_workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have one of the threads call a function."""
        if self._closed:
            raise RuntimeError("the executor is shut down")
        future: Future[T] = Future()
        self._queue.put(lambda: _run(future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after what they have to do; futures must be cancelled by who holds them."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()


def _serve(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # an idle thread holds on to nothing


def _run(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


class InProcessExecutor(Executor):
    """Calls each function at once, so that Ctrl-C and a debugger reach it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function; its future is done on return."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
