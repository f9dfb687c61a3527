import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from ase_bmdal.structures.bare import bare_copy, plain_info
from ase_bmdal.structures.buckets import bucket
from ase_bmdal.structures.labels import Label, has_label, label_of, labels_of


def water(**results):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_found_in_the_calculator():
    label = label_of(water(energy=-3.0, forces=np.ones((3, 3))))
    assert label.energy == -3.0
    np.testing.assert_array_equal(label.forces, 1)
    assert label.stress is None


def test_found_where_extended_xyz_keeps_it():
    atoms = bulk("Cu")
    atoms.info |= {"REF_energy": 2.0, "REF_stress": np.diag([1.0, 2, 3])}
    atoms.arrays["REF_forces"] = np.zeros((1, 3))
    label = label_of(atoms)
    assert label.energy == 2.0
    np.testing.assert_array_equal(label.stress, [1, 2, 3, 0, 0, 0])


def test_the_stress_of_a_slab_has_no_meaning():
    atoms = bulk("Cu")
    atoms.pbc = (True, True, False)
    atoms.info |= {"REF_energy": 2.0, "REF_stress": np.ones(6)}
    assert label_of(atoms).stress is None


def test_attached_again():
    label = Label(1.5, np.ones((3, 3)))
    again = label_of(label.attach(molecule("H2O")))
    assert again.energy == 1.5
    np.testing.assert_array_equal(again.forces, 1)


def test_a_calculator_without_results_is_no_label():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    assert not has_label(atoms)
    atoms.get_potential_energy()
    assert has_label(atoms)


def test_results_of_where_it_was_before_are_no_label():
    atoms = bulk("Cu") * 2
    atoms.calc = EMT()
    atoms.get_forces()
    atoms.rattle(0.1)
    assert not has_label(atoms)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O"), "OH2 without an energy"),
        (water(energy=np.nan), "finite energy"),
        (water(energy=1.0, forces=np.full((3, 3), np.inf)), "finite forces"),
        (water(energy=1.0, forces=np.zeros((2, 3))), r"shape \(3, 3\) for OH2, got \(2, 3\)"),
        (water(energy=1.0, stress=np.zeros(5)), r"shape \(6,\)"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(atoms, message):
    with pytest.raises(ValueError, match=f"structure 1: .*{message}"):
        labels_of([water(energy=1.0), atoms])


def test_no_structures_have_no_labels():
    with pytest.raises(ValueError, match="got none"):
        labels_of([])


def test_a_bare_copy_has_what_a_label_depends_on_and_no_label():
    atoms = water(energy=1.0)
    atoms.set_initial_magnetic_moments([1, 0, 0])
    atoms.info |= {"charge": np.int64(1), "object": object(), "REF_energy": 3.0, 5: "key"}
    copy = bare_copy(atoms)
    assert copy.info == {"charge": 1}
    assert not has_label(copy)
    np.testing.assert_array_equal(copy.get_initial_magnetic_moments(), [1, 0, 0])
    assert "REF_energy" in plain_info(atoms)
    with pytest.raises(TypeError, match=r"expected an ase\.Atoms, got str"):
        bare_copy("H2O")


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_buckets_hold_and_waste_little(bits):
    sizes = [bucket(size, bits) for size in range(1, 3000)]
    assert all(size <= held for size, held in zip(range(1, 3000), sizes, strict=True))
    assert sizes == sorted(sizes)
    assert all(bucket(size, bits) == size for size in sizes)
    assert max(held / size for size, held in zip(range(1, 3000), sizes, strict=True)) <= 1 + 2.0**-bits
    assert len(set(sizes)) <= 12 * 2**bits + 1
    with pytest.raises(ValueError, match="at least 1, got 0"):
        bucket(0)


def test_an_empty_structure_is_kept_apart():
    assert not has_label(Atoms())


def test_forces_that_are_needed_are_there_or_missed_by_name():
    forces = np.ones((2, 3))
    assert Label(1.0, forces).forces_for("QBC(F)") is forces
    with pytest.raises(ValueError, match=r"forces for QBC\(F\), got a label with an energy only"):
        Label(1.0).forces_for("QBC(F)")
