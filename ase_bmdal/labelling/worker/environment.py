"""The environment of a reference calculation."""

import functools
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
LAUNCHER_PREFIXES = ("PMI_", "PMI2_", "PMIX_", "OMPI_", "OPAL_", "PRTE_", "HYDI_", "MPI_LOCAL")
LAUNCHER_NAMES = ("GFORTRAN_UNBUFFERED_PRECONNECTED",)
LAUNCHER_HOMES = ("OPAL_PREFIX", "PMIX_PREFIX", "PRTE_PREFIX")
OF_THE_USER = ("OMPI_MCA_", "OMPI_ALLOW_", "PMIX_MCA_", "PRTE_MCA_")
NOT_OF_THE_USER = (  # although they look like it; of Open MPI 4 and 5
    "OMPI_MCA_PREFIXES", "OMPI_MCA_cpu_type", "OMPI_MCA_ess", "OMPI_MCA_initial_wdir", "OMPI_MCA_num_procs",
    "OMPI_MCA_orte_", "OMPI_MCA_pmix", "OMPI_MCA_shmem_RUNTIME",
)  # fmt: skip
SLURM = ("SLURM_",)
UNBOUND = {  # launchers of Open MPI 4 and 5 bind ranks to the first cores of a node, those of other labels
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PROGRAMS = ("mpiexec", "mpirun", "srun")


def clean_environment(
    environment: Mapping[str, str],
    wanted: Mapping[str, str | None] | None = None,
    threads: int | None = None,
) -> dict[str, str]:
    """Environment in which a code may start an MPI of its own, and uses one thread and its own cores.

    Parameters
    ----------
    environment
        Of the label worker, which may be a rank of an MPI job or a step of a SLURM job.
    wanted
        `LabellingSettings.environment`: variables to set, or with None to hand down.
    threads
        `LabellingSettings.threads`: what a code is told, unless `wanted` says otherwise.

    Returns
    -------
    dict
        The same without what the MPI launcher and SLURM set: a label is computed on one node, and what they say is of
        another program. Ranks of Open MPI stay on the cores of the worker, unless the user has said how to bind them.
    """
    of_threads = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    wanted = of_threads | dict(wanted or {})
    clean = dict.fromkeys(THREADS, "1") | UNBOUND | dict(environment)
    for name in environment:
        if name.startswith(SLURM):
            del clean[name]
    if any(name in environment for name in LAUNCHED):
        clean = _without_the_launcher(clean, environment)
    kept = [pattern for pattern, value in wanted.items() if value is None]
    clean |= {
        name: value for name, value in environment.items() if any(fnmatchcase(name, each) for each in kept)
    }
    return clean | {name: value for name, value in wanted.items() if value is not None}


def _without_the_launcher(clean: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in clean.items() if not _is_of_the_launcher(name)}
    homes = tuple(environment[name] + os.sep for name in LAUNCHER_HOMES if name in environment)
    folders = kept.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
    libraries = [folder for folder in folders if folder and not (folder + os.sep).startswith(homes)]
    return kept | ({"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {})


def _is_of_the_launcher(name: str) -> bool:
    if name.startswith(OF_THE_USER):
        return name.startswith(NOT_OF_THE_USER)
    return name.startswith(LAUNCHER_PREFIXES) or name in LAUNCHER_NAMES


@functools.cache
def header() -> str:
    """What stands first in the log of a calculation: where it runs, and which MPI launchers it would find."""
    lines = [f"ase_bmdal: a label on {platform.node()}"]
    lines += [f"ase_bmdal: {name} is {path}" for name in PROGRAMS if (path := shutil.which(name))]
    found = shutil.which("mpiexec")
    if found and Path(found).parent == Path(sys.executable).parent:
        lines.append(
            "ase_bmdal: that mpiexec belongs to Python; a code of another MPI would run under it as serial copies"
        )
    return "\n".join(lines) + "\n"
