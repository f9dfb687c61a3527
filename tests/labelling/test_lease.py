"""Workers know by a file whether their labels are wanted; they look seldom and forgive the file system."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ase_bmdal.labelling import lease as module
from ase_bmdal.labelling.backends.base import file_lease
from ase_bmdal.labelling.lease import HeldLease, Lease, Watch
from tests.labelling.treacherous import wait_until

NEVER = 1000.0


@pytest.fixture
def lease(tmp_path):
    return Lease(path=tmp_path / "running", renewal=NEVER, look=NEVER, expiry=100 * NEVER)


@pytest.fixture
def watch(lease):
    """That of a worker, which looks when the test tells it to."""
    lease.path.touch()
    return Watch(lease)


def look(watch, times=1):
    """Whether it is over after so many looks more."""
    for _ in range(times):
        watch.look()
    return watch.is_over.is_set()


def test_wanted_until_the_file_is_gone_for_two_looks(lease, watch):
    lease.path.unlink()
    assert [look(watch), look(watch)] == [False, True]


def test_one_miss_is_forgiven_again_and_again(lease, watch):
    for _ in range(2):
        lease.path.unlink()
        assert not look(watch)
        lease.path.touch()
        assert not look(watch)


def test_errors_of_the_file_system_are_forgiven(watch, monkeypatch):
    def fail(*args, **others):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        assert not look(watch, 10)
    assert not look(watch)


def test_gone_with_the_driver(tmp_path):
    watch = Watch(Lease(path=tmp_path / "running", look=NEVER, expiry=2.5 * NEVER))
    watch.lease.path.touch()
    assert not look(watch, 3)
    os.utime(watch.lease.path, ns=(1, 1))  # clocks of file servers may show anything
    assert not look(watch, 3)
    assert look(watch)


def test_not_wanted_any_more_once_it_is_released(lease):
    held = HeldLease(lease)
    assert lease.why_unseen() == ""
    assert lease.is_wanted()
    held.release()
    assert not lease.is_wanted()


def test_to_ask_is_to_look_at_no_file(lease, monkeypatch):
    lease.path.touch()
    assert lease.why_unseen() == ""
    monkeypatch.setattr(Path, "open", None)
    monkeypatch.setattr(Path, "stat", None)
    monkeypatch.setattr(os, "stat", None)
    assert lease.is_wanted()
    assert lease.why_unseen() == ""


def test_the_driver_renews_it(tmp_path):
    held = HeldLease(Lease(path=tmp_path / "running", renewal=0.01))
    touched = held.lease.path.stat().st_mtime_ns
    wait_until(lambda: held.lease.path.stat().st_mtime_ns != touched)
    held.release()
    assert not held.lease.path.exists()
    held.release()


def test_a_worker_looks_by_itself(tmp_path):
    lease = Lease(path=tmp_path / "running", look=0.01)
    lease.path.touch()
    assert lease.why_unseen() == ""
    assert lease.is_wanted()
    lease.path.unlink()
    wait_until(lambda: not lease.is_wanted())


def test_what_is_not_there_is_looked_for_again_before_it_is_said(tmp_path, monkeypatch):
    lease = Lease(path=tmp_path / "late" / "running", look=NEVER)
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == module.FIRST_LOOKS - 1:
            lease.path.parent.mkdir(exist_ok=True)
            lease.path.touch()

    monkeypatch.setattr(module.time, "sleep", pause)
    assert lease.why_unseen() == ""
    pauses.clear()
    assert Lease(path=tmp_path / "never" / "running").why_unseen() == "No such file or directory"
    assert len(pauses) == module.FIRST_LOOKS - 1


def test_a_batch_that_had_ended_before_its_first_task(tmp_path, monkeypatch):
    """Unless the worker has only a folder of the same name."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    lease = file_lease(tmp_path / "batch-one" / "running")
    (tmp_path / "elsewhere").mkdir()
    away = replace(lease, path=tmp_path / "elsewhere" / "batch-one" / "running")
    not_mounted = replace(lease, path=tmp_path / "no" / "batch-one" / "running")
    for each, is_wanted in ((lease, False), (away, True), (not_mounted, True)):
        each.follow()
        assert each.is_wanted() is is_wanted
