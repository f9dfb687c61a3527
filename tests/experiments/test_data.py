"""Readers, on files made here."""

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_bmdal.structures.labels import label_of
from ase_bmdal_experiments.data import fingerprint, read_frames
from tests.experiments.small import water

KCAL = units.kcal / units.mol
RNG = np.random.default_rng(0)
Z, R, E, F = np.array([8, 1, 1]), RNG.random((5, 3, 3)), RNG.random(5), RNG.random((5, 3, 3))


def write(folder, **arrays):
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def check(frames, energies, forces, positions=R):
    assert len(frames) == len(energies)
    for index, atoms in enumerate(frames):
        label = label_of(atoms)
        assert atoms.symbols.get_chemical_formula() == "H2O"
        assert np.allclose(atoms.positions, positions[index])
        assert label.energy == pytest.approx(energies[index])
        assert np.allclose(label.forces, forces[index])


def test_md17_is_in_kcal_per_mol(tmp_path):
    path = write(tmp_path, z=Z, R=R, E=E[:, None], F=F, name=np.array("aspirin"))
    check(read_frames(path), E * KCAL, F * KCAL)


def test_md17_may_say_its_unit(tmp_path):
    check(read_frames(write(tmp_path, z=Z, R=R, E=E, F=F, e_unit=np.array("eV"))), E, F)
    with pytest.raises(ValueError, match=r"data\.npz: e_unit: expected kcal/mol or eV, got furlong"):
        read_frames(write(tmp_path, z=Z, R=R, E=E, F=F, e_unit=np.array(b"furlong")))


def test_rmd17_has_the_labels_of_both(tmp_path):
    arrays = {"nuclear_charges": Z, "coords": R, "energies": E, "forces": F}
    path = write(tmp_path, **arrays, old_energies=2 * E, old_forces=3 * F)
    check(read_frames(path), E * KCAL, F * KCAL)
    check(read_frames(path, "rmd17"), E * KCAL, F * KCAL)
    check(read_frames(path, "MD17"), 2 * E * KCAL, 3 * F * KCAL)


def test_electronvolt_archives_of_one_size(tmp_path):
    path = write(tmp_path, Z=Z.astype("uint8"), R=R, E=E, F=F, E_md17=2 * E, F_md17=3 * F)
    check(read_frames(path), E, F)
    check(read_frames(path, "md17"), 2 * E, 3 * F)
    check(read_frames(path, "E_md17, F"), 2 * E, F)
    assert read_frames(path, "E").forces is None


def test_electronvolt_archives_of_any_size(tmp_path):
    sizes, cells = np.array([1, 3, 2], "int16"), np.array([np.eye(3) * side for side in (3, 4, 5)])
    numbers, positions, forces = np.arange(1, 7, dtype="uint8"), RNG.random((6, 3)), RNG.random((6, 3))
    path = write(tmp_path, n_atoms=sizes, Z=numbers, R=positions, F=forces, cell=cells, E=E[:3])
    frames = read_frames(path)
    assert [len(atoms) for atoms in frames] == [1, 3, 2]
    assert frames[1].numbers.tolist() == [2, 3, 4]
    assert np.array_equal(frames[-1].positions, positions[4:])
    assert np.array_equal(frames[2].get_forces(), forces[4:])
    assert np.array_equal(frames[1].cell.array, cells[1])
    assert frames[0].pbc.all()


def test_energies_of_molecules_only(tmp_path):
    path = write(tmp_path, n_atoms=[1, 2], Z=[1, 2, 3], R=RNG.random((3, 3)).astype("float32"), E=E[:2])
    frames = read_frames(path)
    assert frames.forces is None
    assert not frames[1].pbc.any()
    assert label_of(frames[1]).forces is None


def test_any_file_of_ase(tmp_path):
    structures = water(3)
    ase.io.write(tmp_path / "water.xyz", structures)
    frames = read_frames(tmp_path / "water.xyz")
    for ours, theirs in zip(frames, structures, strict=True):
        assert np.allclose(ours.positions, theirs.positions)
        assert label_of(ours).energy == pytest.approx(theirs.get_potential_energy())
        assert np.allclose(label_of(ours).forces, theirs.get_forces())


def test_periodic_in_some_directions(tmp_path):
    slab = bulk("Cu")
    slab.pbc = (True, True, False)
    slab.calc = SinglePointCalculator(slab, energy=1.0)
    ase.io.write(tmp_path / "slab.xyz", slab)
    frames = read_frames(tmp_path / "slab.xyz")
    assert frames[0].pbc.tolist() == [True, True, False]
    assert frames.forces is None


def test_a_slice_is_a_sequence(tmp_path):
    frames = read_frames(write(tmp_path, z=Z, R=R, E=E, F=F))
    some = frames[1:4]
    assert len(some) == 3
    assert np.array_equal(some[0].positions, R[1])
    assert np.array_equal(some[1:][0].positions, R[2])
    with pytest.raises(IndexError):
        frames[5]


@pytest.mark.parametrize(
    ("arrays", "labels", "text"),
    [
        ({"a": E}, None, "expected arrays named z, R or .*, got a"),
        ({"z": Z, "R": R}, None, "labels: expected arrays of energies and forces among z, R; got E"),
        ({"z": Z, "R": R, "E": E, "F": F}, "rmd17", "expected labels md17 in this layout, got rmd17"),
        ({"z": Z, "R": R, "E": E}, "md17", "got E, F"),
        ({"z": Z, "R": R, "E": E}, "E,G", "got E, G"),
        (
            {"z": Z, "R": R, "E": E[:4]},
            None,
            r"E: expected 5 numbers for 5 structures of 15 atoms, got \(4,\)",
        ),
        ({"z": Z, "R": R, "E": E, "F": F[:4]}, None, "F: expected 45 numbers"),
        ({"z": Z[:2], "R": R, "E": E}, None, "z: expected 15 numbers"),
        ({"z": Z, "R": R[0], "E": E}, None, r"R: expected shape \[n, n_atoms, 3\], got \(3, 3\)"),
        ({"z": Z, "R": R, "E": np.where(E[2] == E, np.nan, E)}, None, "E: expected finite .* in row 2"),
        ({"z": Z, "R": R, "E": np.array(["a"] * 5)}, None, "E: expected numbers, got <U1"),
        ({"z": Z, "R": R[:0], "E": E[:0]}, None, "expected labelled structures, got none"),
    ],
)
def test_refuses_what_does_not_fit(tmp_path, arrays, labels, text):
    with pytest.raises(ValueError, match=rf"data\.npz: .*{text}"):
        read_frames(write(tmp_path, **arrays), labels)


def test_refuses_other_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_frames(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError):
        read_frames(tmp_path / "nothing.xyz")
    for name in ("broken.npz", "broken.xyz"):
        (tmp_path / name).write_text("what")
        with pytest.raises(ValueError, match=name):
            read_frames(tmp_path / name)
    ase.io.write(tmp_path / "bare.xyz", [bulk("Cu")])
    with pytest.raises(ValueError, match=r"bare\.xyz: structure 0: .*without an energy"):
        read_frames(tmp_path / "bare.xyz")


def test_refuses_forces_on_some_only(tmp_path):
    structures = water(2)
    structures[1].calc = SinglePointCalculator(structures[1], energy=1.0)
    ase.io.write(tmp_path / "mixed.xyz", structures)
    with pytest.raises(ValueError, match="forces on all structures or on none, structure 1 has none"):
        read_frames(tmp_path / "mixed.xyz")


def test_fingerprint_tells_files_apart_by_content(tmp_path):
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    first, second, third = (fingerprint(tmp_path / name) for name in "abc")
    assert first == second != third
