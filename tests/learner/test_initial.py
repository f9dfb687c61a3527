"""The first structures: how they are disturbed, and how not."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii

from ase_bmdal import InitialData
from ase_bmdal.learner.initial import CLOSEST, initial_structures


def relative_distances(structure, images=(-1, 0, 1)):
    """Distances of all pairs with all images, over the sum of the covalent radii, by brute force."""
    repeats = [images if periodic else (0,) for periodic in structure.pbc]
    shifts = np.stack(np.meshgrid(*repeats, indexing="ij"), axis=-1).reshape(-1, 3) @ structure.cell.array
    vectors = structure.positions[:, None, None] - structure.positions[None, :, None] + shifts
    distances = np.linalg.norm(vectors, axis=-1)
    radii = covalent_radii[structure.numbers]
    distances[distances == 0] = np.inf
    return distances / (radii[:, None] + radii)[:, :, None]


@pytest.mark.parametrize(
    "frame",
    [molecule("CH3CH2OH"), molecule("N2"), bulk("Si"), bulk("NaCl", "rocksalt", a=5.64, cubic=True)],
    ids=str,
)
def test_no_two_atoms_come_too_close(frame):
    settings = InitialData(n_structures=40, rattle=0.3, strain=0.0)
    allowed = CLOSEST * np.minimum(relative_distances(frame), 1.0)
    for structure in initial_structures(frame, settings, seed=0):
        assert np.all(relative_distances(structure) >= allowed - 1e-9)


def test_displacements_are_as_asked_where_there_is_room():
    frame = Atoms("He8", 10.0 * np.indices((2, 2, 2)).reshape(3, -1).T)
    first, *others = initial_structures(frame, InitialData(n_structures=200, rattle=0.3), seed=0)
    assert np.array_equal(first.positions, frame.positions)
    found = np.array([structure.positions - frame.positions for structure in others])
    expected = np.linspace(0.1, 0.3, 199)
    assert np.std(found / expected[:, None, None]) == pytest.approx(1.0, abs=0.05)


def test_a_frame_with_close_atoms_is_disturbed_too():
    frame = Atoms("H2", [[0, 0, 0], [0, 0, 0.3]])
    structures = initial_structures(frame, InitialData(n_structures=20), seed=0)
    distances = [structure.get_distance(0, 1) for structure in structures]
    assert len(set(distances)) == 20
    assert min(distances) >= CLOSEST * 0.3 - 1e-9


def test_one_atom():
    assert len(initial_structures(Atoms("He"), InitialData(n_structures=3), seed=0)) == 3
