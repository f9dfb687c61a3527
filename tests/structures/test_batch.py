import numpy as np
import pytest
from ase.build import bulk, molecule

from ase_bmdal.common.errors import UnknownElementError
from ase_bmdal.structures.batch import (
    BatchShape,
    Geometry,
    Remembered,
    assemble,
    batches,
    species_of,
    volume,
)
from tests.builders import every_geometry

STRUCTURES = list(every_geometry().values())
ELEMENTS = sorted({int(z) for atoms in STRUCTURES for z in atoms.numbers})


def batch_of(structures, cutoff=4.0):
    geometries = [Geometry.of(atoms, cutoff) for atoms in structures]
    shape = BatchShape.fitting(geometries)
    return geometries, assemble(geometries, ELEMENTS, shape, 2 * cutoff, "float32")


def test_structures_stand_side_by_side():
    geometries, batch = batch_of(STRUCTURES)
    n = sum(map(len, STRUCTURES))
    assert (batch.species[n:] == -1).all()
    np.testing.assert_array_equal(batch.sizes, [len(atoms) for atoms in STRUCTURES])
    numbers = np.concatenate([atoms.numbers for atoms in STRUCTURES])
    np.testing.assert_array_equal(np.array(ELEMENTS)[batch.species[:n]], numbers)
    for index, (geometry, pairs) in enumerate(zip(geometries, batch.split(batch.pairs), strict=True)):
        np.testing.assert_allclose(pairs[:, : geometry.width], geometry.pairs, atol=1e-5)
        assert (batch.structure[:n] == index).sum() == len(geometry)


def test_the_reverse_of_the_reverse_is_the_pair_itself():
    _, batch = batch_of(STRUCTURES)
    reverse = batch.reverse.ravel()
    np.testing.assert_array_equal(reverse[reverse], np.arange(len(reverse)))
    pairs = batch.pairs.reshape(-1, 3)
    short = np.linalg.norm(pairs, axis=1) < 4.0
    np.testing.assert_allclose(pairs[reverse][short], -pairs[short], atol=1e-5)


def test_padding_is_beyond_the_cutoff():
    geometries, batch = batch_of(STRUCTURES)
    lengths = np.linalg.norm(batch.pairs, axis=-1)
    assert (lengths <= 4.0).sum() == sum(geometry.table.is_pair.sum() for geometry in geometries)


def test_many_structures_come_in_batches_of_similar_size():
    structures = [molecule("H2O")] * 5 + [bulk("Si") * 2] * 3 + [bulk("Si")]
    seen, sizes = [], []
    for members, batch in batches(structures, [1, 8, 14], 3.0, "float32", 20):
        seen += members
        sizes.append(batch.sizes.sum())
        np.testing.assert_array_equal(batch.sizes, [len(structures[index]) for index in members])
    assert sorted(seen) == list(range(len(structures)))
    assert max(sizes) <= 20


def test_lists_of_any_length_share_a_few_shapes():
    """Each is compiled, which takes as long as some million pairs."""
    seen = set()
    for n in range(1, 120, 7):
        ethanol = [molecule("CH3CH2OH")] * n
        for members, batch in batches(ethanol, [1, 6, 8], 4.0, "float32", 1024):
            assert batch.shape.structures >= len(members)
            seen.add(batch.shape)
    assert {shape.atoms for shape in seen} == {256, 512, 1024}
    assert len(seen) == 3


def test_a_large_structure_is_padded_little():
    (_, batch), *_ = batches([bulk("Si", cubic=True) * (4, 4, 5)], [14], 4.0, "float32", 1024)
    assert batch.shape.atoms == 640


def test_unknown_elements_are_named():
    np.testing.assert_array_equal(species_of(np.array([8, 1, 14]), [1, 8, 14]), [1, 0, 2])
    with pytest.raises(UnknownElementError, match="trained on \\(H, O\\), got also Si"):
        species_of(np.array([14, 1]), [1, 8])
    with pytest.raises(UnknownElementError, match="got also He"):
        species_of(np.array([2]), [1, 8])


def test_only_a_full_cell_has_a_volume():
    atoms = bulk("Cu")
    assert volume(atoms) == pytest.approx(atoms.get_volume())
    atoms.pbc = (True, True, False)
    assert volume(atoms) == 0.0


def test_remembered_structures_are_laid_out_once_for_each_way_of_asking():
    class Counting(list):
        asked = 0

        def __getitem__(self, index):
            self.asked += 1
            return super().__getitem__(index)

    structures = Counting(STRUCTURES)
    remembered = Remembered(structures)
    first = batches(remembered, ELEMENTS, 4.0, "float32", 100)
    asked = structures.asked
    assert asked > 0
    again = batches(remembered, ELEMENTS, 4.0, "float32", 100)
    assert again is first
    assert structures.asked == asked
    for (places, batch), (expected_places, expected) in zip(
        first, batches(STRUCTURES, ELEMENTS, 4.0, "float32", 100), strict=True
    ):
        assert places == expected_places
        np.testing.assert_array_equal(batch.pairs, expected.pairs)
        np.testing.assert_array_equal(batch.reverse, expected.reverse)
    (_, other), *_ = batches(remembered, ELEMENTS, 3.0, "float32", 100)
    assert other.shape != first[0][1].shape
    assert len(remembered) == len(STRUCTURES)
    assert remembered[0] == STRUCTURES[0]
