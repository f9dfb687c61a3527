"""Where labels are computed: one file for each way, and the one place where they are chosen.

=================  =============================================================================
``"local"``        threads of the driver, one per core or per some cores, each with a child process
``"mpi"``          the ranks of ``mpiexec -n 5 python -m mpi4py.futures script.py``
``"in-process"``   the driver itself, one after the other: to debug a reference, without time limit
an ``Executor``    whatever it stands for: a process pool, a queue of a cluster; never shut down here
=================  =============================================================================
"""

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Literal, TypeAlias

from ase_bmdal.labelling.backends import executor, in_process, local, mpi
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.settings import LabellingSettings

ExecutorChoice: TypeAlias = Literal["local", "mpi", "in-process"] | Executor

BACKENDS: dict[str, Callable[[int | None, LabellingSettings], Backend]] = {
    "local": local.backend,
    "mpi": mpi.backend,
    "in-process": in_process.backend,
}


def resolve(choice: ExecutorChoice, n_workers: int | None, settings: LabellingSettings) -> Backend:
    """Turn what the user chose into an executor.

    Parameters
    ----------
    choice
        A name or an executor.
    n_workers
        Number of workers; for ``"local"`` only.
    settings
        ``timeout``, ``cores`` and ``launch`` are used.

    Returns
    -------
    Backend
        The executor.

    Raises
    ------
    ValueError
        If the choice is unknown, or cannot keep what is asked of it.
    LabellingError
        If MPI is chosen and there are no ranks to work, or there is no such launcher.
    """
    if n_workers is not None and (choice != "local" or n_workers < 1):
        raise ValueError(
            f'n_workers must be at least 1 and goes with "local" only, got {n_workers} with {choice!r}'
        )
    if isinstance(choice, Executor):
        return executor.backend(choice)
    if not isinstance(choice, str) or choice not in BACKENDS:
        names = ", ".join(f'"{name}"' for name in BACKENDS)
        raise ValueError(f"executor must be {names} or a concurrent.futures.Executor, got {choice!r}")
    return BACKENDS[choice](n_workers, settings)
