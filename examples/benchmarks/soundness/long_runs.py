"""Long runs: on the fly, or replayed with another recipe on the labels of a run. Both leave a run folder.

A run that loses its way starts again from its first structure with new velocities; killed, it goes on. A replay trains
on the labels of a finished run, round after round in their order, and never simulates.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from data import LONG_RUNS, LongRun
from molecules import thermalised
from recipes import Recipe, add_arguments, recipe
from results import append, commit, read

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ase_bmdal import Convergence, OnTheFlyCalculator
from ase_bmdal.acquisition import DEFAULT
from ase_bmdal.common.errors import BatchFailedError, UntrustedError
from ase_bmdal.common.randomness import stream
from ase_bmdal.learner.loading import SavedPotential, read_potential
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.training import PotentialHistory, Training
from ase_bmdal.run.events import Cause, Round
from ase_bmdal.run.folder import RunFolder
from ase_bmdal.run.history import History
from ase_bmdal.run.store import Entry, LabelStore
from ase_bmdal.uncertainty.calibrate import predictions

CHUNK = 200  # steps
NEVER = Convergence(rounds=10**6)  # learning ends when the budget is spent


def run(
    system: LongRun,
    how: Recipe,
    folder: Path,
    seed: int,
    max_labels: int,
    max_rounds: int,
    selection: str = DEFAULT,
) -> None:
    """Learn while simulating until the budget is spent."""
    with OnTheFlyCalculator(
        system.reference,
        folder,
        selection=selection,
        batch_size=10,
        pool_size=200,
        seed=seed,
        max_labels=max_labels,
        max_rounds=max_rounds,
        convergence=NEVER,
        architecture=how.settings("architecture", cutoff=system.cutoff),
        training=how.settings("training"),
        retraining=how.settings("retraining"),
        executor="in-process",
        on_event=lambda _: None,
    ) as calc:
        starts = folder / "starts.jsonl"
        why = "begun, or begun again after the process had ended"
        while calc.learner.is_learning:
            attempt = len(read(starts))
            append(
                starts,
                {"recipe": how.name, "commit": commit(), "attempt": attempt, "why": why} | _labels(folder),
            )
            why = _simulate(system, calc, stream(seed, "long run", attempt))


def _labels(folder: Path) -> dict[str, int]:
    rows = LabelStore(folder / "labels.db").rows("done")
    return {"labels": len(rows), "round": max((row.round for row in rows), default=-1)}


def _simulate(system: LongRun, calc: OnTheFlyCalculator, rng: np.random.Generator) -> str:
    """From the first structure until learning ends or the potential fails; says how."""
    atoms = system.structure()
    atoms.calc = calc
    dyn = thermalised(atoms, system.temperature, system.timestep, rng)
    try:
        while calc.learner.is_learning:
            planned = dyn.nsteps + CHUNK
            calc.run(dyn, CHUNK)
            if calc.learner.is_learning and dyn.nsteps < planned:
                raise SystemExit("stopped; start again to go on")
    except (UntrustedError, BatchFailedError) as error:
        return f"step {dyn.nsteps}: {type(error).__name__}: {error}"[:500]
    return f"step {dyn.nsteps}: {calc.learner.reason_to_finish}"


def replay(
    source: Path,
    how: Recipe,
    folder: Path,
    cutoff: float,
    seed: int,
    *,
    scratch: bool,
    every: int,
    last: int | None,
) -> None:
    """Train on the labels of another run, round after round, as a run would.

    Parameters
    ----------
    source, folder
        Run folder of the labels, and of the replay.
    how
        Recipe.
    cutoff
        Å.
    seed
        Of the potentials.
    scratch
        Train each potential from scratch instead of going on from the one before.
    every
        Train after so many rounds.
    last
        Round to end with.
    """
    rows = LabelStore(source / "labels.db").rows("done")
    settings = LearnerSettings(
        seed=seed,
        selection=DEFAULT,
        architecture=how.settings("architecture", cutoff=cutoff),
        training=how.settings("training"),
        retraining=how.settings("retraining"),
        convergence=NEVER,
    )
    run_folder = RunFolder(folder)
    models = PotentialHistory(run_folder, settings, lambda _: None)
    models.find(rows)
    append(folder / "starts.jsonl", {"recipe": how.name + " from scratch" * scratch, "commit": commit()})
    noted = {report.round for report in History.read(folder).rounds}
    numbers, known, before = sorted({row.round for row in rows}), list[Entry](), None
    for number in [each for each in numbers if each % every == 0 and (last is None or each <= last)]:
        known += _predicted([row for row in rows if row.round <= number][len(known) :], before)
        path = run_folder.model_path(number)
        if not path.exists():
            if scratch:
                models = PotentialHistory(run_folder, settings, lambda _: None)
            start = time.process_time()
            found = models.train(known, number, final=number == numbers[-1])
            models.keep(number)
            report = _report(number, known, time.process_time() - start, found)
            if number not in noted:
                run_folder.note(report)
            print(report, flush=True)
        before = read_potential(path)
    run_folder.close()


def _report(number: int, known: Sequence[Entry], seconds: float, found: Training) -> Round:
    n_new = sum(row.round == number for row in known)
    return Round(
        round=number,
        labels=len(known),
        failed=0,
        new_labels=n_new,
        pool=0,
        force_mae=None,
        force_rmse=None,
        energy_mae=None,
        select_seconds=0.0,
        label_seconds=0.0,
        train_seconds=round(seconds, 1),
        cause=Cause.REQUESTED,
        **found._asdict(),
    )


def _predicted(rows: Sequence[Entry], before: SavedPotential | None) -> list[Entry]:
    """Labels with what a potential says of them, if there is one."""
    atoms = [row.atoms for row in rows]
    found = predictions(before.potential, before.error_model, atoms) if before else [{} for _ in rows]
    return [replace(row, prediction=said) for row, said in zip(rows, found, strict=True)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    add_arguments(options)
    options.add_argument("--system", choices=list(LONG_RUNS), default="ethanol", help="(%(default)s)")
    options.add_argument("--folder", type=Path, required=True, help="run folder")
    options.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    options.add_argument("--labels", type=int, default=600, help="that a run may have (%(default)s)")
    options.add_argument("--rounds", type=int, default=60, help="that a run may have (%(default)s)")
    options.add_argument("--selection", default=DEFAULT, help="of a run (%(default)s)")
    options.add_argument("--replay", type=Path, help="train on the labels of this run folder instead")
    options.add_argument("--scratch", action="store_true", help="each potential of a replay from scratch")
    options.add_argument("--every", type=int, default=1, help="replay every so many rounds (%(default)s)")
    options.add_argument("--last", type=int, help="last round of a replay")
    wanted = options.parse_args()
    how, system = recipe(wanted.recipe, wanted.changes), LONG_RUNS[wanted.system]
    if wanted.replay:
        replay(
            wanted.replay,
            how,
            wanted.folder,
            system.cutoff,
            wanted.seed,
            scratch=wanted.scratch,
            every=wanted.every,
            last=wanted.last,
        )
    else:
        run(system, how, wanted.folder, wanted.seed, wanted.labels, wanted.rounds, wanted.selection)


if __name__ == "__main__":
    main()
