import errno
import fcntl
import gc
import json
import os
import subprocess
import sys

import pytest

from ase_bmdal.common.errors import FolderInUseError, RunFolderError, StoreError
from ase_bmdal.common.files import TEMPORARY
from ase_bmdal.run.folder import RunFolder, last_model
from tests.learner.runs import learning


def test_one_at_a_time(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(FolderInUseError, match="is in use"):
        RunFolder(tmp_path)
    folder.close()
    RunFolder(tmp_path)


def test_a_second_driver_is_refused_until_the_first_is_gone(watch, tmp_path):
    run = tmp_path / "run"
    held = "from pathlib import Path; from ase_bmdal.run.folder import RunFolder; "
    held += f"folder = RunFolder(Path({str(run)!r})); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match="is in use, by another process"):
            learning(watch.reference, run)
        assert sorted(path.name for path in run.iterdir()) == ["labels.db", "lock"]
        first.kill()
    learning(watch.reference, run).close()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """Such as Lustre, unless it is mounted with them."""

    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(
        RunFolderError, match=r"expected a file system that can lock files, .* not implemented"
    ):
        RunFolder(tmp_path)


def test_a_calculator_that_is_gone_holds_nothing(watch, tmp_path):
    gc.disable()
    try:
        calc = learning(watch.reference, tmp_path / "run")
        with pytest.raises(FolderInUseError):
            RunFolder(tmp_path / "run")
        del calc
        RunFolder(tmp_path / "run")
    finally:
        gc.enable()


def test_a_forked_process_holds_nothing(tmp_path):
    folder = RunFolder(tmp_path)
    (end, other_end), (started, start) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(other_end)
        os.write(start, b"!")
        os.read(end, 1)  # until the parent closes its end
        os._exit(0)
    try:
        os.read(started, 1)
        folder.close()
        RunFolder(tmp_path).close()
    finally:
        os.close(other_end)
        os.waitpid(child, 0)
        for descriptor in (end, started, start):
            os.close(descriptor)


def test_a_folder_that_is_refused_is_not_held(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"format": 3}))
    with pytest.raises(
        RunFolderError, match=r"newer version of ase_bmdal \(format 3, this version knows 2\)"
    ):
        RunFolder(tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"cannot read .*settings.json"):
        RunFolder(tmp_path)
    (tmp_path / "settings.json").unlink()
    RunFolder(tmp_path)


def test_a_file_in_its_place(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match="expected a run folder"):
        RunFolder(tmp_path / "run")


def test_a_store_that_is_none(tmp_path):
    (tmp_path / "labels.db").write_text("something else, long enough to be looked at" * 100)
    with pytest.raises(StoreError):
        RunFolder(tmp_path)


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "models").mkdir()
    for place in (tmp_path, tmp_path / "models"):
        (place / f".round-0001.npz.0{TEMPORARY}").write_text("half")
    assert last_model(tmp_path) is None
    RunFolder(tmp_path)
    assert not list(tmp_path.rglob(f"*{TEMPORARY}"))


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        RunFolder(tmp_path).write_settings({})
    finally:
        os.umask(before)
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "labels.db").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_written(tmp_path):
    folder = RunFolder(tmp_path)
    with (
        pytest.raises(
            RunFolderError, match="cannot write .*: everything before is kept".replace(": e", r".*; e")
        ),
        folder.writing(tmp_path / "file"),
    ):
        raise OSError("no space left")
