import fcntl
import os

import pytest

from ase_bmdal.common.errors import RunFolderError, StoreError
from ase_bmdal.report.run import read_run
from ase_bmdal.run.store import LabelStore
from tests.report.folders import made_up_run


def test_reads_a_run_without_a_trace(tmp_path):
    path = made_up_run(tmp_path / "run")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    run = read_run(path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert [len(run.of_status(status)) for status in ("done", "failed", "pending")] == [8, 1, 0]
    assert [each.round for each in run.predicted_rounds] == [1, 2, 3]


def test_predictions_before_training(tmp_path):
    pairs = read_run(made_up_run(tmp_path / "run")).predictions_before_training()
    assert len(pairs.reference) == 3 * 2 * 9
    assert pairs.of_round(1).mae == pytest.approx(0.25)
    assert pairs.of_round(3).mae == pytest.approx(0.0625)


def test_reads_while_a_process_holds_the_lock(tmp_path):
    path = made_up_run(tmp_path / "run")
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert len(read_run(path).rows) == 9
    finally:
        os.close(lock)


def test_a_run_that_has_just_begun(tmp_path):
    LabelStore(tmp_path / "labels.db")
    run = read_run(tmp_path)
    assert (run.settings, run.rounds, run.rows, run.predictions_before_training()) == ({}, [], [], None)


def test_refuses_what_is_no_run_folder_and_makes_none(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(RunFolderError, match="expected a run folder"):
            read_run(path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "error"),
    [("settings.json", RunFolderError), ("labels.db", StoreError)],
)
def test_names_the_broken_file(tmp_path, name, error):
    path = made_up_run(tmp_path / "run")
    (path / name).write_text("{")
    with pytest.raises(error, match=name):
        read_run(path)
