import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from ase_bmdal.structures.compute import compute


class Counting(EMT):
    calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        type(self).calls += 1
        super().calculate(atoms, properties, system_changes)


class Smeared(Calculator):
    implemented_properties = ("energy", "free_energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 1.0, "free_energy": 0.9, "forces": np.zeros((len(atoms), 3), np.float32)}


class Plain:
    """The oldest kind of ASE calculator."""

    def get_potential_energy(self, atoms=None, force_consistent=False):
        return np.array([2.0])[0]

    def get_forces(self, atoms):
        return [[0.0, 0.0, 0.0]] * len(atoms)

    def get_stress(self, atoms):
        raise NotImplementedError


def test_equals_what_ase_says():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    result = compute(EMT(), atoms.copy(), with_stress=True)
    assert result.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(result.forces, atoms.get_forces())
    np.testing.assert_array_equal(result.stress, atoms.get_stress())


def test_one_calculation_for_everything():
    Counting.calls = 0
    compute(Counting(), bulk("Cu"), with_stress=True)
    assert Counting.calls == 1


def test_energy_is_the_one_the_forces_belong_to():
    result = compute(Smeared(), molecule("H2O"), with_stress=False)
    assert result.energy == 0.9
    assert result.forces.dtype == np.float64


def test_no_stress_unless_wanted_and_there():
    assert compute(EMT(), bulk("Cu"), with_stress=False).stress is None
    assert compute(Smeared(), bulk("Si"), with_stress=True).stress is None


def test_calculators_that_inherit_from_nothing():
    result = compute(Plain(), bulk("Si"), with_stress=True)
    assert result.energy == 2.0
    assert result.stress is None


def test_results_are_copies():
    atoms = bulk("Cu")
    calculator = EMT()
    result = compute(calculator, atoms, with_stress=True)
    assert not np.shares_memory(result.forces, calculator.results["forces"])


def test_something_else_than_a_calculator():
    with pytest.raises(TypeError, match="expected an ASE calculator, got int"):
        compute(3, bulk("Cu"), with_stress=True)


def test_calculator_that_knows_another_structure_only():
    other = SinglePointCalculator(molecule("H2O"), energy=1.0, forces=np.zeros((3, 3)))
    with pytest.raises(PropertyNotImplementedError, match="energy"):
        compute(other, molecule("CH4"), with_stress=False)
