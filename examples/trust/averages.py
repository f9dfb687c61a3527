"""Mean potential energy and radial distribution of ethanol at 500 K, without and with a rewind in the middle.

A potential is learned once. Each simulation takes its run folder up; in the middle of one of two, atoms are put next to
each other, so that it has to go back and learn. The same is simulated with the reference itself. Started again, it goes
on.
"""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from records import Record, append, commit, is_done, read, refuse_if_stopped
from systems import SYSTEMS, System

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ase_bmdal import OnTheFlyCalculator
from ase_bmdal.run.store import LabelStore

LEARNING = {
    "cutoff": 5.0,
    "batch_size": 5,
    "pool_size": 200,
    "pool_interval": 5,
    "epochs": 150,
    "executor": "in-process",
    "on_event": lambda _: None,
}
SIMULATING = LEARNING | {"pool_interval": 600}  # little is learned without a reason
EQUILIBRATION = 0.2  # part of the steps
SPACING = 10  # steps between samples
BINS = np.linspace(0.8, 5.0, 85)  # Å
KINDS = ("reference", "plain", "rewind")
TOO_CLOSE = 0.2  # Å


class Samples:
    """Energies and pair distances of a simulation."""

    def __init__(self, dyn: Any, first: int) -> None:
        self._dyn, self._first = dyn, first
        self.energies: dict[int, float] = {}
        self.counts: dict[int, np.ndarray] = {}

    def __call__(self) -> None:
        """Take a sample if it is time; a step that is done anew replaces what it was before."""
        atoms, step = self._dyn.atoms, self._dyn.nsteps
        if step > self._first and step % SPACING == 0:
            distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
            self.energies[step] = atoms.get_potential_energy()
            self.counts[step] = np.histogram(distances, BINS)[0]

    def averages(self) -> Record:
        density = np.mean(list(self.counts.values()), axis=0) / np.diff(BINS)
        return {
            "n_samples": len(self.energies),
            "mean_energy": round(float(np.mean(list(self.energies.values()))), 6),
            "distances_per_angstrom": np.round(density, 4).tolist(),
        }


class Accident:
    """Puts two atoms next to each other, once."""

    def __init__(self, dyn: Any, step: int) -> None:
        self._dyn, self._step, self._happened = dyn, step, False

    def __call__(self) -> None:
        """Let it happen if it is time."""
        if self._dyn.nsteps == self._step and not self._happened:
            self._happened = True
            self._dyn.atoms.positions[1] = self._dyn.atoms.positions[0] + [0.0, 0.0, TOO_CLOSE]


def learn(system: System, folder: Path, max_labels: int, learning: dict[str, Any] = LEARNING) -> None:
    """A potential for all simulations; the folder is there only if it is finished."""
    if folder.exists():
        return
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    with OnTheFlyCalculator(system.reference, unfinished, max_labels=max_labels, **learning) as calc:
        dyn = system.dynamics(calc, 0, "learning")
        while calc.learner.is_learning:
            planned = dyn.nsteps + min(100, system.steps)
            calc.run(dyn, min(100, system.steps))
            refuse_if_stopped(dyn.nsteps == planned)
    unfinished.rename(folder)


def run_one(
    system: System, kind: str, seed: int, learned: Path, work: Path, learning: dict[str, Any] = SIMULATING
) -> Record:
    """One simulation."""
    if kind == "reference":
        dyn = system.dynamics(system.reference(), seed, "averages")
        samples = Samples(dyn, int(EQUILIBRATION * system.steps))
        dyn.attach(samples)
        dyn.run(system.steps)
        return {"kind": kind, "seed": seed, "rewinds": 0, "labels": 0} | samples.averages()
    folder = work / f"averages-{kind}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(learned, folder)
    with OnTheFlyCalculator(system.reference, folder, **learning) as calc:
        dyn = system.dynamics(calc, seed, "averages")
        samples = Samples(dyn, int(EQUILIBRATION * system.steps))
        dyn.attach(samples)
        if kind == "rewind":
            dyn.attach(Accident(dyn, int((1 + EQUILIBRATION) / 2 * system.steps)))
        calc.run(dyn, system.steps)
        refuse_if_stopped(dyn.nsteps == system.steps)
        labels = len(LabelStore(folder / "labels.db").rows("done"))
    shutil.rmtree(folder)
    rewinds = dyn.atoms.info.get("rewinds", 0)
    return {"kind": kind, "seed": seed, "rewinds": rewinds, "labels": labels} | samples.averages()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--work", type=Path, required=True, help="folder of run folders")
    options.add_argument("--seeds", type=int, default=8, help="how many (%(default)s)")
    options.add_argument("--steps", type=int, default=6000, help="of each simulation (%(default)s)")
    options.add_argument("--labels", type=int, default=80, help="to learn from at first (%(default)s)")
    wanted = options.parse_args()
    base = next(each for each in SYSTEMS if each.name == "ethanol-500")
    system = System(base.name, base.structure, base.reference, base.timestep, base.temperatures, wanted.steps)
    learn(system, wanted.work / "averages-learned", wanted.labels)
    now = commit()
    for seed in range(wanted.seeds):
        for kind in KINDS:
            if is_done(read(wanted.out), kind=kind, seed=seed):
                continue
            record = run_one(system, kind, seed, wanted.work / "averages-learned", wanted.work)
            append(wanted.out, record | {"steps": wanted.steps, "commit": now})
            print({name: value for name, value in record.items() if np.isscalar(value)}, flush=True)


if __name__ == "__main__":
    main()
