"""What has changed between two structures: as ASE says, but for rounding."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes, compare_atoms

from ase_bmdal.calculator.results import changes_between

CHANGES = {
    "nothing": lambda atoms: None,
    "positions": lambda atoms: atoms.rattle(0.1),
    "a position in the last digit": lambda atoms: atoms.positions.__setitem__((0, 0), np.nextafter(1.0, 2)),
    "numbers": lambda atoms: atoms.numbers.__setitem__(0, 1),
    "cell": lambda atoms: atoms.set_cell(1.01 * atoms.cell.array),
    "pbc": lambda atoms: atoms.set_pbc([True, False, True]),
    "charges": lambda atoms: atoms.set_initial_charges([0.5] * len(atoms)),
    "moments": lambda atoms: atoms.set_initial_magnetic_moments([0.5] * len(atoms)),
    "what does not matter": lambda atoms: atoms.set_momenta(np.ones((len(atoms), 3))),
    "fewer atoms": lambda atoms: atoms.__delitem__(0),
    "two things": lambda atoms: (atoms.rattle(0.1), atoms.set_pbc(False)),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("atoms", [bulk("Si", cubic=True), molecule("H2O", vacuum=3.0)], ids=["Si", "H2O"])
def test_the_same_as_ase(atoms, what):
    old = atoms.copy()
    old.positions[0, 0] = 1.0
    new = old.copy()
    CHANGES[what](new)
    found = changes_between(old, new)
    if what == "a position in the last digit":
        assert found == ["positions"]
    else:
        assert set(found) == set(compare_atoms(old, new))


def test_positions_that_are_no_numbers_have_always_changed():
    atoms = bulk("Si", cubic=True)
    atoms.positions[0] = np.nan
    assert changes_between(atoms, atoms.copy()) == ["positions"]


def test_without_a_structure_before_everything_has_changed():
    assert changes_between(None, bulk("Si")) == all_changes
