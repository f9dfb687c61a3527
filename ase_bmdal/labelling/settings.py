"""What a label may cost and what it may look like."""

import shlex
from typing import Annotated

from pydantic import Field, JsonValue, PositiveFloat, PositiveInt

from ase_bmdal.common.settings import settings


@settings
class LabellingSettings:
    """Limits on a reference calculation.

    Parameters
    ----------
    timeout
        Longest time for one label, seconds; None for no limit.
    closest_pair
        Fraction of the sum of two covalent radii below which a pair is refused before the calculation:
        H–H at 0.25 Å, O–H at 0.39 Å. No bond under pressure and no transition state comes near it,
        while electronic-structure codes answer there with finite nonsense.
    max_force
        Largest force in a label, eV/Å. Published data sets of hot oxides hold sound forces up to 191 eV/Å.
    stress
        Whether structures periodic in all three directions need a stress. Otherwise none is computed.
    cores
        Cores for one label: with ``"local"`` so many workers as fit, each with cores of its own, which no other label
        uses; None for one worker per core, none of which has cores of its own. With ``"slurm"`` those of a job.
        Elsewhere whoever starts the workers gives them their cores, and this is the ``{cores}`` of a launcher only.
    threads
        Of OpenMP and of linear algebra in a calculation; None for what the environment says, else one.
    launcher
        What starts the reference as a program of several ranks, such as ``"mpiexec -n {cores}"``; it stays alive
        between labels. A reference with a parameter ``comm`` gets the communicator of its ranks. None for no ranks.
    quorum
        Part of a round that suffices to go on: failures are then replaced at once, and what comes later joins the next.
        None is all of it in the blocking loop; in the background nine tenths, but for the first labels of a run and
        those of a new element, which are needed all.
    jobs
        Jobs that ``"slurm"`` has in the queue at a time, each of which computes one label after the other.
    job
        What ``"slurm"`` tells ``dask_jobqueue.SLURMCluster`` of each job, besides what follows from `cores`:
        ``{"queue": "short", "memory": "8GB", "walltime": "02:00:00"}``.
    worker_wait
        Longest time without a single worker of a dask cluster, seconds, before a run ends with an error. None is ten
        minutes, and no limit where the workers are jobs in a queue.
    local_scratch
        Folder on the disk of a worker, such as ``"/tmp"`` or ``"$TMPDIR"``: labels are computed in it, and workers need
        not see the run folder; files of a failed label come back. None for a folder below the run folder.
    environment
        Environment variables of a calculation by name: a text sets one; None hands down what the label worker has,
        where it would be dropped, as those of SLURM and of an outer MPI are. A ``*`` at the end of a name stands for
        any rest: ``{"OMP_NUM_THREADS": "4", "SLURM_*": None}``.
    """

    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    closest_pair: Annotated[float, Field(ge=0, lt=1)] = 0.4
    max_force: PositiveFloat = 200.0
    stress: bool = True
    cores: PositiveInt | None = None
    threads: PositiveInt | None = None
    launcher: Annotated[str, Field(min_length=1)] | None = None
    quorum: Annotated[float, Field(gt=0, le=1)] | None = None
    jobs: PositiveInt = 1
    job: dict[str, JsonValue] = Field(default_factory=dict)
    worker_wait: PositiveFloat | None = None
    local_scratch: Annotated[str, Field(min_length=1)] | None = None
    environment: dict[str, str | None] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a launcher that is not told what it needs."""
        if self.launcher is not None and self.cores is None:
            raise ValueError(
                f"launcher: expected cores as well, so many ranks to start, got {self.launcher!r} alone"
            )

    @property
    def launch(self) -> tuple[str, ...]:
        """The command that starts ranks, in words; empty for none."""
        return tuple(shlex.split(self.launcher.format(cores=self.cores))) if self.launcher else ()
