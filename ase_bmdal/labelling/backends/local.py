"""Labels in threads of the driver, one per core or per some cores, each with a child process."""

import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.settings import LabellingSettings

P = ParamSpec("P")
T = TypeVar("T")


def backend(n_workers: int | None, settings: LabellingSettings) -> Backend:
    """Threads of this process: so many, or as many as there are cores for.

    Raises
    ------
    ValueError
        If there are fewer cores than that.
    LabellingError
        If there is no program to launch labels with.
    """
    if settings.launch and shutil.which(settings.launch[0]) is None:
        raise LabellingError(f"launcher: expected a program that is installed, found no {settings.launch[0]}")
    available = available_cores()
    cores: list[list[int] | None] = [None] * (n_workers or len(available))
    if settings.cores is not None:
        cores = [*slices(available, settings.cores, n_workers)]
    return Backend(executor=LocalExecutor(cores), n_workers=len(cores))


def available_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def slices(available: Sequence[int], cores: int, n_workers: int | None = None) -> list[list[int]]:
    """Cores of each worker.

    Parameters
    ----------
    available
        Numbers of the cores there are.
    cores
        Cores of a worker.
    n_workers
        How many; None for as many as there are cores for.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    n = n_workers or max(1, len(available) // cores)
    if n * cores > len(available):
        raise ValueError(
            f"cores: expected at most the {len(available)} that this process may use, got {n} times {cores}"
        )
    return [list(available[k * cores : (k + 1) * cores]) for k in range(n)]


class LocalExecutor(Executor):
    """Threads that never keep the interpreter from ending, unlike those of ``ThreadPoolExecutor``.

    Parameters
    ----------
    cores
        Of each thread, and of the processes that it starts; None for any.
    """

    def __init__(self, cores: Sequence[list[int] | None]) -> None:
        self._closed = False
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=_serve, args=(self._queue, own), daemon=True, name=f"label-{k}")
            for k, own in enumerate(cores)
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


def _serve(jobs: "queue.SimpleQueue[Callable[[], None] | None]", cores: list[int] | None) -> None:
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # of this thread; what it starts inherits it
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
