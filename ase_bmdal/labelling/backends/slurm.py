"""Labels by jobs of a SLURM queue, each with a dask worker; the one place that knows dask-jobqueue."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling.backends import dask
from ase_bmdal.labelling.backends.base import Backend
from ase_bmdal.labelling.settings import LabellingSettings

P = ParamSpec("P")
T = TypeVar("T")

NO_DASHBOARD = {"dashboard_address": ":0"}  # a port that is free: several drivers may share a node


def backend(n_workers: int | None, settings: LabellingSettings) -> Backend:
    """Have ``settings.jobs`` jobs in the queue, as long as the labeller is open.

    Raises
    ------
    LabellingError
        If dask-jobqueue or SLURM is missing, or SLURM refuses such a job.
    ValueError
        If the settings of the job make no sense to dask-jobqueue.
    """
    cluster = make_cluster(settings)
    try:
        _refuse_what_slurm_refuses(cluster.job_script())
        # Unlike `scale`, this replaces jobs that have ended.
        cluster.adapt(minimum_jobs=settings.jobs, maximum_jobs=settings.jobs)
        executor = SlurmExecutor(cluster)
    except BaseException:
        cluster.close()
        raise
    return Backend(
        executor=executor,
        hindrance=dask.Presence(executor.client, settings).hindrance,
        lease=dask.lease_of(executor.client, settings),
        n_workers=settings.jobs,
    )


def make_cluster(settings: LabellingSettings) -> Any:
    """The cluster, with no job yet.

    Parameters
    ----------
    settings
        ``cores`` and ``job`` are used.

    Raises
    ------
    LabellingError
        If dask-jobqueue or ``sbatch`` is missing.
    ValueError
        If the settings of the job make no sense to dask-jobqueue.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise LabellingError(
            f'executor="slurm" needs dask-jobqueue: {error}; pip install dask-jobqueue'
        ) from error
    if shutil.which("sbatch") is None:
        raise LabellingError('executor="slurm" needs SLURM: found no sbatch on PATH')
    one_label = {"cores": 1, "processes": 1, "job_cpu": settings.cores or 1}
    try:
        return SLURMCluster(**({"scheduler_options": NO_DASHBOARD} | one_label | settings.job))
    except (TypeError, ValueError) as error:
        raise ValueError(f"job: {error}") from error


def _refuse_what_slurm_refuses(script: str) -> None:
    """Jobs are submitted in a thread, where a refusal would only be logged, and labels wait for ever."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.sh")
        path.write_text(script)
        tried = subprocess.run(["sbatch", "--test-only", path], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise LabellingError(f"SLURM refuses the jobs of the labels: {tried.stderr.strip()}\n{script}")


class SlurmExecutor(Executor):
    """Tasks for the jobs of a cluster, all of which end with it.

    Parameters
    ----------
    cluster
        A ``SLURMCluster``.
    """

    def __init__(self, cluster: Any) -> None:
        from distributed import Client

        self._cluster = cluster
        self.client = Client(cluster, set_as_default=False)
        self._executor = self.client.get_executor(pure=False)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have one of the jobs call a function."""
        future: Future[T] = self._executor.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the jobs; may be called twice."""
        self.client.close()
        self._cluster.close()
