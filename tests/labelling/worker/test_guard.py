"""What is left of a calculation is ended, asked first."""

import os
import subprocess
import sys
import time

import pytest

from ase_bmdal.labelling.worker import guard
from tests.labelling.treacherous import alive, pids_in, wait_until

pytestmark = pytest.mark.skipif(not guard.PROCESSES.exists(), reason="needs /proc")


def session(script, tmp_path):
    process = subprocess.Popen(["sh", "-c", script], cwd=tmp_path, start_new_session=True)
    wait_until((tmp_path / "ready").exists)
    return process


def test_asked_first_and_nothing_is_killed_that_ends_by_itself(tmp_path):
    process = session(
        "trap 'echo saved > restart; exit 3' TERM; touch ready; while :; do sleep 0.05; done", tmp_path
    )
    guard.end_session(process.pid)
    assert process.wait() == 3
    assert (tmp_path / "restart").read_text() == "saved\n"


def test_killed_if_it_does_not_listen(tmp_path):
    process = session("trap '' TERM; touch ready; while :; do sleep 0.05; done", tmp_path)
    guard.end_session(process.pid, grace=0.2)
    assert process.wait() == -9


def test_process_groups_of_their_own_are_found(tmp_path):
    rank = (
        f'{sys.executable} -S -c \'import os, time; os.setpgid(0, 0); open("ready", "w"); time.sleep(1000)\''
    )
    process = session(f"{rank} & echo $! > pids; wait", tmp_path)
    (pid,) = pids_in(tmp_path / "pids")
    assert os.getpgid(pid) != process.pid
    assert set(guard.members(process.pid)) >= {process.pid, pid}
    guard.end_session(process.pid, grace=0.2)
    process.wait()
    wait_until(lambda: not alive(pid))
    assert guard.members(process.pid) == []


def test_an_ended_session_costs_nothing(tmp_path, monkeypatch):
    process = session("touch ready", tmp_path)
    wait_until(lambda: not guard.members(process.pid))
    monkeypatch.setattr(guard.time, "sleep", None)
    monkeypatch.setattr(guard.os, "killpg", None)  # whose number may be another one's by now
    guard.end_session(process.pid)
    process.wait()


GUARDED = """
import os, subprocess, sys, time
end, parent_pipe = os.pipe()
leader = subprocess.Popen(
    [sys.executable, "-c", '''
import os, sys, time
from ase_bmdal.labelling.worker.guard import start_guard
start_guard(int(sys.argv[1]), int(sys.argv[2]))
print(os.getpid(), file=open("pids", "w"), flush=True)
time.sleep(1000)
''', str(end), str(os.getpid())], start_new_session=True, pass_fds=[end])
os.close(end)
if "fork" in sys.argv and os.fork() == 0:  # holds the pipe open
    print(os.getpid(), file=open("fork", "w"), flush=True)
    time.sleep(1000)
time.sleep(1000)
"""


@pytest.mark.parametrize("fork", [[], ["fork"]], ids=["alone", "with-a-fork"])
def test_ended_with_the_worker(tmp_path, fork):
    worker = subprocess.Popen([sys.executable, "-c", GUARDED, *fork], cwd=tmp_path)
    wait_until(lambda: pids_in(tmp_path / "pids") and (not fork or pids_in(tmp_path / "fork")))
    (leader,) = pids_in(tmp_path / "pids")
    time.sleep(0.1)
    assert alive(leader)
    worker.kill()
    worker.wait()
    wait_until(lambda: not alive(leader))
    for pid in pids_in(tmp_path / "fork"):
        os.kill(pid, 9)
