"""The sum of a baseline and a network that is trained on the difference to it."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from ase_bmdal import GMNNCalculator, load_model, select_batch, train
from ase_bmdal.common.errors import BaselineError, ModelError
from ase_bmdal.potential.with_baseline import WithBaseline
from ase_bmdal.structures.labels import label_of, labels_of
from tests.baseline.cheap import PAIRS, STIFFER, Fails
from tests.learner.runs import TINY, copper, labelled

pytestmark = pytest.mark.usefixtures("not_compiled")


@pytest.fixture(scope="module")
def structures():
    return labelled(4)


@pytest.fixture(scope="module")
def potential(structures):
    return train(structures, baseline=PAIRS, architecture=TINY, epochs=1)


def by_hand(structures):
    """Differences to the pair potential, from ASE's own results."""
    made = []
    for atoms in structures:
        cheap = atoms.copy()
        cheap.calc = PAIRS()
        expected, found = label_of(atoms), atoms.copy()
        found.calc = EMT()
        found.get_stress()
        found.calc.results = {
            "energy": expected.energy - cheap.get_potential_energy(),
            "forces": expected.forces - cheap.get_forces(),
            "stress": expected.stress - cheap.get_stress(),
        }
        made.append(found)
    return made


def test_the_network_is_that_of_differences_made_by_hand(structures, potential):
    expected = train(by_hand(structures), architecture=TINY, epochs=1)
    for name, value in expected.parameters.items():
        np.testing.assert_allclose(potential.network.parameters[name], value, atol=1e-5, err_msg=name)


def test_predicts_the_sum(potential):
    frame = copper(7)
    (found,), (own,), cheap = potential.predict([frame]), potential.network.predict([frame]), PAIRS()
    frame.calc = cheap
    assert found.energy == pytest.approx(own.energy + frame.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found.forces, own.forces + frame.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found.stress, own.stress + frame.get_stress(), atol=1e-9)


def test_forces_and_stress_are_derivatives(potential):
    atoms = copper(3)
    atoms.calc = GMNNCalculator(potential, dtype="float64")
    numerical = calculate_numerical_forces(atoms, eps=1e-5, iatoms=[0, 2])
    np.testing.assert_allclose(atoms.get_forces()[[0, 2]], numerical, atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)


def test_is_read_with_the_same_baseline_only(potential, tmp_path):
    path = tmp_path / "model.npz"
    potential.save(path)
    expected = potential.predict([copper(5)])[0].energy
    assert load_model(path, baseline=PAIRS).predict([copper(5)])[0].energy == expected
    atoms = copper(5)
    atoms.calc = GMNNCalculator(path, baseline=PAIRS)
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-5)
    for use in (load_model, GMNNCalculator):
        with pytest.raises(ModelError, match=r"give the function that makes its calculator as baseline="):
            use(path)
        with pytest.raises(ModelError, match="got another: for Cu4 energies differ by"):
            use(path, baseline=STIFFER)
        with pytest.raises(BaselineError, match="did not converge"):
            use(path, baseline=type("FailsAlways", (Fails,), {"limit": 10.0}))


def test_another_way_to_write_the_same_baseline(potential, tmp_path):
    potential.save(tmp_path / "model.npz")

    def written_otherwise():
        return PAIRS()

    load_model(tmp_path / "model.npz", baseline=written_otherwise)


def test_a_potential_without_one_refuses_one(structures):
    plain = train(structures, architecture=TINY, epochs=1)
    with pytest.raises(ModelError, match="baseline: expected none"):
        GMNNCalculator(plain, baseline=PAIRS)


def test_going_on_keeps_the_baseline(structures, potential):
    further = train(structures, model=potential, epochs=1)
    assert isinstance(further, WithBaseline)
    assert further.baseline is potential.baseline
    with pytest.raises(ModelError, match="got another"):
        train(structures, model=potential, baseline=STIFFER, epochs=1)
    with pytest.raises(ModelError, match="expected the baseline"):
        train(structures, model=potential.network, epochs=1)


def test_a_committee(structures, tmp_path):
    several = train(structures, baseline=PAIRS, architecture=TINY, epochs=1, n_models=2)
    several.save(tmp_path / "several.npz")
    found = load_model(tmp_path / "several.npz", baseline=PAIRS)
    assert len(found.members) == 2
    assert found.predict([copper(5)])[0].energy == several.predict([copper(5)])[0].energy


def test_validation_structures_are_differences_as_well(structures):
    losses = []
    train(
        structures[:3],
        valid=structures[3:],
        baseline=PAIRS,
        architecture=TINY,
        epochs=2,
        on_epoch=lambda epoch: losses.append(epoch.valid_loss),
    )
    expected = []
    differences = by_hand(structures)
    train(
        differences[:3],
        valid=differences[3:],
        architecture=TINY,
        epochs=2,
        on_epoch=lambda epoch: expected.append(epoch.valid_loss),
    )
    np.testing.assert_allclose(
        [loss for loss in losses if loss], [loss for loss in expected if loss], rtol=1e-4
    )


def test_differences_of_labelled_structures(structures, potential):
    found, expected = labels_of(potential.differences(structures)), labels_of(by_hand(structures))
    for one, other in zip(found, expected, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-9)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-9)


@pytest.mark.parametrize("selection", ["LCMD + FEAT(LL)", "MAXDIAG + AE(E)", "MAXDIAG + AE(F)"])
def test_a_batch_is_selected_by_the_network(structures, potential, selection):
    pool = labelled(8)[4:]
    found = select_batch(potential, pool, 2, known=structures, selection=selection)
    expected = select_batch(
        potential.network, by_hand(pool), 2, known=by_hand(structures), selection=selection
    )
    assert found == expected


def test_energies_of_free_atoms_are_refused(structures):
    with pytest.raises(ValueError, match="atomic_energies: expected none with a baseline"):
        train(structures, baseline=PAIRS, atomic_energies={"Cu": 0.0}, architecture=TINY, epochs=1)


def test_a_baseline_that_fails_names_why(structures):
    close = bulk("Cu", cubic=True, a=3.0)
    close.calc = EMT()
    close.get_stress()
    with pytest.raises(BaselineError, match="did not converge"):
        train([*structures, close], baseline=Fails, architecture=TINY, epochs=1)
