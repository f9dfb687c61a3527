"""Labels on the ranks of an MPI job; the one place that knows mpi4py.

The job is started as ``mpiexec -n 5 python -m ase_bmdal.labelling.mpi script.py``, see `labelling.mpi`; rank 0 runs
the script, the others label.

By default mpi4py runs the script a second time in each worker, which without a ``__main__`` guard would start
the simulation there. Only the first pool of a job does so; therefore the first one is made here.
"""

import logging
import sys
from typing import Any

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.settings import LabellingSettings

logger = logging.getLogger(__name__)

HOW = "start the job as: mpiexec -n 5 python -m mpi4py.futures script.py"


def backend(n_workers: int | None, settings: LabellingSettings) -> Backend:
    """Pool of all ranks but the first, whose workers do not run the user's script.

    Raises
    ------
    LabellingError
        If mpi4py is missing, or the job has no ranks to work.
    """
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPIPoolExecutor
    except (ImportError, RuntimeError) as error:  # RuntimeError: no MPI library
        raise LabellingError(f'executor="mpi" needs MPI: {error}; pip install mpi4py mpich') from error
    size = MPI.COMM_WORLD.Get_size()
    if not _is_pool_job() or size < 2:
        launch = "with -m mpi4py.futures" if _is_pool_job() else "without -m mpi4py.futures"
        raise LabellingError(
            f'executor="mpi" needs ranks that wait for work; this job of {size} was started {launch}; {HOW}'
        )
    make_ase_serial()
    return Backend(executor=MPIPoolExecutor(main=False, path=list(sys.path)), n_workers=size - 1)


def prepare_workers(executor: Any) -> None:
    """Keep the ranks from running the user's script, for a pool that the user made and has not used yet.

    A script with a ``__main__`` guard that submits functions of its own as well calls ``bootup()`` of the
    pool first; the workers then know the script.

    Parameters
    ----------
    executor
        An executor of mpi4py.

    Raises
    ------
    LabellingError
        If it would have to spawn its workers, which hangs or is forbidden on many clusters.
    """
    make_ase_serial()
    if executor._pool is not None:
        return
    if not _is_pool_job():
        raise LabellingError(f"{type(executor).__name__} has no ranks to work; {HOW}")
    from mpi4py.futures import MPIPoolExecutor

    MPIPoolExecutor(main=False, path=list(sys.path)).bootup()


def abort(reason: str) -> None:
    """End the whole job; a worker that only raised would leave the driver waiting for ever.

    Parameters
    ----------
    reason
        What the user should do about it.
    """
    from mpi4py import MPI

    logger.critical(reason)
    MPI.COMM_WORLD.Abort(1)


def make_ase_serial() -> None:
    """Keep ASE from waiting for the other ranks, none of which runs the user's script.

    With mpi4py imported, reading and writing files through ASE is a collective operation.
    """
    from ase.parallel import DummyMPI, world

    world.comm = DummyMPI()


def _is_pool_job() -> bool:
    from mpi4py.futures import _core

    return _core.SharedPool is not None
