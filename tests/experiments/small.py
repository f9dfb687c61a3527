"""A benchmark that takes a second: forty rattled water molecules, labelled by EMT."""

import numpy as np
from ase.build import molecule
from ase.calculators.emt import EMT

from ase_bmdal import ModelSettings, TrainingSettings
from ase_bmdal_experiments.frames import Frames
from ase_bmdal_experiments.settings import BenchmarkSettings
from tests.builders import rattled

ARCHITECTURE = ModelSettings(cutoff=4.0, hidden=(8,), n_gaussians=4, n_radial=2)


def water(n=40):
    """Labelled structures."""
    structures = [rattled(molecule("H2O"), seed=seed, by=0.1) for seed in range(n)]
    for atoms in structures:
        atoms.calc = EMT()
        atoms.get_forces()
    return structures


def frames(n=40, forces=True):
    """The same as flat arrays."""
    structures = water(n)
    return Frames(
        sizes=np.full(n, 3),
        numbers=np.concatenate([atoms.numbers for atoms in structures]),
        positions=np.concatenate([atoms.positions for atoms in structures]),
        energies=np.array([atoms.get_potential_energy() for atoms in structures]),
        forces=np.concatenate([atoms.get_forces() for atoms in structures]) if forces else None,
    )


def settings(**changes):
    """Three steps."""
    usual = {
        "data": "water",
        "initial": 4,
        "final": 8,
        "batch": 2,
        "valid": 4,
        "test": 10,
        "architecture": ARCHITECTURE,
        "training": TrainingSettings(epochs=3, batch_size=2),
    }
    return BenchmarkSettings(**{**usual, **changes})
