import copy
import multiprocessing
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
from ase_bmdal.common.errors import ForkError, ModelError, PredictionError, UnknownElementError
from ase_bmdal.potential.gmnn import GMNN, Committee
from ase_bmdal.potential.gradients import compiled_step
from ase_bmdal.uncertainty.error_model import ErrorModel
from tests.builders import random_model, rattled
from tests.learner.runs import copper, learning, walk

pytestmark = pytest.mark.usefixtures("not_compiled")  # but for those that ask for `compiled`

SMALL = {"hidden": (8,), "n_gaussians": 4, "n_radial": 2, "cutoff": 3.5}


def model(seed=0, **settings):
    return random_model([1, 8, 29], seed, **{**SMALL, **settings})


@pytest.mark.parametrize("atoms", [rattled(molecule("H2O")), copper()], ids=["molecule", "crystal"])
def test_forces_and_stress_are_derivatives(atoms, compiled):
    atoms.calc = GMNNCalculator(model())
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-5), atol=1e-6)
    assert atoms.get_potential_energy() == atoms.get_potential_energy(force_consistent=True)
    if atoms.pbc.all():
        np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)


@pytest.mark.parametrize("n_members", [1, 2])
def test_double_precision_of_any_model(n_members):
    single = [model(seed, dtype="float32") for seed in range(n_members)]
    posterior = np.eye(single[0].settings.n_invariants + 1, dtype=np.float32)
    known = ErrorModel(posterior if n_members == 1 else None, 2.0, 3.0)
    single = single[0] if n_members == 1 else Committee(single)
    atoms = copper()
    atoms.calc = GMNNCalculator(single, error_model=known)
    energy, bounds = atoms.get_potential_energy(), atoms.calc.get_property("forces_uncertainty", atoms)
    atoms.calc = GMNNCalculator(single, error_model=known, dtype="float64")
    numerical = calculate_numerical_forces(atoms, eps=1e-5, iatoms=[0])
    np.testing.assert_allclose(atoms.get_forces()[:1], numerical, rtol=0, atol=1e-8)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)
    np.testing.assert_allclose(atoms.calc.results["forces_uncertainty"], bounds, rtol=1e-3)
    assert single.settings.dtype == "float32"
    with pytest.raises(ValueError, match="'float32' or 'float64'"):
        GMNNCalculator(single, dtype="float16")


def test_layers_that_come_together():
    """No atom of one was a neighbour of the other when the calculator saw them first."""
    atoms = copper()
    atoms.set_cell([3.61, 3.61, 12.0])
    atoms.calc = GMNNCalculator(model())
    for height in (12.0, 6.0, 4.0):
        atoms.set_cell([3.61, 3.61, height])
        fresh = atoms.copy()
        fresh.calc = GMNNCalculator(model())
        np.testing.assert_allclose(atoms.get_stress(), fresh.get_stress(), rtol=1e-4, atol=1e-7)
        assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-5)


def _energy(atoms):
    return atoms.get_potential_energy()


def test_a_process_that_was_forked_off_says_what_to_do():
    """It would wait for ever for threads that it does not have."""
    atoms = copper()
    atoms.calc = GMNNCalculator(model())
    energy = _energy(atoms)
    atoms.calc.reset()
    with (
        multiprocessing.get_context("fork").Pool(1) as pool,
        pytest.raises(ForkError, match=r'multiprocessing\.get_context\("spawn"\)'),
    ):
        pool.apply_async(_energy, (atoms,)).get(timeout=60)
    assert _energy(atoms) == energy


def test_growth_compiles_once_for_each_doubling():
    """Atom by atom from 1 to 24; it was compiled 15 times."""
    whole = copper(repeat=2)
    calc = GMNNCalculator(model(cutoff=3.25))
    before = compiled_step.cache_info().misses
    for n_atoms in range(1, 25):
        atoms = Atoms(whole.numbers[:n_atoms], whole.positions[:n_atoms])
        forces = calc.get_forces(atoms)
        if n_atoms in (1, 2, 17):  # fits, fills what has room, does not
            np.testing.assert_allclose(forces, calc.model.predict([atoms])[0].forces, atol=1e-9)
    assert compiled_step.cache_info().misses - before <= 6


def test_says_what_it_is():
    known = ErrorModel(None, 2.0, 3.0)
    text = "H O Cu; cutoff 3.5 Å, float64"
    assert repr(GMNNCalculator(model())) == f"GMNNCalculator(GMNN({text}))"
    both = Committee([model(0), model(1)])
    text = f"GMNNCalculator(Committee(2 × GMNN({text})), with bounds)"
    assert repr(GMNNCalculator(both, error_model=known)) == text


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
        calc.learner.potential.save(tmp_path / "model.npz")
        atoms = calc.atoms
    for source in (tmp_path / "run", str(tmp_path / "model.npz"), calc.learner.potential):
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
    good = molecule("H2O")
    calc.get_potential_energy(good)
    for atoms, error, message in cases:
        for _ in range(2):  # also if nothing has changed
            with pytest.raises(error, match=message):
                calc.get_potential_energy(atoms)
    assert calc.get_potential_energy(good) == pytest.approx(model().predict([good])[0].energy)


def test_a_prediction_that_is_not_a_number():
    sound = model()
    broken = GMNN(sound.settings, sound.elements, sound.parameters, sound.atomic_energies * np.nan, 1.0)
    with pytest.raises(PredictionError, match="predicted energy of OH2 is not a number"):
        GMNNCalculator(broken).get_potential_energy(molecule("H2O"))


def test_atoms_at_one_place():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0]])
    atoms.calc = GMNNCalculator(model())
    with pytest.raises(PredictionError, match="same place"):
        atoms.get_forces()


@pytest.mark.parametrize("potential", [model(), Committee([model(0), model(1)])], ids=["one", "committee"])
def test_can_be_copied_and_sent(potential):
    atoms = copper()
    atoms.calc = GMNNCalculator(potential)
    energy = atoms.get_potential_energy()
    for twin in (copy.deepcopy(atoms), pickle.loads(pickle.dumps(atoms))):
        twin.positions += 0.0
        twin.calc.reset()
        assert twin.get_potential_energy() == pytest.approx(energy, abs=1e-12)
