import numpy as np

from ase_bmdal.features import inputs
from ase_bmdal.features.inputs import input_features, second_moments
from tests.builders import every_geometry, model_for
from tests.reference import potential as reference

STRUCTURES = list(every_geometry().values())[:5]


def by_hand(model):
    rows = [reference.inputs(atoms, i, model) for atoms in STRUCTURES for i in range(len(atoms))]
    return np.array([np.append(row / np.sqrt(len(row)), 0.1) for row in rows])


def test_are_those_of_the_network_by_hand():
    model = model_for(STRUCTURES, n_radial=2)
    found, expected = input_features(model, STRUCTURES), by_hand(model)
    order = [np.lexsort(rows.round(9).T) for rows in (found, expected)]  # structures are sorted by size
    np.testing.assert_allclose(found[order[0]], expected[order[1]], atol=1e-9)


def test_second_moments_in_parts(monkeypatch):
    model = model_for(STRUCTURES, n_radial=2)
    monkeypatch.setattr(inputs, "STRUCTURES_AT_ONCE", 2)
    total, n_atoms = second_moments(model, STRUCTURES)
    rows = by_hand(model)
    assert n_atoms == len(rows)
    np.testing.assert_allclose(total, rows.T @ rows, atol=1e-9)
