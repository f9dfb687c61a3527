import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.labelling.worker.checks import refusal_after, refusal_before
from ase_bmdal.structures.labels import Label

LIMITS = LabellingSettings()


@pytest.mark.parametrize(
    "atoms",
    [
        molecule("H2O"),
        molecule("CH3CH2OH"),
        Atoms("H2", [[0, 0, 0], [0, 0, 0.5]]),
        Atoms("H", [[0, 0, 0]]),
        Atoms("Cs2", [[0, 0, 0], [0, 0, 2.6]]),
        bulk("Si"),
        bulk("Na", "bcc", a=2.2),  # 1.9 Å apart, as at 200 GPa
        fcc111("Cu", (2, 2, 3), vacuum=None),
        fcc111("Cu", (2, 2, 3), vacuum=5.0),
        Atoms("C", cell=[1.3, 0, 0], pbc=[True, False, False]),
        Atoms("Cu", cell=np.diag([2.5, 2.5, -2.5]), pbc=True),
    ],
    ids=str,
)
def test_sound_structures_pass(atoms):
    assert refusal_before(atoms, LIMITS) is None


def _hydroxyl(distance, **fields):
    return Atoms("OH", [[0, 0, 0], [0, 0, distance]], **fields)


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (Atoms(), "no atoms"),
        (_hydroxyl(0.05), "O0–H1 are 0.050 Å apart"),
        (_hydroxyl(0.0), "O0–H1"),
        (_hydroxyl(4.95, cell=[5, 5, 5], pbc=True), "0.050 Å apart"),
        (_hydroxyl(4.95, cell=[5, 5, 5], pbc=[False, False, True]), "0.050 Å apart"),
        (_hydroxyl(np.nan), "not finite"),
        (_hydroxyl(np.inf), "not finite"),
        (_hydroxyl(2e9), "absurdly large"),
        (_hydroxyl(1.0, cell=[5, 5, np.nan], pbc=True), "not finite"),
        (_hydroxyl(1.0, pbc=True), "singular"),
        (_hydroxyl(1.0, cell=[[5, 0, 0], [10, 0, 0], [0, 0, 5]], pbc=True), "singular"),
        (_hydroxyl(1.0, cell=[[5, 0, 0], [10, 0, 0], [0, 0, 5]], pbc=[True, True, False]), "singular"),
        (_hydroxyl(1.0, cell=[1e-4, 1e-4, 1e-4], pbc=True), "collapsed"),
        (Atoms("Cu", cell=[1.0, 9, 9], pbc=True), "Cu0–Cu0 are 1.000 Å apart"),
    ],
    ids=str,
)
def test_hopeless_structures_are_refused_before(atoms, reason):
    assert reason in refusal_before(atoms, LIMITS)


def test_distance_check_can_be_switched_off():
    assert refusal_before(_hydroxyl(0.05), LabellingSettings(closest_pair=0)) is None


def _label(n, **changes):
    fields = {"energy": 1.0, "forces": np.ones((n, 3)), "stress": np.ones(6)}
    return Label(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"energy": np.nan}, "energy is nan"),
        ({"energy": -np.inf}, "energy is -inf"),
        ({"forces": np.ones((1, 3))}, "shape (1, 3), expected (2, 3)"),
        ({"forces": np.full((2, 3), np.nan)}, "forces are not finite"),
        ({"forces": np.full((2, 3), 200.0)}, "largest force is 346 eV/Å"),
        ({"stress": None}, "no stress"),
        ({"stress": np.ones((3, 3))}, "stress has shape (3, 3)"),
        ({"stress": np.full(6, np.nan)}, "stress is not finite"),
    ],
)
def test_unsound_labels_are_refused_after(changes, reason):
    assert reason in refusal_after(_label(2, **changes), bulk("Si"), LIMITS)


def test_sound_labels_pass():
    assert refusal_after(_label(2), bulk("Si"), LIMITS) is None
    assert refusal_after(_label(3, stress=None), molecule("H2O"), LIMITS) is None
    assert refusal_after(_label(2, forces=np.full((2, 3), 110.0)), bulk("Si"), LIMITS) is None  # 191 eV/Å
    assert refusal_after(_label(2, stress=None), bulk("Si"), LabellingSettings(stress=False)) is None


def test_stress_is_asked_of_fully_periodic_cells_only():
    slab = fcc111("Cu", (1, 1, 2), vacuum=5.0)
    assert refusal_after(_label(2, stress=None), slab, LIMITS) is None


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": -1}, {"closest_pair": 1}, {"max_force": 0}])
def test_settings_refuse_nonsense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LabellingSettings(**wrong)
