import copy
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ase_bmdal import GMNNCalculator
from ase_bmdal.common.errors import ModelError, PredictionError, UnknownElementError
from ase_bmdal.potential.gmnn import GMNN, Committee
from tests.builders import random_model, rattled
from tests.learner.runs import copper, learning, walk


def model(seed=0):
    return random_model([1, 8, 29], seed, hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)


@pytest.mark.parametrize("atoms", [rattled(molecule("H2O")), copper()], ids=["molecule", "crystal"])
def test_forces_and_stress_are_derivatives(atoms):
    atoms.calc = GMNNCalculator(model())
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-5), atol=1e-6)
    assert atoms.get_potential_energy() == atoms.get_potential_energy(force_consistent=True)
    if atoms.pbc.all():
        np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)


def test_a_molecule_has_no_stress():
    atoms = molecule("H2O")
    atoms.calc = GMNNCalculator(model())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_relaxes_positions_and_cell():
    atoms = copper()
    atoms.calc = GMNNCalculator(model())
    before = atoms.get_potential_energy()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=12)
    assert atoms.get_potential_energy() < before


def test_reads_a_file_and_a_run_folder(watch, tmp_path):
    atoms = copper()
    with learning(watch.reference, tmp_path / "run", max_rounds=1) as calc:
        energy = walk(atoms, calc, 7)[-1]
        calc.learner.model.save(tmp_path / "model.npz")
        atoms = calc.atoms
    for source in (tmp_path / "run", str(tmp_path / "model.npz"), calc.learner.model):
        atoms.calc = GMNNCalculator(source)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)


def test_what_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="run folder with a trained potential, found none"):
        GMNNCalculator(tmp_path)
    with pytest.raises(ModelError, match="found nothing"):
        GMNNCalculator(tmp_path / "model.npz")


def test_bad_structures_have_clear_errors():
    calc = GMNNCalculator(model())
    cases = [
        (bulk("Si"), UnknownElementError, "got also Si"),
        (Atoms("H2", [[0, 0, 0], [np.nan, 0, 0]]), ValueError, "finite positions"),
        (Atoms(), ValueError, "with atoms"),
    ]
    for atoms, error, message in cases:
        with pytest.raises(error, match=message):
            calc.get_potential_energy(atoms)
    good = molecule("H2O")
    assert np.isfinite(calc.get_potential_energy(good))


def test_a_prediction_that_is_not_a_number():
    sound = model()
    broken = GMNN(sound.settings, sound.elements, sound.parameters, sound.atomic_energies * np.nan, 1.0)
    with pytest.raises(PredictionError, match="predicted energy of OH2 is not a number"):
        GMNNCalculator(broken).get_potential_energy(molecule("H2O"))


def test_atoms_at_one_place():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0]])
    atoms.calc = GMNNCalculator(model())
    try:
        assert np.isfinite(atoms.get_forces()).all()
    except PredictionError as error:
        assert "same place" in str(error)


@pytest.mark.parametrize("potential", [model(), Committee([model(0), model(1)])], ids=["one", "committee"])
def test_can_be_copied_and_sent(potential):
    atoms = copper()
    atoms.calc = GMNNCalculator(potential)
    energy = atoms.get_potential_energy()
    for twin in (copy.deepcopy(atoms), pickle.loads(pickle.dumps(atoms))):
        twin.positions += 0.0
        twin.calc.reset()
        assert twin.get_potential_energy() == pytest.approx(energy, abs=1e-12)
