"""Where labels are computed: one file for each way, and the one place where they are chosen.

=================  =============================================================================
``"local"``        threads of the driver, one per core or per some cores, each with a child process
``"mpi"``          the ranks of ``mpiexec -n 5 python -m mpi4py.futures script.py``
``"in-process"``   the driver itself, one after the other: to debug a reference, without time limit
``"slurm"``        jobs of a SLURM queue, by dask-jobqueue; they end with the labeller
a dask ``Client``  the workers of its cluster; never closed here
an ``Executor``    whatever it stands for: a process pool, a queue of a cluster; never shut down here
=================  =============================================================================
"""

from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Literal, TypeAlias, Union

from ase_bmdal.labelling.backends import dask, executor, in_process, local, mpi, slurm
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.settings import LabellingSettings

if TYPE_CHECKING:
    from distributed import Client

ExecutorChoice: TypeAlias = Union[Literal["local", "mpi", "in-process", "slurm"], Executor, "Client"]

BACKENDS: dict[str, Callable[[int | None, LabellingSettings], Backend]] = {
    "local": local.backend,
    "mpi": mpi.backend,
    "in-process": in_process.backend,
    "slurm": slurm.backend,
}


def resolve(choice: ExecutorChoice, n_workers: int | None, settings: LabellingSettings) -> Backend:
    """Turn what the user chose into an executor.

    Parameters
    ----------
    choice
        A name, an executor, or a ``distributed.Client``.
    n_workers
        Number of workers; for ``"local"`` only.
    settings
        ``timeout``, ``cores``, ``launch``, ``jobs``, ``job`` and ``worker_wait`` are used.

    Returns
    -------
    Backend
        The executor.

    Raises
    ------
    ValueError
        If the choice is unknown, or cannot keep what is asked of it.
    LabellingError
        If MPI is chosen and there are no ranks to work, SLURM and there is none, or there is no such launcher; if a
        client is closed.
    """
    if n_workers is not None and (choice != "local" or n_workers < 1):
        raise ValueError(
            f'n_workers must be at least 1 and goes with "local" only, got {n_workers} with {choice!r}'
        )
    if settings.job and choice != "slurm":
        raise ValueError(f'job goes with executor="slurm" only, got {settings.job} with {choice!r}')
    if dask.is_client(choice):
        return dask.backend(choice, settings)
    if isinstance(choice, Executor):
        return executor.backend(choice)
    if not isinstance(choice, str) or choice not in BACKENDS:
        names = ", ".join(f'"{name}"' for name in BACKENDS)
        raise ValueError(
            f"executor must be {names}, a concurrent.futures.Executor or a dask Client, got {choice!r}"
        )
    return BACKENDS[choice](n_workers, settings)
