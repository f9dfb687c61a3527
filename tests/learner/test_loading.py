import pytest

from ase_bmdal import load_model
from ase_bmdal.common.errors import ModelError
from tests.builders import random_model


def test_a_path_a_string_and_a_run_folder(tmp_path):
    (tmp_path / "run" / "models").mkdir(parents=True)
    for round, elements in ((1, [29]), (2, [1, 8])):
        random_model(elements, hidden=(8,)).save(tmp_path / "run" / "models" / f"round-{round:04d}.npz")
    path = tmp_path / "run" / "models" / "round-0001.npz"
    assert load_model(path).elements == load_model(str(path)).elements == (29,)
    assert load_model(tmp_path / "run").elements == load_model(str(tmp_path / "run")).elements == (1, 8)


def test_a_run_folder_without_a_potential(tmp_path):
    with pytest.raises(ModelError, match="run folder with a trained potential, found none"):
        load_model(str(tmp_path))
