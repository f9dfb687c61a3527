"""Structures that a run is given to begin with."""

import pytest
from ase.calculators.emt import EMT

from ase_bmdal.learner.given import prepared
from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.labels import KNOWN, label_of
from tests.learner.runs import copper, labelled


@pytest.fixture
def run(tmp_path):
    """A run folder with two labels, whose structures say more than what ase.db has columns for."""
    structures = labelled(2)
    structures[0].info.update(charge=-1, config_weight=3.0)
    store = LabelStore(tmp_path / "labels.db")
    store.add(structures, round=0, source="initial", records=[label_of(atoms) for atoms in structures])
    store.add([copper(2)], round=1, source="pool")
    return tmp_path


@pytest.mark.parametrize("name", ["", "labels.db"])
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_labels_of_another_run_come_with_what_their_structures_say(run, name, kind):
    first, second = prepared(kind(run / name), KNOWN, EMT)
    assert (first.info["charge"], label_of(first).weights) == (-1, (3.0, 3.0, 3.0))
    assert second.get_potential_energy() == pytest.approx(labelled(2)[1].get_potential_energy())


@pytest.mark.parametrize("name", ["nowhere", "empty", "frames.xyz", "missing.db"])
def test_a_path_of_something_else_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "frames.xyz").touch()
    with pytest.raises(TypeError, match=f"or the folder of a run, or its labels.db, got .*{name}"):
        prepared(str(tmp_path / name), KNOWN, EMT)
