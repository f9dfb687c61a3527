import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import null_space

from ase_bmdal.structures.neighbours import drawn_together, neighbours, neighbours_of_each
from ase_bmdal.structures.skin import SkinnedNeighbours
from tests.builders import every_geometry

GEOMETRIES = every_geometry()
CUTOFF = 4.0


def random_structure(seed, n=5):
    """Skewed and left-handed cells, any combination of periodic directions, atoms outside the cell."""
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) * 2 + 4 * np.eye(3)
    if rng.random() < 0.5:
        cell = cell[[1, 0, 2]]
    positions = rng.uniform(-1, 2, (n, 3)) @ cell
    return Atoms(f"Si{n}", positions, cell=cell, pbc=rng.random(3) < 0.6)


def pairs(table):
    i, slot = np.nonzero(table.is_pair)
    return np.column_stack([i, table.neighbour[i, slot], table.image[i, slot]])


def expect_all_pairs(atoms, table, cutoff=CUTOFF):
    whole = atoms.copy()
    whole.cell = atoms.cell.complete()
    expected = np.column_stack(neighbor_list("ijS", whole, cutoff))
    found = pairs(table)
    assert sorted(map(tuple, found)) == sorted(map(tuple, expected))


def expect_an_involution(table):
    neighbour, slot = table.neighbour, table.slot
    rows = np.arange(len(neighbour))[:, None]
    columns = np.arange(neighbour.shape[1])[None]
    np.testing.assert_array_equal(neighbour[neighbour, slot], rows + 0 * columns)
    np.testing.assert_array_equal(slot[neighbour, slot], columns + 0 * rows)
    np.testing.assert_array_equal(table.image[neighbour, slot], -table.image)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_equal_those_of_ase(name):
    table = neighbours(GEOMETRIES[name], CUTOFF)
    expect_all_pairs(GEOMETRIES[name], table)
    expect_an_involution(table)


def test_many_at_once_are_those_of_each():
    structures = [*GEOMETRIES.values(), *(random_structure(seed, n=1 + seed % 7) for seed in range(30))]
    spanned = [atoms for atoms in structures if abs(np.linalg.det(atoms.cell.complete().array)) > 8]
    for atoms, (table, vectors) in zip(spanned, neighbours_of_each(spanned, CUTOFF, 9.0), strict=True):
        expect_all_pairs(atoms, table)
        expect_an_involution(table)
        width = (alone := neighbours(atoms, CUTOFF)).neighbour.shape[1]
        np.testing.assert_array_equal(vectors[:, :width], alone.vectors(atoms, 9.0))
        np.testing.assert_array_equal(
            vectors[:, width:], np.broadcast_to([9.0, 0, 0], vectors[:, width:].shape)
        )
    assert neighbours_of_each([], CUTOFF, 9.0) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_equal_those_of_ase_in_random_cells(seed):
    atoms = random_structure(seed)
    if abs(np.linalg.det(atoms.cell.array)) < 8:
        return
    table = neighbours(atoms, CUTOFF)
    expect_all_pairs(atoms, table)
    expect_an_involution(table)
    vectors = table.vectors(atoms, padding=9.0)
    np.testing.assert_allclose(np.linalg.norm(vectors[~table.is_pair], axis=-1), 9.0)
    lengths = np.linalg.norm(vectors[table.is_pair], axis=-1)
    whole = atoms.copy()
    np.testing.assert_allclose(np.sort(lengths), np.sort(neighbor_list("d", whole, CUTOFF)), atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), skin=st.sampled_from([0.3, 1.0]))
def test_a_skin_never_misses_a_pair(seed, skin):
    rng, atoms = np.random.default_rng(seed), random_structure(seed)
    if abs(np.linalg.det(atoms.cell.array)) < 20:
        return
    kept, held = SkinnedNeighbours.of(atoms, CUTOFF, skin), 0
    for _ in range(15):
        atoms.positions += rng.normal(size=(len(atoms), 3)) * 0.02
        if rng.random() < 0.5:
            atoms.set_cell(atoms.cell.array + 0.005 * rng.normal(size=(3, 3)), scale_atoms=rng.random() < 0.5)
        if not kept.hold_for(atoms):
            kept = SkinnedNeighbours.of(atoms, CUTOFF, skin)
        else:
            held += 1
        whole = atoms.copy()
        needed = set(map(tuple, np.column_stack(neighbor_list("ijS", whole, CUTOFF))))
        assert needed <= set(map(tuple, pairs(kept.table)))
    assert held


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_skin_never_misses_a_pair_of_a_cell_that_shrinks(seed):
    """Also along directions in which nothing was a neighbour before."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(3, 9, 3)
    n = rng.integers(1, 5)
    old = Atoms(f"Cu{n}", rng.random((n, 3)) * rng.uniform(0.5, 1) * size, cell=size, pbc=rng.random(3) < 0.7)
    new, strain = old.copy(), rng.normal(0, rng.choice([0.01, 0.05, 0.15]), (3, 3))
    new.set_cell(old.cell.array @ (np.eye(3) + strain), scale_atoms=rng.random() < 0.5)
    kept = SkinnedNeighbours.of(old, CUTOFF, 0.5)
    if kept.hold_for(new):
        assert set(map(tuple, pairs(neighbours(new, CUTOFF)))) <= set(map(tuple, pairs(kept.table)))


def test_a_gap_that_closes():
    layer = Atoms(
        "Cu4", [[0, 0, 0], [1.8, 1.8, 0], [1.8, 0, 1.8], [0, 1.8, 1.8]], cell=[3.6, 3.6, 9], pbc=True
    )
    kept = SkinnedNeighbours.of(layer, CUTOFF, 0.5)
    assert not kept.table.image[..., 2].any()
    for scaled in (False, True):
        closer = layer.copy()
        closer.set_cell([3.6, 3.6, 5.4], scale_atoms=scaled)
        assert not kept.hold_for(closer)


def test_a_vacuum_may_change_without_being_periodic():
    slab = Atoms("Cu2", [[0, 0, 0], [1.8, 1.8, 1.8]], cell=[3.6, 3.6, 9], pbc=(True, True, False))
    kept = SkinnedNeighbours.of(slab, CUTOFF, 0.5)
    slab.cell[2] = (0.0, 0.0, 20.0)
    assert kept.hold_for(slab)


@pytest.mark.parametrize("pbc", [(False,) * 3, (True, False, False), (True, False, True)])
def test_what_is_far_away_is_no_neighbour_and_kills_no_process(pbc):
    """The search by cells of vesin 0.6 ends the process with SIGFPE."""
    rng, cell = np.random.default_rng(0), np.array([[5.0, 0, 0], [1.0, 5.0, 0], [0.5, 0.3, 5.0]])
    near = Atoms("Si8", rng.uniform(0, 5, (8, 3)), cell=cell, pbc=pbc)
    others = near.copy()
    others.positions = rng.uniform(0, 5, (8, 3))
    parts = neighbours(near, CUTOFF), neighbours(others, CUTOFF)
    free = null_space(cell[list(pbc)]) if any(pbc) else np.eye(3)
    for distance in (1e5, 1e7, 1e9):
        both = near + others
        both.positions[8:] += distance * free @ np.array([-0.6, 0.9, 0.7])[: free.shape[1]]
        table = neighbours(both, CUTOFF)
        assert [table.is_pair[:8].sum(), table.is_pair[8:].sum()] == [each.is_pair.sum() for each in parts]
        np.testing.assert_array_equal(pairs(table)[: parts[0].is_pair.sum()], pairs(parts[0]))
        expect_an_involution(table)


def test_an_atom_many_cells_away_has_the_neighbours_of_its_image():
    atoms = random_structure(3)
    atoms.pbc = True
    table, away = neighbours(atoms, CUTOFF), np.array([100_000_000, -7, 0])
    atoms.positions[0] += away @ atoms.cell.array
    moved = neighbours(atoms, CUTOFF)
    shift = np.zeros((len(atoms), 3), int)
    shift[0] = away
    i, j, *image = pairs(table).T
    expected = np.column_stack([i, j, np.transpose(image) - shift[j] + shift[i]])
    assert sorted(map(tuple, pairs(moved))) == sorted(map(tuple, expected))


def test_a_chain_without_gaps_stays_as_it_is():
    positions = np.array([[0.0, 0, 3.0 * k] for k in range(4000)])
    assert drawn_together(positions, np.zeros((0, 3)), CUTOFF) is not positions
    np.testing.assert_array_equal(drawn_together(positions, np.zeros((0, 3)), CUTOFF), positions)
    moved = drawn_together(
        positions + np.where(np.arange(4000) < 2000, 0, 1e6)[:, None], np.zeros((0, 3)), CUTOFF
    )
    np.testing.assert_allclose(np.diff(moved[:, 2])[1999], 2 * CUTOFF)


def test_a_skin_does_not_hold_for_another_structure():
    atoms = GEOMETRIES["crystal"]
    kept = SkinnedNeighbours.of(atoms, CUTOFF, 0.5)
    assert kept.hold_for(atoms.copy())
    gold, slab, broken = atoms.copy(), atoms.copy(), atoms.copy()
    gold.numbers[0] = 79
    slab.pbc = (True, True, False)
    broken.positions[3] = np.nan
    for other in (gold, slab, broken, atoms[:-1]):
        assert not kept.hold_for(other)


def test_a_skin_is_used_up_by_one_atom_or_by_two_together():
    atoms = GEOMETRIES["crystal"]
    kept = SkinnedNeighbours.of(atoms, CUTOFF, 0.5)
    for first, second, holds in [
        (0.499, 0, True),
        (0.501, 0, False),
        (0.3, 0.199, True),
        (0.3, 0.201, False),
    ]:
        other = atoms.copy()
        other.positions[0, 0] += first
        other.positions[1, 1] -= second
        assert kept.hold_for(other) == holds


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "with atoms"),
        (Atoms("HO", [[0, 0, 0], [0, np.inf, 0]]), r"finite positions, .* got .* for atom 1"),
        (Atoms("HO", [[0, 0, 0], [0, -2e9, 0]]), r"within 1e\+09 Å of the origin, got .* for atom 1"),
        (Atoms("H", pbc=True), "cell with three independent vectors"),
        (Atoms("H", cell=[[1, 0, 0], [2, 0, 0], [0, 0, 3]], pbc=True), "cell with three independent vectors"),
        (Atoms("H", cell=[np.nan, 1, 1], pbc=True), "cell with three independent vectors"),
        (Atoms("H", cell=[3, 3, 0], pbc=(False, False, True)), "cell with three independent vectors"),
    ],
)
def test_what_has_no_neighbours_is_refused(atoms, message):
    with pytest.raises(ValueError, match=message):
        neighbours(atoms, CUTOFF)
