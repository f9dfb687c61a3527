import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from ase_bmdal.structures.free_atoms import by_number, of_isolated, with_weight_on_isolated
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.outliers import outliers, worst


def labels(n, size=3, seed=0):
    rng = np.random.default_rng(seed)
    return [Label(-10 + 0.1 * rng.standard_normal(), rng.standard_normal((size, 3))) for _ in range(n)]


def test_one_corrupted_label_is_named():
    given = labels(41)
    given[17] = Label(given[17].energy + 500, given[17].forces * 100)
    [(place, text)] = outliers([molecule("H2O")] * 41, given).items()
    assert place == 17
    assert "the energy of H2O is +167 eV per atom from the median of 41 labels" in text
    assert "the largest force of H2O is" in text


def test_what_differs_as_labels_do_is_none():
    structures = [molecule("H2O")] * 40 + [molecule("CO2")] * 4
    given = [*labels(40), *(Label(-1000.0 * k, np.full((3, 3), 50.0 * k)) for k in range(4))]
    assert outliers(structures, given) == {}
    assert outliers([molecule("H2O")] * 8, [Label(-10.0)] * 7 + [Label(-10.1)]) == {}


def test_the_worst_come_first():
    structures, given = [molecule("H2O")] * 9, labels(9)
    predicted = list(given)
    predicted[4] = Label(given[4].energy, given[4].forces + 2)
    predicted[7] = Label(given[7].energy + 3, given[7].forces)
    found = worst(structures, predicted, given)
    assert next(iter(found)) == 4
    assert found[4] == "H2O, force error up to 3.46e+03 meV/Å, energy error 0 meV/atom"
    assert "energy error 1e+03 meV/atom" in found[7]
    by_energy = worst(
        structures, [Label(each.energy) for each in predicted], [Label(g.energy) for g in given]
    )
    assert next(iter(by_energy)) == 7


def test_energies_of_free_atoms():
    atoms = [molecule("H"), molecule("H"), molecule("H2O"), molecule("H")]
    atoms[3].pbc, atoms[3].cell = True, [3, 3, 3]
    assert of_isolated(atoms, [Label(-1.0), Label(-2.0), Label(-9.0), Label(-5.0)]) == {1: -2.0}
    weighted = with_weight_on_isolated(atoms, [Label(-1.0, weights=(2.0, 1.0, 1.0))] * 4)
    assert [label.weights[0] for label in weighted] == [60, 60, 2, 2]
    boxes = [Atoms("H", cell=cell, pbc=True) for cell in ([12, 13, 14], [12, 13, 3], 12 * np.tri(3))]
    assert of_isolated(boxes[:1], [Label(-1.5)]) == of_isolated(boxes[2:], [Label(-1.5)]) == {1: -1.5}
    assert of_isolated(boxes[1:2], [Label(-1.5)]) == {}
    boxes[1].pbc = (True, True, False)
    assert of_isolated(boxes[1:2], [Label(-1.5)]) == {1: -1.5}
    assert by_number({"H": -13.6, "O": -2041}) == {1: -13.6, 8: -2041.0}
    assert by_number(None) == {}
    for wrong in ({"Hh": 1.0}, {"H": np.nan}):
        with pytest.raises(ValueError, match="atomic_energies: expected energies in eV by element"):
            by_number(wrong)
