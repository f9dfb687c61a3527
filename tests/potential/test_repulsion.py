"""The screened repulsion of nuclei: against NumPy, at its ends, and with a network under it."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.collections import g2
from ase.data import covalent_radii
from ase.stress import full_3x3_to_voigt_6_stress

from ase_bmdal import load_model
from ase_bmdal.potential.evaluator import Evaluator
from ase_bmdal.potential.repulsion import REACH, repulsion, repulsion_of, switch, zbl
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.potential.training import train
from ase_bmdal.structures.labels import Label, label_of
from tests.builders import model_for, random_model, rattled
from tests.reference import potential as reference

pytestmark = pytest.mark.usefixtures("not_compiled")  # but for those that ask for `compiled`
SMALL = {"cutoff": 2.5, "hidden": (8,), "n_gaussians": 4, "n_radial": 1, "dtype": "float64"}
WITH = ModelSettings(**SMALL, repulsion="zbl")
SINGLE = ModelSettings(**{**SMALL, "dtype": "float32"}, repulsion="zbl")


def squeezed(atoms, by):
    """Copy with all distances made smaller."""
    atoms = rattled(atoms)
    atoms.positions *= by
    atoms.cell *= by
    return atoms


STRUCTURES = {
    "molecule": squeezed(molecule("CH3CH2OH"), 0.55),
    "molecule as it is": rattled(molecule("CH3CH2OH")),
    "crystal": squeezed(bulk("NaCl", "rocksalt", a=5.6, cubic=True), 0.45),
    "small cell": squeezed(bulk("GaAs", "zincblende", a=5.6), 0.5),
    "one atom, its images": squeezed(bulk("Cu"), 0.5),
    "wire": Atoms("SiOH", [[0, 0, 0], [0.6, 0.3, 0], [0.6, 0.6, 0.2]], cell=[2, 0, 0], pbc=(True, False, False)),
}  # fmt: skip


def dimer(symbols, distance):
    return Atoms(symbols, [[0, 0, 0], [0, 0, distance]])


def learned(atoms, repulsive=True):
    """Labelled by EMT, and by the repulsion in addition."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    if repulsive:
        energy += repulsion_of(atoms, WITH)[0]
        forces += repulsion_forces(atoms)
    return Label(energy, forces).attach(atoms)


def repulsion_forces(atoms):
    """Forces of the repulsion alone: those of a network with it, less those of the same network without it."""
    models = [model_for([atoms], **{**SMALL, "repulsion": name}) for name in ("zbl", None)]
    one, other = (model.predict([atoms])[0].forces for model in models)
    return one - other


@pytest.fixture(scope="module")
def model():
    return model_for(STRUCTURES.values(), **SMALL, repulsion="zbl")


class TestAgainstNumpy:
    @pytest.mark.parametrize("name", STRUCTURES)
    def test_energies(self, model, name):
        atoms = STRUCTURES[name]
        expected = reference.repulsion(atoms, 2.5)
        assert repulsion_of(atoms, WITH)[0] == pytest.approx(expected, rel=1e-7)
        assert (expected > 1) == (name != "molecule as it is")
        assert model.predict([atoms])[0].energy == pytest.approx(reference.energy(atoms, model), rel=1e-7)

    def test_compiled_in_one_batch(self, model, compiled):
        for atoms, label in zip(STRUCTURES.values(), model.predict([*STRUCTURES.values()]), strict=True):
            assert label.energy == pytest.approx(reference.energy(atoms, model), rel=1e-7)

    def test_forces_are_minus_the_gradient(self, model):
        step, structures, moved = 1e-5, [*STRUCTURES.values()], []
        for atoms in structures:
            for i, axis, sign in itertools.product(range(len(atoms)), range(3), (1, -1)):
                moved.append(atoms.copy())
                moved[-1].positions[i, axis] += sign * step
        energies = np.array([label.energy for label in model.predict(moved)]).reshape(-1, 3, 2)
        forces = np.concatenate([label.forces for label in model.predict(structures)])
        np.testing.assert_allclose(
            forces, (energies[..., 1] - energies[..., 0]) / (2 * step), rtol=1e-6, atol=1e-4
        )
        assert np.abs(forces).max() > 10

    def test_stress_is_the_derivative_by_strain(self, model):
        step, crystals = 1e-6, [atoms for atoms in STRUCTURES.values() if atoms.pbc.all()]
        strained = []
        for atoms, a, b, sign in itertools.product(crystals, range(3), range(3), (1, -1)):
            strain = np.eye(3)
            strain[a, b] += sign * step
            strained.append(atoms.copy())
            strained[-1].set_cell(atoms.cell.array @ strain, scale_atoms=True)
        energies = np.array([label.energy for label in model.predict(strained)]).reshape(-1, 3, 3, 2)
        virials = (energies[..., 0] - energies[..., 1]) / (2 * step)
        for atoms, virial, label in zip(crystals, virials, model.predict(crystals), strict=True):
            expected = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())
            np.testing.assert_allclose(label.stress, expected, rtol=1e-5, atol=1e-5)

    def test_a_moving_structure_gives_what_predict_gives(self, model):
        for name in ("molecule", "crystal", "wire"):
            [expected] = model.predict([STRUCTURES[name]])
            label, *_ = Evaluator().predict(model, STRUCTURES[name])
            assert label.energy == pytest.approx(expected.energy, rel=1e-12)
            np.testing.assert_allclose(label.forces, expected.forces, rtol=1e-9, atol=1e-9)


class TestSwitch:
    OUTER = 0.7

    def derivatives(self, distances):
        """Value, first and second derivative of the switched repulsion of C and O, and of the switch."""
        d = tf.constant(distances, tf.float64)
        values = []
        for energy in (lambda d: switch(d, self.OUTER), self.energy):
            with tf.GradientTape() as second:
                second.watch(d)
                with tf.GradientTape() as first:
                    first.watch(d)
                    value = energy(d)
                slope = first.gradient(value, d)
            values.append([value.numpy(), slope.numpy(), second.gradient(slope, d).numpy()])
        return values

    def energy(self, d):
        return zbl(d, tf.constant(6.0, tf.float64), tf.constant(8.0, tf.float64)) * switch(d, self.OUTER)

    @pytest.mark.parametrize(("radius", "value"), [(OUTER, 0), (OUTER / 2, 1)])
    def test_value_and_two_derivatives_are_continuous(self, radius, value):
        on, energy = self.derivatives([radius - 1e-8, radius, radius + 1e-8])
        np.testing.assert_allclose(on, np.outer([value, 0, 0], np.ones(3)), atol=1e-4)
        for inside, at, outside in energy:
            np.testing.assert_allclose([inside, outside], at, rtol=1e-5, atol=1e-3)

    def test_falls_from_one_to_zero(self):
        values = switch(tf.linspace(0.0, 1.0, 200), self.OUTER).numpy()
        assert (np.diff(values) <= 1e-6).all()
        assert (values[:60] == 1).all()
        assert (values[150:] == 0).all()

    def test_nothing_beyond_a_small_cutoff(self):
        settings = ModelSettings(cutoff=0.8, repulsion="zbl")
        assert REACH * 2 * covalent_radii[11] > 2
        near, at = (repulsion_of(dimer("Na2", d), settings)[0] for d in (0.5, 0.8 - 1e-9))
        assert near == pytest.approx(reference.repulsion(dimer("Na2", 0.5), 0.8), rel=1e-7)
        assert near > 1
        assert at == pytest.approx(0, abs=1e-12)

    def test_padding_counts_nothing_in_energies_and_gradients(self):
        pairs = tf.constant([[[5.0, 0, 0]] * 2, [[0, 0, 0.3], [5.0, 0, 0]], [[5.0, 0, 0]] * 2])
        with tf.GradientTape() as tape:
            tape.watch(pairs)
            energies = repulsion(
                pairs, tf.constant([0.0, 1, 0]), tf.constant([[0.0, 0], [1, 1], [0, 0]]), 2.5
            )
        gradient = tape.gradient(energies, pairs).numpy()
        assert np.flatnonzero(energies).tolist() == [1]
        assert gradient[1, 0, 2] < 0
        gradient[1, 0, 2] = 0
        assert not gradient.any()


class TestFloor:
    @pytest.mark.parametrize("symbols", ["H2", "OH", "C2", "Au2", "UH"])
    def test_no_nan_at_a_hundredth_of_an_angstrom_compiled(self, symbols, compiled):
        close = dimer(symbols, 0.01)
        model = model_for([close], **{**SMALL, "dtype": "float32"}, repulsion="zbl")
        [label] = model.predict([close])
        assert label.energy == pytest.approx(reference.energy(close, model), rel=1e-4)
        assert np.isfinite(label.forces).all()
        assert label.forces[1, 2] == -label.forces[0, 2] > 1e4

    @pytest.mark.parametrize("symbols", ["H2", "OH", "C2"])
    def test_no_network_lets_two_atoms_fall_into_each_other(self, symbols, compiled):
        near = [dimer(symbols, d) for d in np.geomspace(0.02, 0.2, 12)]
        far = [dimer(symbols, d) for d in np.linspace(0.5, 3, 40)]
        for seed in range(8):
            model = random_model(sorted({*near[0].numbers}), seed=seed, **SMALL, repulsion="zbl")
            inside = [label.energy for label in model.predict(near)]
            outside = [label.energy for label in model.predict(far)]
            assert (np.diff(inside) < 0).all()
            assert min(inside) > max(outside) + 15
            assert all(label.forces[1, 2] > 0 for label in model.predict(near))

    def test_molecules_are_not_touched(self):
        settings = ModelSettings(repulsion="zbl")
        assert len(g2.names) == 162
        assert {repulsion_of(g2[name], settings)[0] for name in g2.names} == {0.0}


class TestTraining:
    def structures(self):
        """Water and hydrogen; every third molecule is squeezed."""
        return [
            squeezed(rattled(molecule(name), seed=seed), 0.5 if seed % 3 == 0 else 1.0)
            for name, seed in itertools.product(("H2O", "H2"), (1, 2, 3))
        ]

    def test_the_network_learns_what_it_learns_without(self):
        structures, how = self.structures(), TrainingSettings(epochs=2)
        repulsive, plain = ([learned(atoms, each) for atoms in structures] for each in (True, False))
        added = [label_of(a).energy - label_of(b).energy for a, b in zip(repulsive, plain, strict=True)]
        assert max(added) > 15
        model = train(repulsive, architecture=WITH, training=how)
        other = train(plain, architecture=ModelSettings(**SMALL), training=how)
        assert model.energy_scale == pytest.approx(other.energy_scale, rel=1e-6)
        np.testing.assert_allclose(model.atomic_energies, other.atomic_energies)
        for name, values in other.parameters.items():
            np.testing.assert_allclose(model.parameters[name], values, rtol=1e-5, atol=1e-7)

    def test_the_loss_falls_in_single_precision_compiled(self, compiled):
        epochs = []
        data = [learned(atoms) for atoms in self.structures()]
        train(data, architecture=SINGLE, epochs=40, on_epoch=epochs.append, name_outliers=False)
        assert epochs[-1].train_loss < 0.1 * epochs[0].train_loss

    def test_atoms_that_nearly_coincide(self):
        data = [learned(atoms) for atoms in (molecule("H2O"), dimer("H2", 0.75), dimer("OH", 0.02))]
        epochs = []
        train(data, architecture=SINGLE, epochs=2, on_epoch=epochs.append)
        assert all(np.isfinite(epoch.train_loss) for epoch in epochs)

    def test_goes_on_with_a_new_element_and_from_a_file(self, tmp_path):
        first = train([learned(dimer("H2", d)) for d in (0.3, 0.7, 0.8)], architecture=WITH, epochs=1)
        first.save(tmp_path / "model.npz")
        again = load_model(tmp_path / "model.npz")
        assert again.settings == WITH
        more = train([learned(molecule("H2O"))], model=again, epochs=1)
        assert (more.elements, more.settings) == ((1, 8), WITH)
        close = dimer("OH", 0.1)
        assert more.predict([close])[0].energy == pytest.approx(reference.energy(close, more), rel=1e-7)

    def test_the_model_to_go_on_from_has_the_same(self):
        data = [learned(dimer("H2", 0.7))]
        plain = train(data, architecture=ModelSettings(**SMALL), epochs=1)
        with pytest.raises(ValueError, match="architecture of the model to go on from"):
            train(data, model=plain, architecture=WITH)


class TestFiles:
    @pytest.mark.parametrize("name", [None, "zbl"])
    def test_a_saved_model_gives_the_same_numbers(self, tmp_path, name):
        model = random_model([1, 8], **SMALL, repulsion=name)
        model.save(tmp_path / "model.npz")
        [before], [after] = (
            each.predict([dimer("OH", 0.3)]) for each in (model, load_model(tmp_path / "model.npz"))
        )
        assert before.energy == after.energy

    def test_a_file_from_before_has_none(self, tmp_path):
        path = tmp_path / "model.npz"
        random_model([1], **SMALL).save(path)
        with np.load(path) as file:
            arrays = dict(file)
        header = json.loads(str(arrays["header"]))
        assert header["settings"].pop("repulsion", "missing") is None
        np.savez(path, **{**arrays, "header": np.array(json.dumps(header))})
        assert load_model(path).settings == ModelSettings(**SMALL)

    def test_other_names_are_refused(self):
        with pytest.raises(ValueError, match="repulsion"):
            ModelSettings(repulsion="lennard-jones")
