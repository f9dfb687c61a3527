"""Results that ASE knows and its files keep; what has changed between two structures, as ASE says but for rounding."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes, all_properties, compare_atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.io.extxyz import per_atom_properties, per_config_properties
from ase.io.trajectory import Trajectory

from ase_bmdal import GMNNCalculator, UncertaintyLimits
from ase_bmdal.calculator.results import PROPERTIES, UNBIASED, changes_between, register_properties
from ase_bmdal.uncertainty.error_model import ErrorModel
from tests.builders import random_model
from tests.learner.runs import copper, learning, walk

pytestmark = pytest.mark.usefixtures("not_compiled")

BOUNDS = ("energy_uncertainty", "forces_uncertainty")


@pytest.fixture
def frame():
    """Copper with a calculator that gives bounds."""
    model = random_model([29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)
    posterior = np.eye(model.settings.n_invariants + 1)
    atoms = copper()
    atoms.calc = GMNNCalculator(model, error_model=ErrorModel(posterior, 1.0, 2.0))
    atoms.get_forces()
    return atoms


def test_asked_for_together(frame):
    found = frame.get_properties(["energy", "forces", "stress", *BOUNDS])
    np.testing.assert_array_equal(found["forces"], frame.get_forces())
    for name in BOUNDS:
        np.testing.assert_array_equal(found[name], frame.calc.results[name])


def test_results_may_be_frozen(frame):
    frozen = frame.copy()
    frozen.calc = SinglePointCalculator(frozen, **frame.calc.results)
    assert sorted(frozen.calc.results) == sorted(PROPERTIES)
    np.testing.assert_array_equal(frozen.get_forces(), frame.get_forces())


@pytest.mark.parametrize("name", ["frames.traj", "frames.extxyz"])
@pytest.mark.parametrize("frozen", [False, True])
def test_files_keep_the_bounds(frame, name, frozen, tmp_path):
    written = frame.copy() if frozen else frame
    written.calc = SinglePointCalculator(written, **frame.calc.results) if frozen else frame.calc
    write(tmp_path / name, [written])
    [found] = read(tmp_path / name, ":")
    for each in BOUNDS:
        np.testing.assert_allclose(found.calc.results[each], frame.calc.results[each], atol=1e-7)


def test_a_trajectory_written_while_it_learns_keeps_everything(watch, tmp_path):
    calc = learning(
        watch.reference, tmp_path / "run", bias=0.5, uncertainty=UncertaintyLimits(probability=0.8)
    )
    atoms = copper()
    walk(atoms, calc, 2)
    atoms.get_forces()
    with Trajectory(tmp_path / "frames.traj", "w", atoms) as trajectory:
        trajectory.write()
    [found] = read(tmp_path / "frames.traj", ":")
    for name in (*BOUNDS, *UNBIASED):
        np.testing.assert_array_equal(found.calc.results[name], calc.results[name])


def test_registering_twice_changes_nothing():
    before = [list(each) for each in (all_properties, per_atom_properties, per_config_properties)]
    register_properties()
    assert [all_properties, per_atom_properties, per_config_properties] == before
    assert all(len(set(each)) == len(each) for each in before)


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


def test_without_a_structure_before_everything_has_changed():
    assert changes_between(None, bulk("Si")) == all_changes
