"""Labels by any `concurrent.futures.Executor` of the user, which is never shut down here."""

from concurrent.futures import Executor

from ase_bmdal.labelling.backends import mpi
from ase_bmdal.labelling.backends.base import Backend


def backend(executor: Executor) -> Backend:
    """Use an executor as it is.

    Parameters
    ----------
    executor
        Of whatever engine.

    Raises
    ------
    LabellingError
        If it is one of mpi4py that has no ranks to work.
    """
    if type(executor).__module__.partition(".")[0] == "mpi4py":
        mpi.prepare_workers(executor)
    return Backend(executor=executor, owned=False)
