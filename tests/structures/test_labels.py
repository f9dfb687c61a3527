import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import all_properties
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from ase_bmdal.calculator.results import UNBIASED  # importing it makes ASE know the names
from ase_bmdal.structures.buckets import bucket
from ase_bmdal.structures.dialects import LabelKeys
from ase_bmdal.structures.labels import Label, has_label, label_of, labels_of, summary
from ase_bmdal.structures.same import changes
from ase_bmdal.structures.structure_only import plain_info, structure_only


def water(**results):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def copper(**info):
    atoms = bulk("Cu", cubic=True)
    atoms.info |= info
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
    atoms = molecule("H2O")
    atoms.info["REF_energy"] = 7.0
    again = label_of(label.attach(atoms))
    assert again.energy == 1.5
    np.testing.assert_array_equal(again.forces, 1)


class TestLevels:
    def test_the_reference_comes_before_a_prediction(self):
        atoms = water(energy=-3.0, forces=np.ones((3, 3)))
        atoms.info["REF_energy"] = -5.0
        atoms.arrays["REF_forces"] = np.zeros((3, 3))
        label = label_of(atoms)
        assert label.energy == -5.0
        np.testing.assert_array_equal(label.forces, 0)
        assert summary([label]) == (
            "1 structure: 1 energy, 1 forces, 0 stresses; from REF_energy, REF_forces; not used: energy, forces"
        )

    @pytest.mark.parametrize("energy", ["energy", "REF_energy"])
    def test_levels_are_not_mixed_in_a_structure(self, energy):
        atoms = molecule("H2O")
        atoms.info[energy] = -5.0
        other = "forces" if energy == "REF_energy" else "REF_forces"
        atoms.arrays[other] = np.zeros((3, 3))
        with pytest.raises(ValueError, match=f"the energy is {energy}, the forces are {other}"):
            label_of(atoms)
        assert label_of(atoms, LabelKeys(energy=energy)).forces is None
        np.testing.assert_array_equal(label_of(atoms, LabelKeys(forces=other)).forces, np.zeros((3, 3)))

    @pytest.mark.parametrize("name", ["forces_dft", "force_ref", "F", "my_f", "QM-Forces-total"])
    def test_forces_of_any_name_are_not_left_out_in_silence(self, name):
        atoms = water(energy=-5.0)
        atoms.arrays[name] = np.ones((3, 3))
        with pytest.raises(ValueError, match=f"the energy is energy, the forces are {name}: .* forces_key="):
            label_of(atoms)
        assert label_of(atoms, LabelKeys(forces=name)).forces is not None
        assert label_of(atoms, LabelKeys(energy="energy")).forces is None

    @pytest.mark.parametrize("name", ["gradients", "dft_gradient", "grad"])
    def test_a_gradient_is_not_a_force(self, name):
        atoms = water(energy=-5.0)
        atoms.arrays[name] = np.ones((3, 3))
        with pytest.raises(ValueError, match=f"there are {name}: forces are minus the gradient"):
            label_of(atoms)
        assert label_of(atoms, LabelKeys(energy="energy")).forces is None

    @pytest.mark.parametrize("name", ["momenta", "forces_uncertainty", "force_weights", "displacements"])
    def test_what_is_no_force_is_let_be(self, name):
        atoms = water(energy=-5.0)
        atoms.arrays[name] = np.ones((3, 3))
        assert label_of(atoms).forces is None

    def test_levels_are_not_mixed_in_a_set(self):
        labelled, predicted = water(energy=-1.0), water(energy=-1.0)
        labelled.info["REF_energy"] = -2.0
        with pytest.raises(
            ValueError, match=r"structure 1: .* structure 0, which is REF_energy, got energy;"
        ):
            labels_of([labelled, predicted])
        assert [each.energy for each in labels_of([labelled, predicted], LabelKeys(energy="energy"))] == [
            -1,
            -1,
        ]

    def test_two_references_are_one_too_many(self):
        atoms = copper(REF_energy=1.0, dft_energy=2.0)
        with pytest.raises(ValueError, match="got REF_energy and dft_energy; say which with energy_key="):
            label_of(atoms)
        assert label_of(atoms, LabelKeys(energy="dft_energy")).energy == 2.0

    def test_two_that_differ_are_one_too_many(self):
        atoms = copper(dft_energy=2.0)
        atoms.arrays["dft_force"] = np.zeros((4, 3))
        atoms.arrays["dft_forces"] = np.zeros((4, 3))
        np.testing.assert_array_equal(label_of(atoms).forces, np.zeros((4, 3)))
        atoms.arrays["dft_forces"][0] = 1
        with pytest.raises(
            ValueError, match="expected one name for the forces, got dft_forces and dft_force"
        ):
            label_of(atoms)

    def test_forces_are_the_gradient_of_the_free_energy(self):
        assert label_of(water(energy=-3.0, free_energy=-3.05)).energy == -3.05
        assert summary([label_of(water(energy=-3.0, free_energy=-3.05))]).endswith("from free_energy")
        assert label_of(copper(REF_energy=1.0, REF_free_energy=0.9)).energy == 0.9
        assert label_of(water(energy=-3.0, free_energy=-3.1), LabelKeys(energy="energy")).energy == -3.0


class TestDialects:
    @pytest.mark.parametrize(
        "energy", ["energy", "Energy", "REF_energy", "dft_energy", "DFT_energy", "ref-energy"]
    )
    @pytest.mark.parametrize("noun", ["force", "forces"])
    def test_energies_and_forces(self, energy, noun):
        atoms = molecule("H2O")
        atoms.info[energy] = -5.0
        forces = energy.lower().replace("energy", noun)
        atoms.arrays[forces] = np.full((3, 3), 2.0)
        label = label_of(atoms)
        assert label.energy == -5.0
        np.testing.assert_array_equal(label.forces, 2)

    @pytest.mark.parametrize("level", ["", "REF_", "dft_"])
    @pytest.mark.parametrize("name", ["virial", "virials"])
    @pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
    def test_virials_are_stresses(self, level, name, shape):
        stress = np.array([1.0, 2, 3, 4, 5, 6])
        full = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
        atoms = copper(**{f"{level}energy": 1.0})
        atoms.info[f"{level}{name}"] = -atoms.get_volume() * (
            stress if shape == (6,) else full.reshape(shape)
        )
        np.testing.assert_allclose(label_of(atoms).stress, stress)

    def test_nine_plain_numbers(self):
        atoms = copper(REF_energy=1.0, REF_stress=[1.0, 6, 5, 6, 2, 4, 5, 4, 3])
        np.testing.assert_array_equal(label_of(atoms).stress, [1, 2, 3, 4, 5, 6])

    def test_any_name_that_is_given(self):
        atoms = copper(E_pbe=3.0, V_pbe=np.ones(6))
        atoms.arrays["F_pbe"] = np.ones((4, 3))
        keys = LabelKeys(energy="E_pbe", forces="F_pbe", stress="V_pbe")
        label = label_of(atoms, keys)
        assert label.values.keys() == {"energy", "forces", "stress"}
        assert summary([label]).endswith("from E_pbe, F_pbe, V_pbe")
        assert label_of(label.attach(atoms)).energy == 3.0

    def test_energies_of_two_kinds_are_named(self, caplog):
        both, equal = water(energy=-3.0, free_energy=-3.05), water(energy=-3.0, free_energy=-3.0)
        labels_of([both, equal])
        labels_of([equal, water(energy=-3.0)])
        labels_of([both, water(energy=-3.0)], LabelKeys(energy="energy"))
        assert caplog.text == ""
        labels_of([equal, both, water(energy=-3.0)])
        assert "structure 1 has a free energy that differs from its energy, and structure 2" in caplog.text
        assert "say energy_key='energy'" in caplog.text

    @pytest.mark.parametrize(
        ("name", "is_virial"),
        [
            ("virial_stress", False),
            ("Virial_Stresses", False),
            ("S_pbe", False),
            ("stress_virial", True),
            ("my_virials", True),
            ("virial_pbe", True),
        ],
    )
    def test_the_end_of_a_given_name_says_whether_it_is_a_virial(self, name, is_virial):
        atoms = copper(energy=1.0, **{name: np.ones(6)})
        label = label_of(atoms, LabelKeys(stress=name))
        np.testing.assert_allclose(label.stress, -1 / atoms.get_volume() if is_virial else 1.0)
        assert summary([label]).endswith(f"{name} (a virial)" if is_virial else name)

    def test_names_that_are_nowhere(self):
        with pytest.raises(ValueError, match="got Cu4 without E_pbe; it has total_energy: say which"):
            labels_of([copper(total_energy=1.0)], LabelKeys(energy="E_pbe"))
        with pytest.raises(ValueError, match="forces_key: expected F in some structure, found it in none"):
            labels_of([copper(energy=1.0)], LabelKeys(forces="F"))

    def test_what_is_no_number(self):
        with pytest.raises(ValueError, match="energy: expected numbers, got 'low'"):
            label_of(copper(energy="low"))
        with pytest.raises(ValueError, match="expected one energy of Cu4"):
            label_of(copper(energy=[1.0, 2.0]))

    def test_weights(self):
        atoms = copper(energy=1.0, config_weight=0.5, energy_weight=4.0, force_weight=0.0)
        assert label_of(atoms).weights == (2.0, 0.0, 0.5)
        assert "1 with weights of their own" in summary([label_of(atoms), label_of(copper(energy=1.0))])
        atoms.info["config_weight"] = -1
        with pytest.raises(ValueError, match="config_weight: expected a number of at least 0, got -1"):
            label_of(atoms)


class TestFiles:
    def test_extended_xyz(self, tmp_path):
        atoms = copper(REF_energy=-2.0, REF_virial=" ".join(["1"] * 9), config_weight=2.0)
        atoms.arrays["REF_forces"] = np.ones((4, 3))
        write(tmp_path / "data.xyz", atoms)
        label = label_of(read(tmp_path / "data.xyz"))
        assert label.energy == -2.0
        np.testing.assert_allclose(label.stress, -1 / atoms.get_volume())
        assert label.weights == (2.0, 2.0, 2.0)

    @pytest.mark.parametrize("name", ["data.xyz", "data.traj", "data.json"])
    def test_free_energies_survive(self, name, tmp_path):
        write(tmp_path / name, water(energy=-3.0, free_energy=-3.05, forces=np.ones((3, 3))))
        assert label_of(read(tmp_path / name)).energy == -3.05


class TestPredictions:
    """What a potential of ours said, in files of other people's programs."""

    @pytest.fixture
    def predicted(self):
        atoms = bulk("Cu", cubic=True)
        forces = np.full((4, 3), 0.1)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=forces)
        atoms.calc.results |= {"energy_uncertainty": 0.2, "forces_uncertainty": np.full(4, 0.3)}
        return atoms

    @pytest.mark.parametrize("form", ["extxyz", "traj"])
    def test_are_no_labels(self, predicted, tmp_path, form):
        assert set(UNBIASED) <= set(all_properties)
        predicted.calc.name = "gmnncalculator"
        write(tmp_path / f"driven.{form}", [predicted] * 2)
        found = read(tmp_path / f"driven.{form}", ":")
        with pytest.raises(
            ValueError, match="structure 0: expected the label of a reference, got what"
        ) as error:
            labels_of(found)
        key = str(error.value).partition("energy_key='")[2].partition("'")[0]
        assert [label.energy for label in labels_of(found, LabelKeys(energy=key))] == [-1.0] * 2

    def test_do_not_hide_a_reference_beside_them(self, predicted):
        predicted.info["REF_energy"], predicted.arrays["REF_forces"] = -2.0, np.zeros((4, 3))
        assert [label.energy for label in labels_of([predicted])] == [-2.0]

    def test_bounds_that_stayed_behind_are_not_those_of_another_calculator(self, predicted):
        predicted.arrays["forces_uncertainty"] = np.full(4, 0.3)
        predicted.calc = EMT()
        predicted.get_forces()
        assert labels_of([predicted])[0].energy == predicted.get_potential_energy()


def test_energies_that_nobody_computed_are_refused():
    frames = [bulk("Cu", cubic=True) for _ in range(2)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.full((4, 3), 0.1))
    with pytest.raises(ValueError, match=r"got 0 for all 2 structures though there are forces: .* LAMMPS"):
        labels_of(frames)
    frames[0].calc.results["energy"] = -1.0
    assert [label.energy for label in labels_of(frames)] == [-1.0, 0.0]


class TestStale:
    def test_a_calculator_without_results_is_no_label(self):
        atoms = bulk("Cu")
        atoms.calc = EMT()
        assert not has_label(atoms)
        atoms.get_potential_energy()
        assert has_label(atoms)

    def test_results_of_where_it_was_before_are_no_label(self):
        atoms = bulk("Cu") * 2
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.rattle(0.1)
        assert not has_label(atoms)
        with pytest.raises(ValueError, match="Cu8 whose energy is of another structure: positions changed"):
            label_of(atoms)

    def test_wrapped_and_centred_it_is_the_same(self):
        atoms = fcc111("Cu", (2, 2, 2), vacuum=5.0)
        atoms.pbc = (True, True, False)
        atoms.rattle(0.1)
        atoms.positions += 3 * atoms.cell[0] - atoms.cell[1]
        atoms.calc = SinglePointCalculator(atoms, energy=1.0)
        atoms.wrap()
        atoms.center(vacuum=8.0, axis=2)
        atoms.set_initial_magnetic_moments(np.zeros(len(atoms)))
        assert label_of(atoms).energy == 1.0

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            (lambda atoms: atoms.set_initial_magnetic_moments([1.0] * 4), "initial_magmoms"),
            (lambda atoms: atoms.set_initial_charges([1.0] * 4), "initial_charges"),
            (lambda atoms: atoms.set_cell(atoms.cell * 1.1, scale_atoms=True), "cell"),
            (lambda atoms: atoms.rotate(10, "z"), "positions"),
            (lambda atoms: atoms.set_atomic_numbers([29, 29, 29, 30]), "numbers"),
            (lambda atoms: atoms.set_pbc(False), "pbc"),
            (lambda atoms: atoms.pop(), "numbers"),
        ],
    )
    def test_what_has_changed_is_named(self, change, name):
        atoms = bulk("Cu", cubic=True)
        atoms.calc = SinglePointCalculator(atoms, energy=1.0)
        change(atoms)
        with pytest.raises(ValueError, match=f"of another structure: .*{name}.* changed"):
            label_of(atoms)
        assert name in changes(atoms.calc.atoms, atoms)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O"), "H2O without an energy"),
        (copper(total_energy=1.0), "Cu4 without an energy; it has total_energy: say which"),
        (copper(energy_dft=1.0, energy_weight=2.0), "Cu4 without an energy; it has energy_dft: say which"),
        (copper(energy_per_atom=1.0), "Cu4 without an energy; it has energy_per_atom: say which"),
        (water(energy=np.nan), "a finite energy of H2O"),
        (water(energy=1.0, forces=np.full((3, 3), np.inf)), "finite forces of H2O"),
        (water(energy=1.0, forces=np.zeros((2, 3))), r"shape \(3, 3\) for H2O, got \(2, 3\)"),
        (water(energy=1.0, stress=np.zeros(5)), r"a stress of 6 or 9 numbers for H2O, got shape \(5,\)"),
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
    atoms.info |= {"charge": np.int64(1), "object": object(), "REF_energy": 3.0, 5: "key", "config_weight": 2}
    copy = structure_only(atoms)
    assert copy.info == {"charge": 1}
    assert not has_label(copy)
    np.testing.assert_array_equal(copy.get_initial_magnetic_moments(), [1, 0, 0])
    assert "REF_energy" in plain_info(atoms)
    with pytest.raises(TypeError, match=r"expected an ase\.Atoms, got str"):
        structure_only("H2O")


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
