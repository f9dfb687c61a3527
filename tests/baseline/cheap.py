"""Cheap methods, sound and unsound."""

from functools import partial

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

PAIRS = partial(LennardJones, sigma=2.3, epsilon=0.4, rc=5.0, smooth=True)
STIFFER = partial(LennardJones, sigma=2.3, epsilon=0.5, rc=5.0, smooth=True)


class Unsound(EMT):
    """EMT, the results of which are changed by ``spoil``."""

    def spoil(self):
        """Nothing is changed here."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.spoil()


class OfTheOrder(Unsound):
    def spoil(self):
        numbers = np.arange(len(self.atoms))
        self.results["free_energy"] += 0.1 * float(numbers @ self.atoms.positions[:, 0] ** 2)


class OfTheLastCall(Unsound):
    calls = 0

    def spoil(self):
        self.calls += 1
        self.results["free_energy"] += self.calls


class OfTheAxes(Unsound):
    def spoil(self):
        self.results["forces"] = self.results["forces"] + [1.0, 0.0, 0.0]


class WithoutStress(Unsound):
    implemented_properties = ("energy", "forces")

    def spoil(self):
        del self.results["stress"]


class NotANumber(Unsound):
    def spoil(self):
        self.results["forces"] = np.full_like(self.results["forces"], np.nan)


class EnergyOnly(Calculator):
    implemented_properties = ("energy",)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.results = {"energy": 1.0}


class Fails(Unsound):
    """Wherever two atoms are closer than the limit, Å."""

    limit = 2.2

    def spoil(self):
        if self.atoms.get_all_distances(mic=True)[np.triu_indices(len(self.atoms), 1)].min() < self.limit:
            raise RuntimeError("the iterations did not converge")
