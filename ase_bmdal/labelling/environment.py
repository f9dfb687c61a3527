"""The environment of a reference calculation."""

import os
from collections.abc import Mapping

LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
LAUNCHER_PREFIXES = ("PMI_", "PMI2_", "PMIX_", "OMPI_", "OPAL_", "PRTE_", "HYDI_", "MPI_LOCAL")
LAUNCHER_NAMES = ("GFORTRAN_UNBUFFERED_PRECONNECTED",)
LAUNCHER_HOMES = ("OPAL_PREFIX", "PMIX_PREFIX", "PRTE_PREFIX")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def for_a_calculation(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment in which a code may start an MPI of its own, and uses one thread unless told otherwise.

    Parameters
    ----------
    environment
        Of the label worker, which may be a rank of an MPI job.

    Returns
    -------
    dict
        The same without what the MPI launcher set.
    """
    clean = dict.fromkeys(THREADS, "1") | dict(environment)
    if not any(name in environment for name in LAUNCHED):
        return clean
    for name in environment:
        if name.startswith(LAUNCHER_PREFIXES) or name in LAUNCHER_NAMES:
            del clean[name]
    return _without_libraries_of_the_launcher(clean, environment)


def _without_libraries_of_the_launcher(
    clean: dict[str, str], environment: Mapping[str, str]
) -> dict[str, str]:
    homes = tuple(environment[name] + os.sep for name in LAUNCHER_HOMES if name in environment)
    folders = clean.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
    kept = [folder for folder in folders if folder and not (folder + os.sep).startswith(homes)]
    return clean | ({"LD_LIBRARY_PATH": os.pathsep.join(kept)} if kept else {})
