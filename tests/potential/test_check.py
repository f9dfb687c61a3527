"""Networks, committees and sums are potentials; what is none is found out."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from ase_bmdal import check_potential
from ase_bmdal.baseline.baseline import Baseline
from ase_bmdal.potential.gmnn import Committee
from ase_bmdal.potential.with_baseline import WithBaseline
from ase_bmdal.structures.labels import Label
from tests.baseline.cheap import PAIRS
from tests.builders import random_model, rattled
from tests.learner.runs import copper

pytestmark = pytest.mark.usefixtures("not_compiled")
SMALL = {"hidden": (8,), "n_gaussians": 4, "n_radial": 2, "cutoff": 3.5}
STRUCTURES = [
    copper(),
    rattled(Atoms("Cu3", [[0, 0, 0], [2.4, 0, 0], [0, 2.5, 0.3]])),
]


class OfCalculator:
    """A potential that is none of ours: EMT, the results of which are changed by ``spoil``."""

    elements = (29,)

    def __init__(self, spoil=lambda label, atoms: label):
        self.spoil = spoil

    def predict(self, structures):
        baseline = Baseline(EMT)
        return [self.spoil(baseline.label(atoms), atoms) for atoms in structures]


@pytest.mark.parametrize(
    "potential",
    [
        random_model([29], **SMALL),
        random_model([29], **SMALL, dtype="float32"),
        Committee([random_model([29], seed, **SMALL) for seed in range(2)]),
        WithBaseline(random_model([29], **SMALL), Baseline(PAIRS)),
        OfCalculator(),
    ],
    ids=["network", "single precision", "committee", "with a baseline", "none of ours"],
)
def test_potentials(potential):
    check_potential(potential, STRUCTURES)


def with_energy(label, energy):
    return Label(energy, label.forces, label.stress)


def lopsided(atoms):
    """A vector that turns with the structure, and is the same elsewhere and in any order."""
    away = atoms.positions - atoms.positions.mean(axis=0)
    return (np.sum(away**2, axis=1)[:, None] * away).sum(axis=0)


SPOILT = {
    "forces of shape": lambda label, atoms: Label(label.energy),
    "expected a stress, got none": lambda label, atoms: Label(label.energy, label.forces),
    "expected a finite energy": lambda label, atoms: with_energy(label, np.nan),
    "atoms in another order": lambda label, atoms: with_energy(
        label, label.energy + atoms.positions[:, 0] ** 2 @ np.arange(len(atoms))
    ),
    "when it is turned": lambda label, atoms: with_energy(
        label, label.energy + np.ptp(atoms.positions[:, 2])
    ),
    "forces that turn with the structure": lambda label, atoms: Label(
        label.energy, label.forces + np.array([1.0, 0, 0]), label.stress
    ),
    "the same energy elsewhere": lambda label, atoms: with_energy(
        label, label.energy + np.linalg.norm(atoms.get_center_of_mass())
    ),
    "forces that add to nothing": lambda label, atoms: Label(
        label.energy, label.forces + lopsided(atoms), label.stress
    ),
    "a repeated cell": lambda label, atoms: with_energy(label, label.energy + len(atoms) ** 2),
    "the forces to be the derivative": lambda label, atoms: Label(
        label.energy, 1.1 * label.forces, label.stress
    ),
    "the stress to be the derivative": lambda label, atoms: Label(
        label.energy, label.forces, label.stress if label.stress is None else label.stress + 0.1
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_none(what):
    with pytest.raises(ValueError, match=f"structure 0: .*{what}"):
        check_potential(OfCalculator(SPOILT[what]), STRUCTURES[:1])


def test_one_that_looks_at_what_is_beside():
    class Nosy(OfCalculator):
        def predict(self, structures):
            return [
                with_energy(label, label.energy + len(structures)) for label in super().predict(structures)
            ]

    with pytest.raises(ValueError, match="the same energy whatever is predicted beside it"):
        check_potential(Nosy(), STRUCTURES)


def test_elements_it_does_not_know():
    with pytest.raises(
        ValueError, match=r"structure 1: expected elements that the potential knows, got also \[14\]"
    ):
        check_potential(OfCalculator(), [copper(), Atoms("Si")])
