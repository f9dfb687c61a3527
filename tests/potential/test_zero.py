"""The zero of energy: free atoms, other levels of theory."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from ase_bmdal.potential.settings import LearningRates, TrainingSettings
from ase_bmdal.potential.training import train
from ase_bmdal.potential.zero import reference_for
from ase_bmdal.structures.labels import Label, labels_of
from tests.builders import random_model, rattled

SHIFT = {1: 3e3, 6: -2.0e4, 8: 7.5e4}  # eV per atom
SMALL = {"hidden": (8,), "n_gaussians": 4, "n_radial": 2, "cutoff": 3.5}
STILL = TrainingSettings(epochs=1, rates=LearningRates(network=0, beta=0, shift=0, scale=0))


pytestmark = pytest.mark.usefixtures("not_compiled")


@pytest.fixture
def model():
    return random_model([1, 6, 8], dtype="float32", **SMALL)


def on_another_level(model, structures):
    """Labels that differ from the predictions of a model by energies of the atoms, and a little by the positions."""
    return [
        Label(label.energy + sum(SHIFT[z] for z in atoms.numbers), label.forces).attach(atoms)
        for atoms, label in zip(structures, model.predict(structures), strict=True)
    ]


def some(*names):
    return [rattled(molecule(name), seed) for name in names for seed in range(3)]


def errors(model, structures):
    pairs = list(zip(model.predict(structures), labels_of(structures), strict=True))
    energy = max(abs(ours.energy - theirs.energy) for ours, theirs in pairs)
    return energy, max(np.abs(ours.forces - theirs.forces).max() for ours, theirs in pairs)


@pytest.mark.parametrize("names", [["CH3CH2OH"], ["H2O", "CH4", "CH3OH", "C2H6"]])
def test_a_potential_of_another_level_is_as_good_a_start(model, names):
    data = on_another_level(model, some(*names))
    energy, force = errors(train(data, model=model, training=STILL), data)
    assert energy < 1e-3
    assert force < 1e-4


def test_another_level_with_a_new_element():
    water = some("H2O")
    data = on_another_level(random_model([1, 8], dtype="float32", **SMALL), water)
    old = random_model([1], dtype="float32", **SMALL)
    energy, _ = errors(train(data, model=old, training=STILL), data)
    assert energy < 10  # out of 1e5 eV: what remains is the network's


def test_one_composition_is_split_as_the_energies_of_free_atoms_say():
    data = [Label(-2100.0).attach(atoms) for atoms in some("H2O")]
    settings = random_model([1, 8], **SMALL).settings
    by_hand = reference_for(data, labels_of(data), settings, STILL, None, {"H": -13.6, "O": -2070.0})
    assert by_hand.of(molecule("H2O")) == pytest.approx(-2100)
    assert by_hand.of(molecule("H2")) == pytest.approx(-27.2, abs=5)
    assert reference_for(data, labels_of(data), settings, STILL, None, None).of(molecule("H2")) < -1000


def test_an_energy_that_does_not_count_moves_no_zero():
    data = [Label(-76.0).attach(atoms) for atoms in some("H2O")]
    wrong = Label(1e6).attach(molecule("H2O"))
    wrong.info["energy_weight"] = 0.0
    found = reference_for(
        [*data, wrong], labels_of([*data, wrong]), random_model([1, 8]).settings, STILL, None, None
    )
    assert found.of(molecule("H2O")) == pytest.approx(-76)


def test_weights_count_in_the_loss():
    data = [Label(-76.0, np.zeros((3, 3))).attach(atoms) for atoms in some("H2O")]
    wrong = Label(-76.0, np.full((3, 3), 50.0)).attach(rattled(molecule("H2O"), 9))
    wrong.info["config_weight"] = 0.0
    model = train([*data, wrong], training=STILL, architecture=random_model([1, 8], **SMALL).settings)
    losses = []
    for weight in (0.0, 1.0, 2.0):
        wrong.info["config_weight"] = weight
        train([wrong], training=STILL, model=model, on_epoch=lambda epoch: losses.append(epoch.train_loss))
    assert losses[0] == 0
    assert losses[2] == pytest.approx(2 * losses[1]) != 0


def test_training_says_what_it_learns_from_and_what_stands_out(caplog):
    structures = [rattled(molecule("H2O"), seed) for seed in range(8)]
    for index, atoms in enumerate(structures):
        atoms.info["dft_energy"] = -76.0 + (500 if index == 5 else 0)
        atoms.arrays["dft_force"] = np.full((3, 3), 0.01 * index)
    with caplog.at_level(logging.INFO):
        train(
            structures, valid=0.2, architecture=random_model([1, 8], **SMALL).settings, training=STILL, seed=1
        )
    assert (
        "training on 6 structures: 6 energies, 6 forces, 0 stresses; from dft_energy, dft_force"
        in caplog.text
    )
    assert "structure 5: the energy of H2O is +167 eV per atom" in caplog.text
    assert "largest errors: structure 5, H2O" in caplog.text


def test_validation_is_of_the_same_level():
    one, other = molecule("H2O"), molecule("H2O")
    one.info["REF_energy"], other.info["energy"] = -76.0, -76.0
    with pytest.raises(ValueError, match=r"valid: expected labels of one level .* from energy"):
        train([one], valid=[other], training=STILL)
    with pytest.raises(ValueError, match="atomic_energies: expected energies in eV by element, got 'X1'"):
        train([one], atomic_energies={"X1": 1.0}, training=STILL)


def test_isolated_atoms_are_the_free_atoms():
    free = {"H": -13.0, "O": -2040.0}
    alone = [Label(energy).attach(Atoms(symbol)) for symbol, energy in free.items()]
    data = [Label(-2076.0 + 0.01 * k).attach(atoms) for k, atoms in enumerate(some("H2O"))]
    settings = random_model([1, 8], **SMALL).settings
    reference = reference_for([*data, *alone], labels_of([*data, *alone]), settings, STILL, None, None)
    np.testing.assert_allclose(reference.atomic_energies, [-13, -2040])
    others = reference_for(data, labels_of(data), settings, STILL, None, None)
    assert others.of(molecule("H2O")) == pytest.approx(-2076, abs=0.1)
