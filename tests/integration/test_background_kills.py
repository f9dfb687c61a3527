"""Runs in the background that are killed with labels in flight and a training under way, and come back."""

import os
import signal
import time
from pathlib import Path

import pytest

from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from tests.integration.test_on_the_fly_kills import (  # noqa: F401 - the fixture is used by its name
    LABELS,
    RUN,
    done,
    finish,
    nothing_left_running,
    start,
    write,
)
from tests.labelling.treacherous import alive, pids_in, wait_until

pytestmark = pytest.mark.integration

BACKGROUND = "background=True, most_in_flight=6"


def rows(folder):
    return LabelStore(folder / "run" / "labels.db").rows()


def is_in_flight(folder):
    """More than the initial labels, of which some are pending."""
    if not (folder / "run" / "labels.db").exists():
        return False
    found = rows(folder)
    return len(found) > 4 and any(row.status == "pending" for row in found)


def test_a_kill_with_labels_in_flight_loses_no_finished_label(tmp_path):
    write(tmp_path, settings=BACKGROUND)
    kept = []
    for life in range(3):
        process = start(tmp_path)
        wait_until(lambda process=process: process.poll() is not None or is_in_flight(tmp_path), 100)
        time.sleep(0.02 * life)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert set(kept) <= set(done(tmp_path))
        kept = done(tmp_path)
        wait_until(lambda: not any(map(alive, pids_in(tmp_path / "calls"))))
    finish(tmp_path)
    found = rows(tmp_path)
    assert [row.status for row in found].count("done") == LABELS
    assert {row.status for row in found} == {"done"}


def test_a_kill_in_the_midst_of_a_training_leaves_no_process(tmp_path):
    """The potential of the next start learns what that one did not."""
    write(tmp_path, settings=BACKGROUND)
    process = start(tmp_path)
    wait_until(lambda: _children(process.pid, "training_process"), 100)
    trainers = _children(process.pid, "training_process")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(alive, trainers)))
    write(tmp_path, settings=BACKGROUND, after="calc.settle()")
    finish(tmp_path)
    assert History.read(tmp_path / "run").end.labels == LABELS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_labels_in_flight(tmp_path, number):
    write(tmp_path, settings=f"{BACKGROUND}, lead=0", run=RUN.replace("50)", "5000)"))
    process = start(tmp_path)
    wait_until(lambda: is_in_flight(tmp_path), 100)
    (tmp_path / "hang").touch()
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    if number == signal.SIGTERM:
        assert (process.returncode, out) in ((0, "stopped\n"), (0, "all steps\n")), errors
    else:
        assert process.returncode == -signal.SIGINT, errors
        assert errors.splitlines()[-1].startswith("Interrupted after step")
    wait_until(lambda: not any(map(alive, pids_in(tmp_path / "calls"))))
    (tmp_path / "hang").unlink()
    kept = done(tmp_path)
    write(tmp_path, settings=BACKGROUND)
    finish(tmp_path)
    assert set(kept) <= set(done(tmp_path))
    assert len(done(tmp_path)) == LABELS


def _children(parent, word):
    """Processes of a parent whose command has a word in it."""
    return [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdecimal() and word in _read(folder / "cmdline") and _parent_of(folder) == parent
    ]


def _parent_of(folder):
    fields = _read(folder / "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else None


def _read(path):
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
