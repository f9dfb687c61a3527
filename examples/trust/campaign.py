"""Ethanol at three temperatures and silicon up to melting, many seeds, with trust off and on.

Writes one line for each run that is finished; started again, it goes on with the next. Any number of lines is
balanced: seed after seed, every system off and on.
"""

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from records import Record, append, commit, is_done, read, refuse_if_stopped
from systems import SYSTEMS, ExplodedError, System, Watch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ase_bmdal import GMNNCalculator, OnTheFlyCalculator, UncertaintyLimits
from ase_bmdal.common.errors import UntrustedError
from ase_bmdal.report.errors import errors_of
from ase_bmdal.run.events import Cause
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.labels import labels_of
from ase_bmdal.uncertainty.calibrate import force_errors, observed_coverage

LEARNING = {
    "cutoff": 5.0,
    "batch_size": 5,
    "pool_size": 80,
    "pool_interval": 10,
    "max_labels": 100,
    "epochs": 100,
    "executor": "in-process",
}
CHECKED = 20  # frames of a run whose forces are compared with the reference afterwards
REPEATS = 5  # of the timing
CALLS = 40  # force calls in each

DOUBTFUL = (Cause.BOUND_EXCEEDED, Cause.REJECTED)


class Sampler:
    """Keeps some frames of a simulation, and the forces and bounds it went on with; after going back the later ones."""

    def __init__(self, dyn: Any, every: int) -> None:
        self._dyn, self._every = dyn, every
        self.frames: dict[int, tuple[Atoms, np.ndarray, np.ndarray | None]] = {}

    def __call__(self) -> None:
        atoms, step = self._dyn.atoms, self._dyn.nsteps
        if step and step % self._every == 0:
            results = atoms.calc.results
            self.frames[step] = (Atoms(atoms), results["forces"], results.get("forces_uncertainty"))


def run_one(
    system: System, seed: int, trust: bool, work: Path, learning: dict[str, Any] = LEARNING
) -> Record:
    """Simulate, and put the potential to the test."""
    start = time.process_time()
    test = system.test_frames(work)
    folder = work / f"{system.name}-{seed}-{'on' if trust else 'off'}"
    shutil.rmtree(folder, ignore_errors=True)
    record: Record = {"system": system.name, "seed": seed, "trust": trust, "commit": commit()}
    with OnTheFlyCalculator(
        system.reference,
        folder,
        seed=seed,
        uncertainty=UncertaintyLimits(enabled=trust),
        on_event=lambda _: None,
        **learning,
    ) as calc:
        dyn = system.dynamics(calc, seed, "campaign")
        sampler = Sampler(dyn, max(1, system.steps // CHECKED))
        dyn.attach(Watch(system, dyn))
        dyn.attach(sampler)
        record |= _outcome(lambda: (calc.run if trust else _plain)(dyn, system.steps))
        refuse_if_stopped(record["outcome"] != "completed" or dyn.nsteps == system.steps)
        record |= {"steps": dyn.nsteps, "rewinds": dyn.atoms.info.get("rewinds", 0)}
        rows = LabelStore(folder / "labels.db").rows()
        record |= _learned(rows)
        record["doubtful_rounds"] = sum(each.cause in DOUBTFUL for each in History.read(folder).rounds)
        record |= _tested(calc.learner.potential, test)
        record["along"] = _along(sampler, system)
        if trust:
            record["force_call"] = _force_call(calc.learner.potential, calc.learner.current.error_model, test)
    shutil.rmtree(folder / "models")
    return record | {"cpu_seconds": round(time.process_time() - start, 1)}


def _plain(dyn: Any, steps: int) -> None:
    dyn.run(steps)


def _outcome(simulate: Any) -> Record:
    try:
        simulate()
    except ExplodedError as error:
        return {"outcome": "exploded", "reason": str(error)}
    except UntrustedError as error:
        return {"outcome": "refused", "reason": str(error)}
    except Exception as error:
        return {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"[:300]}
    return {"outcome": "completed", "reason": ""}


def _learned(rows: Sequence[Any]) -> Record:
    """Labels, and coverage of each round's."""
    rounds = sorted({row.round for row in rows})
    of_round = [[row for row in rows if row.round == number] for number in rounds]
    errors = [
        force_errors(row).max() for row in rows if row.round and row.prediction and row.status == "done"
    ]
    return {
        "labels": sum(row.status == "done" for row in rows),
        "failed_labels": sum(row.status == "failed" for row in rows),
        "rounds": len(rounds) - 1,
        "coverage": [observed_coverage(each) for each in of_round],
        "largest_label_error": round(float(max(errors)), 3) if errors else None,
    }


def _tested(model: Any, test: Sequence[Atoms]) -> Record:
    errors = errors_of(model.predict(test), labels_of(test))["forces"]
    return {"force_mae": round(errors.mae, 4), "force_rmse": round(errors.rmse, 4)}


def _along(sampler: Sampler, system: System) -> Record:
    """Errors of the forces that the simulation went on with, per atom."""
    errors, within = [], []
    for atoms, forces, bounds in sampler.frames.values():
        atoms.calc = system.reference()
        try:
            error = np.linalg.norm(forces - atoms.get_forces(), axis=1)
        except Exception:
            continue
        errors.append(error)
        within += [] if bounds is None else [error <= bounds]
    return {
        "frames": len(errors),
        "mean_error": round(float(np.mean(errors)), 4) if errors else None,
        "largest_error": round(float(np.max(errors)), 3) if errors else None,
        "coverage": round(float(np.mean(within)), 4) if within else None,
    }


def _force_call(model: Any, error_model: Any, frames: Sequence[Atoms]) -> Record:
    """Milliseconds of a force call without and with uncertainty, in turns."""
    times: dict[str, list[float]] = {"without": [], "with": []}
    calculators = {
        "without": GMNNCalculator(model),
        "with": GMNNCalculator(model, error_model=error_model),
    }
    for _ in range(REPEATS + 1):
        for name, calculator in calculators.items():
            atoms = Atoms(frames[0])
            atoms.calc = calculator
            start = time.process_time()
            for call in range(CALLS):
                atoms.positions[0, 0] += 1e-3 * (-1) ** call
                atoms.get_forces()
            times[name].append(1e3 * (time.process_time() - start) / CALLS)
    return {name: round(statistics.median(each[1:]), 3) for name, each in times.items()}


def run_all(systems: Iterable[System], seeds: Iterable[int], out: Path, work: Path, **how: Any) -> None:
    """All runs that are not in the file of results yet."""
    systems = list(systems)
    for seed in seeds:
        for system in systems:
            for trust in (False, True):
                key = {"system": system.name, "seed": seed, "trust": trust}
                if is_done(read(out), **key):
                    continue
                record = run_one(system, seed, trust, work, **how)
                append(out, record)
                print(record, flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--work", type=Path, required=True, help="folder of run folders and test frames")
    options.add_argument("--seeds", type=int, default=20, help="how many (%(default)s)")
    options.add_argument("--first-seed", type=int, default=0, help="(%(default)s)")
    options.add_argument(
        "--systems",
        nargs="+",
        choices=[each.name for each in SYSTEMS],
        default=[each.name for each in SYSTEMS],
    )
    wanted = options.parse_args()
    systems = [system for system in SYSTEMS if system.name in wanted.systems]
    seeds = range(wanted.first_seed, wanted.first_seed + wanted.seeds)
    run_all(systems, seeds, wanted.out, wanted.work)


if __name__ == "__main__":
    main()
