import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.stress import full_3x3_to_voigt_6_stress

from ase_bmdal import load_model
from ase_bmdal.common.errors import ModelError, UnknownElementError
from ase_bmdal.potential.evaluator import Evaluator
from ase_bmdal.potential.files import read_model, save_model
from ase_bmdal.potential.gmnn import GMNN, Committee, atomic_invariants
from ase_bmdal.potential.gradients import compiled_evaluate, compiled_step
from ase_bmdal.potential.network import InputScaling
from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.structures.batch import Geometry
from ase_bmdal.structures.buckets import bucket
from tests.builders import every_geometry, model_for, random_model, rattled
from tests.reference import potential as reference

pytestmark = pytest.mark.usefixtures("not_compiled")  # but for those that ask for `compiled`

GEOMETRIES = every_geometry()
STRUCTURES = list(GEOMETRIES.values())


@pytest.fixture(scope="module")
def model():
    return model_for(GEOMETRIES.values())


def test_energies_equal_the_reference(model, compiled):
    for atoms, label in zip(STRUCTURES, model.predict(STRUCTURES), strict=True):
        assert label.energy == pytest.approx(reference.energy(atoms, model), rel=0, abs=1e-10)


def test_forces_are_minus_the_gradient(model, compiled):
    step = 1e-4
    moved = []
    for atoms in STRUCTURES:
        for i, axis, sign in itertools.product(range(len(atoms)), range(3), (1, -1)):
            moved.append(atoms.copy())
            moved[-1].positions[i, axis] += sign * step
    energies = np.array([label.energy for label in model.predict(moved)]).reshape(-1, 3, 2)
    numeric = -(energies[..., 0] - energies[..., 1]) / (2 * step)
    forces = np.concatenate([label.forces for label in model.predict(STRUCTURES)])
    np.testing.assert_allclose(forces, numeric, rtol=0, atol=1e-6)
    assert np.abs(forces).max() > 0.05


def test_stress_is_the_derivative_by_strain(model):
    step, crystals = 1e-5, [atoms for atoms in STRUCTURES if atoms.pbc.all()]
    strained = []
    for atoms, a, b, sign in itertools.product(crystals, range(3), range(3), (1, -1)):
        strain = np.eye(3)
        strain[a, b] += sign * step
        strained.append(atoms.copy())
        strained[-1].set_cell(atoms.cell.array @ strain, scale_atoms=True)
    energies = np.array([label.energy for label in model.predict(strained)]).reshape(-1, 3, 3, 2)
    numeric = (energies[..., 0] - energies[..., 1]) / (2 * step)
    for atoms, virial, label in zip(crystals, numeric, model.predict(crystals), strict=True):
        matrix = virial / atoms.get_volume()
        np.testing.assert_allclose(label.stress, full_3x3_to_voigt_6_stress(matrix), rtol=0, atol=1e-6)
        np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-6)


def test_no_stress_without_a_full_cell(model):
    assert model.predict([GEOMETRIES["slab"]])[0].stress is None
    assert model.predict([GEOMETRIES["molecule in a box"]])[0].stress is None


def test_rotation_reflection_permutation_translation(model):
    atoms = GEOMETRIES["molecule"]
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3))
    turned.positions *= (1, 1, -1)
    turned.positions += (1, -2, 3)
    order = np.random.default_rng(0).permutation(len(atoms))
    label, other = model.predict([atoms, turned[order]])
    assert other.energy == pytest.approx(label.energy, abs=1e-10)
    np.testing.assert_allclose(
        np.linalg.norm(other.forces, axis=1), np.linalg.norm(label.forces[order], axis=1), atol=1e-10
    )


def test_a_repeated_cell_has_the_same_energy_per_atom(model):
    atoms = GEOMETRIES["skewed"]
    one, eight = model.predict([atoms, atoms.repeat(2)])
    assert eight.energy == pytest.approx(8 * one.energy, abs=1e-9)
    np.testing.assert_allclose(eight.stress, one.stress, atol=1e-10)


def test_the_batch_does_not_matter(model):
    together, backwards = model.predict(STRUCTURES), model.predict(STRUCTURES[::-1])[::-1]
    alone = [model.predict([atoms])[0] for atoms in STRUCTURES[:3]]
    for label, other in [*zip(together, backwards, strict=True), *zip(together, alone, strict=False)]:
        assert label.energy == pytest.approx(other.energy, rel=0, abs=1e-10)
        np.testing.assert_allclose(label.forces, other.forces, rtol=0, atol=1e-10)


def test_energy_is_smooth_at_the_cutoff(model):
    cutoff = model.settings.cutoff
    inside, outside = model.predict([Atoms("HO", [[0, 0, 0], [cutoff + d, 0, 0]]) for d in (-1e-6, 1e-6)])
    assert inside.energy == pytest.approx(outside.energy, abs=1e-9)
    np.testing.assert_allclose(inside.forces, 0, atol=1e-4)


def test_float32_agrees_with_float64(compiled):
    double, single = (model_for(STRUCTURES, dtype=dtype) for dtype in ("float64", "float32"))
    for a, b in zip(double.predict(STRUCTURES), single.predict(STRUCTURES), strict=True):
        assert a.energy == pytest.approx(b.energy, rel=1e-4)
        np.testing.assert_allclose(a.forces, b.forces, rtol=1e-4, atol=1e-4 * np.abs(a.forces).max() + 1e-5)


def test_large_energies_cost_no_accuracy():
    atoms = rattled(molecule("CH3CH2OH"))
    model = model_for([atoms], dtype="float32")
    heavy = GMNN(
        model.settings,
        model.elements,
        model.parameters,
        model.atomic_energies - 1e5,
        model.energy_scale,
        model.inputs,
    )
    low, high = model.predict([atoms])[0], heavy.predict([atoms])[0]
    assert high.energy + 9e5 == pytest.approx(low.energy, abs=1e-8)


@pytest.mark.parametrize("name", ["molecule", "skewed", "slab"])
def test_a_moving_structure_gives_what_predict_gives(model, name, compiled):
    moving, atoms = Evaluator(skin=0.6), GEOMETRIES[name].copy()
    for step in range(4):
        (label, *_), [expected] = moving.predict(model, atoms), model.predict([atoms])
        assert label.energy == pytest.approx(expected.energy, abs=1e-9)
        np.testing.assert_allclose(label.forces, expected.forces, atol=1e-9)
        if expected.stress is None:
            assert label.stress is None
        else:
            np.testing.assert_allclose(label.stress, expected.stress, atol=1e-9)
        atoms.rattle(0.06, seed=step)
        if atoms.cell.rank == 3:
            atoms.set_cell(atoms.cell.array * (1 + 0.002 * step), scale_atoms=True)


def test_a_moving_structure_may_become_another_one(model):
    moving = Evaluator()
    for name in ("molecule", "crystal", "molecule", "slab"):
        [expected] = model.predict([GEOMETRIES[name]])
        label, *_ = moving.predict(model, GEOMETRIES[name])
        assert label.energy == pytest.approx(expected.energy, abs=1e-9)


def test_shapes_are_traced_once_per_bucket(compiled):
    model = random_model([14], hidden=(5,), n_radial=1, cutoff=4.5)
    moving, crystal = Evaluator(skin=0.0), bulk("Si", cubic=True)
    seen, before = set(), compiled_step.cache_info().currsize
    for step in range(40):
        frame = rattled(crystal, seed=step, by=0.2)
        moving.predict(model, frame)
        seen.add(Geometry.of(frame, 4.5).width)
    shapes = {(1, 8, bucket(width)) for width in seen}
    assert compiled_step.cache_info().currsize - before == len(shapes) < len(seen)
    assert all(compiled_step(model.settings, s, False).n_traces == 1 for s in shapes)
    before = compiled_evaluate.cache_info().currsize
    for n in range(33, 49):
        model.predict([Atoms(f"Si{n}", positions=5.0 * np.arange(3 * n).reshape(n, 3))])
    assert (
        compiled_evaluate.cache_info().currsize - before
        == len({bucket(n, bits=0) for n in range(33, 49)})
        == 1
    )


def test_unknown_elements_are_named():
    with pytest.raises(UnknownElementError, match=r"\(H, O\), got also Na, Cl"):
        random_model([1, 8]).predict([bulk("NaCl", "rocksalt", a=4.0)])


def test_positions_must_be_numbers(model):
    atoms = GEOMETRIES["molecule"].copy()
    atoms.positions[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"finite positions.*atom 2"):
        model.predict([atoms])
    with pytest.raises(ValueError, match="finite positions"):
        Evaluator().predict(model, atoms)


def test_a_committee_predicts_the_mean():
    models = [random_model([14], seed=seed) for seed in range(3)]
    atoms = GEOMETRIES["crystal"]
    committee = Committee(models)
    [label], [each] = committee.predict([atoms]), committee.predict_each([atoms])
    assert label.energy == pytest.approx(np.mean([m.predict([atoms])[0].energy for m in models]))
    np.testing.assert_allclose(label.stress, np.mean([one.stress for one in each], axis=0))
    moving, *_ = Evaluator().predict(committee, atoms)
    np.testing.assert_allclose(moving.forces, label.forces, atol=1e-10)


@pytest.mark.parametrize("n_members", [1, 3])
def test_a_saved_model_gives_the_same_numbers(tmp_path, n_members):
    members = [random_model([14], seed=seed, dtype="float32") for seed in range(n_members)]
    model = members[0] if n_members == 1 else Committee(members)
    save_model(tmp_path / "model.npz", model, notes={"round": 3})
    again = load_model(tmp_path / "model.npz")
    [before], [after] = (m.predict([GEOMETRIES["crystal"]]) for m in (model, again))
    assert before.energy == after.energy
    np.testing.assert_array_equal(before.forces, after.forces)
    assert again.settings == model.settings
    assert read_model(tmp_path / "model.npz")[1] == {"round": 3}


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(ModelError, match="found nothing"):
        load_model(path)
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="none or damaged") as error:
        load_model(path)
    assert "pickle" not in str(error.value)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ModelError, match="none or damaged"):
        load_model(path)
    random_model([14]).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="none or damaged"):
        load_model(path)


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    from ase_bmdal.potential import files

    monkeypatch.setattr(files, "FORMAT", files.FORMAT + 1)
    random_model([14]).save(tmp_path / "model.npz")
    monkeypatch.undo()
    with pytest.raises(ModelError, match="newer version"):
        load_model(tmp_path / "model.npz")


@pytest.mark.parametrize(
    "wrong",
    [{"cutoff": -1}, {"cutoff": 0.6, "r_min": 1.0}, {"hidden": ()}, {"n_radial": 0}, {"dtype": "int8"}],
)
def test_settings_check_themselves(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ModelSettings(**wrong)


class TestInputScaling:
    def test_centres_and_scales_the_invariants_of_the_training_set(self):
        structures = [rattled(molecule("CH3OH"), seed) for seed in range(4)]
        model = random_model([1, 6, 8], n_radial=2)
        found = atomic_invariants(model, structures)
        by_hand = [
            reference.invariants(
                reference.gaussian_moments(atoms, i, model.elements, model.parameters["beta"], model.settings)
            )
            for atoms in structures
            for i in range(len(atoms))
        ]
        np.testing.assert_allclose(found, by_hand, atol=1e-10)
        scaling = InputScaling.of(found, 0.25)
        inputs = scaling.scale * (found - scaling.mean)
        np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-12)
        assert np.sqrt(np.mean(inputs**2)) == pytest.approx(0.25)

    def test_invariants_that_never_vary_are_only_centred(self):
        assert InputScaling.of(np.ones((3, 5)), 0.25).scale == 1.0
