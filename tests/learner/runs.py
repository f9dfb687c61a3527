"""Small runs: a reference that counts and fails on demand, a tiny potential."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT

from ase_bmdal import (
    InitialData,
    LabellingSettings,
    ModelSettings,
    OnTheFlyCalculator,
    Retraining,
    UncertaintyLimits,
)
from ase_bmdal.learner.learner import Request
from ase_bmdal.learner.pool import Frame

TINY = ModelSettings(hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)


class Watched(EMT):
    """EMT that notes its calls in a file, and fails as often as another file says."""

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        with (self.folder / "calls").open("a") as file:
            file.write("call\n")
        failures = self.folder / "failures"
        if failures.exists() and (left := int(failures.read_text())):
            failures.write_text(str(left - 1))
            raise RuntimeError("the SCF did not converge")
        super().calculate(atoms, properties, system_changes)


class Watch:
    """The folder of `Watched`."""

    def __init__(self, folder):
        self.folder = folder
        self.reference = partial(Watched, str(folder))

    @property
    def calls(self):
        path = self.folder / "calls"
        return len(path.read_text().split()) if path.exists() else 0

    def fail(self, times):
        (self.folder / "failures").write_text(str(times))


def learning(reference, directory, **settings):
    """A calculator that learns fast and badly: bounds of one epoch exceed every force, and are no ceiling."""
    settings["uncertainty"] = replace(settings.get("uncertainty", UncertaintyLimits()), ceiling=1e9)
    defaults = {
        "architecture": TINY,
        "epochs": 1,
        "retraining": Retraining(epochs=1),
        "initial_data": InitialData(n_structures=4),
        "batch_size": 3,
        "pool_size": 6,
        "executor": "in-process",
        "labelling": LabellingSettings(),
    }
    return OnTheFlyCalculator(reference, directory, **(defaults | settings))


def copper(seed=0, by=0.05, repeat=1):
    atoms = bulk("Cu", cubic=True).repeat(repeat)
    atoms.rattle(by, seed=seed)
    return atoms


def labelled(n, repeat=1):
    """Copper with labels of EMT."""
    structures = [copper(seed, repeat=repeat) for seed in range(n)]
    for atoms in structures:
        atoms.calc = EMT()
        atoms.get_stress()
    return structures


def walk(atoms, calc, steps, seed=0, by=0.02):
    """A simulation: so many force calls along a random walk."""
    rng = np.random.default_rng(seed)
    atoms.calc = calc
    energies = []
    for _ in range(steps):
        energies.append(atoms.get_potential_energy())
        atoms.positions += by * rng.standard_normal(atoms.positions.shape)
    return energies


def learn(calc, pool, required=()):
    """A round, for frames that nobody simulated."""
    for atoms in pool:
        calc.learner.offer(Frame(atoms))
    calc._loop.round(Request(required=[Frame(atoms) for atoms in required]), calc.learner.generation)
