import math

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances

from ase_bmdal.features.inputs import input_features
from ase_bmdal.kernels import GPPosterior
from ase_bmdal.potential.evaluator import Evaluator
from ase_bmdal.potential.gmnn import Committee
from tests.builders import every_geometry, model_for, random_model, rattled

pytestmark = pytest.mark.usefixtures("not_compiled")  # but for those that ask for `compiled`

GEOMETRIES = every_geometry()
ELEMENTS = sorted({int(z) for atoms in GEOMETRIES.values() for z in atoms.numbers})


@pytest.fixture(scope="module")
def model():
    return random_model(ELEMENTS)


@pytest.fixture(scope="module")
def posterior(model):
    known = [rattled(atoms, seed=9) for atoms in list(GEOMETRIES.values())[:3]]
    return GPPosterior(input_features(model, known))


@pytest.fixture(scope="module")
def matrix(model, posterior):
    """`P` with φ_GP = P φ."""
    return posterior(np.eye(model.settings.n_invariants + 1)).T


@pytest.mark.parametrize("name", ["molecule", "crystal", "skewed", "slab"])
def test_of_an_atom_is_the_posterior_deviation_of_its_features(model, posterior, matrix, name, compiled):
    label, raw, _ = Evaluator().predict(model, GEOMETRIES[name], matrix)
    features = input_features(model, [GEOMETRIES[name]])
    np.testing.assert_allclose(raw.atoms, np.sqrt(posterior.variance(features)), rtol=1e-8)
    whole = np.sqrt(posterior.variance(features.sum(axis=0)[None])[0])
    assert raw.energy == pytest.approx(whole, rel=1e-8)
    [expected] = model.predict([GEOMETRIES[name]])
    np.testing.assert_allclose(label.forces, expected.forces, atol=1e-10)


def test_is_not_known_without_a_posterior(model):
    _, raw, _ = Evaluator().predict(model, GEOMETRIES["molecule"])
    assert np.isinf(raw.atoms).all()
    assert raw.energy == math.inf


def test_of_a_committee_is_the_spread_of_its_forces():
    members = [random_model([14], seed=seed) for seed in range(3)]
    atoms = GEOMETRIES["crystal"]
    _, raw, _ = Evaluator().predict(Committee(members), atoms)
    each = [member.predict([atoms])[0] for member in members]
    forces = np.array([label.forces for label in each])
    expected = [
        math.sqrt(sum(np.sum((f[i] - forces[:, i].mean(axis=0)) ** 2) for f in forces) / 2)
        for i in range(len(atoms))
    ]
    np.testing.assert_allclose(raw.atoms, expected, rtol=1e-6, atol=1e-12)
    assert raw.energy == pytest.approx(np.std([label.energy for label in each], ddof=1), rel=1e-6)


@pytest.mark.parametrize("name", list(GEOMETRIES))
def test_the_closest_pair(model, name):
    atoms = GEOMETRIES[name]
    _, raw, _ = Evaluator().predict(model, atoms)
    images = atoms.copy()
    # Every image that could be closest: a box of three cells each way.
    shifts = [
        np.array([a, b, c]) @ atoms.cell.array
        for a in (range(-2, 3) if atoms.pbc[0] else [0])
        for b in (range(-2, 3) if atoms.pbc[1] else [0])
        for c in (range(-2, 3) if atoms.pbc[2] else [0])
    ]
    radii = covalent_radii[atoms.numbers]
    found = []
    for shift in shifts:
        _, distances = get_distances(images.positions, images.positions + shift)
        ratio = distances / (radii[:, None] + radii)
        found += ratio[(distances > 1e-9) & (distances < model.settings.cutoff)].tolist()
    if found:
        assert raw.closest == pytest.approx(min(found), rel=1e-6)
    else:
        assert raw.closest > 1


def test_atoms_without_neighbours_are_far_apart():
    lonely = Atoms("H")
    _, raw, _ = Evaluator().predict(model_for([lonely]), lonely)
    assert raw.closest > 1


@pytest.mark.parametrize("name", ["molecule", "skewed"])
def test_the_bias_is_the_derivative_of_the_sum_of_uncertainties(model, matrix, name):
    evaluator, atoms = Evaluator(), GEOMETRIES[name].copy()

    def energy(structure):
        return -evaluator.predict(model, structure, matrix).uncertainty.atoms.sum()

    bias = evaluator.predict(model, atoms, matrix, with_bias=True).bias_label
    assert bias.energy == pytest.approx(energy(atoms), rel=1e-8)
    for atom, axis in [(0, 0), (1, 2), (len(atoms) - 1, 1)]:
        sides = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * 1e-4
            sides.append(energy(moved))
        assert bias.forces[atom, axis] == pytest.approx(-(sides[0] - sides[1]) / 2e-4, rel=1e-4, abs=1e-7)
    if atoms.pbc.all():
        sides = []
        for sign in (1, -1):
            strained = atoms.copy()
            deformation = np.eye(3)
            deformation[0, 1] += sign * 1e-4
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            sides.append(energy(strained))
        slope = (sides[0] - sides[1]) / 2e-4 / atoms.get_volume()
        assert bias.stress[5] == pytest.approx(slope, rel=1e-3, abs=1e-8)
    else:
        assert bias.stress is None


def test_asking_for_the_bias_changes_nothing_else(model, matrix):
    without, with_it = (
        Evaluator().predict(model, GEOMETRIES["crystal"], matrix, with_bias=with_bias)
        for with_bias in (False, True)
    )
    assert without.bias_label is None
    np.testing.assert_allclose(without.label.forces, with_it.label.forces, atol=1e-10)
    np.testing.assert_allclose(without.uncertainty.atoms, with_it.uncertainty.atoms, rtol=1e-10)
    assert Evaluator().predict(model, GEOMETRIES["crystal"], with_bias=True).bias_label is None
