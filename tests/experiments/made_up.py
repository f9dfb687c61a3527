"""Results as a benchmark leaves them, without one."""

import json

from ase_bmdal import Acquisition
from ase_bmdal_experiments.folder import ResultsFolder
from tests.experiments.small import settings

METHODS = ("MAXDIAG + RND", "LCMD + FEAT(LL)", "LCMD + FEAT(RP)")


def record(method, seed, step, size, forces):
    energy = {"mae": 0.1 * (seed + 1), "rmse": 0.2, "maxe": 0.5}
    errors = {"energy": energy}
    if forces:
        errors["forces"] = {"mae": 1.0 / size + seed, "rmse": 2.0, "maxe": 3.0, "maxe_component": 4.0}
    found = None if "RND" in method else {"pearson": 0.25, "spearman": None}
    return {
        "method": method,
        "seed": seed,
        "step": step,
        "n_train": size,
        "errors": errors,
        "correlation": found,
        "seconds": {"training": 2.0, "evaluation": 1.0},
    }


def write(path, methods=METHODS, seeds=(0, 1), **changes):
    how = settings(**changes)
    folder = ResultsFolder(path, how)
    for method in methods:
        for seed in seeds:
            lines = [
                json.dumps(record(method, seed, step, size, how.forces))
                for step, size in enumerate(how.sizes)
            ]
            folder.curve(Acquisition.parse(method), seed).path.write_text("\n".join(lines) + "\n")
    return path
