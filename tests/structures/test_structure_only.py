import pickle

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from ase_bmdal.structures.structure_only import structure_only


def test_keeps_what_a_label_depends_on():
    atoms = molecule("O2", cell=[5, 6, 7], pbc=[True, False, True])
    atoms.set_initial_charges([0.5, -0.5])
    atoms.set_tags([1, 2])
    atoms.set_momenta(np.ones((2, 3)))
    atoms.info = {"charge": np.int64(-1), "spin": 3, "name": "oxygen"}
    copy = structure_only(atoms)
    assert copy == atoms
    np.testing.assert_array_equal(copy.get_initial_magnetic_moments(), [1.0, 1.0])
    np.testing.assert_array_equal(copy.get_initial_charges(), [0.5, -0.5])
    np.testing.assert_array_equal(copy.get_tags(), [1, 2])
    np.testing.assert_array_equal(copy.get_momenta(), atoms.get_momenta())
    assert copy.info == {"charge": -1, "spin": 3, "name": "oxygen"}
    assert type(copy.info["charge"]) is int


def test_leaves_out_what_cannot_travel():
    atoms = molecule("H2O")
    atoms.calc = EMT()
    atoms.set_constraint(FixAtoms([0]))
    atoms.info = {"f": lambda: 1, "array": np.zeros(3), 5: "number as key", "pair": (1, 2), "fine": [1, 2]}
    copy = structure_only(atoms)
    assert copy.calc is None
    assert not copy.constraints
    assert copy.info == {"fine": [1, 2]}
    pickle.dumps(copy)


def test_something_else_than_a_structure():
    with pytest.raises(TypeError, match=r"expected an ase\.Atoms, got str"):
        structure_only("H2O")


def test_is_independent():
    atoms = molecule("H2O")
    copy = structure_only(atoms)
    copy.positions += 1
    assert not np.allclose(copy.positions, atoms.positions)
