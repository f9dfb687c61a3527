"""End a calculation with all it has started, also when the label worker that asked for it is gone.

A calculation runs in a session of its own. Launchers such as Open MPI's put the ranks they start into process groups
of their own, and take them along only if they are asked to end; so a calculation is first asked, then killed, and what
is then left of its session is killed as well (found through ``/proc``: on Linux). Out of reach are processes that it
moves to another session.
"""

import contextlib
import os
import select
import signal
import time
from pathlib import Path

GRACE = 5.0  # seconds between SIGTERM and SIGKILL; Open MPI's launcher needs one
LOOK = 0.05
PROCESSES = Path("/proc")


def ask_to_end(session: int) -> None:
    """Send SIGTERM to the process group of a session's leader.

    Parameters
    ----------
    session
        Process id of the leader, which must not have been waited for yet.
    """
    _signal_group(session, signal.SIGTERM)


def end_session(session: int, grace: float = GRACE) -> None:
    """SIGTERM to the process group of the leader; what is left of the session after a while is killed.

    Parameters
    ----------
    session
        Process id of the leader, which must not have been waited for yet.
    grace
        Longest time between SIGTERM and SIGKILL, seconds.
    """
    if PROCESSES.exists() and not members(session):
        return
    ask_to_end(session)
    limit = time.monotonic() + grace
    while members(session) and time.monotonic() < limit:
        time.sleep(LOOK)
    _signal_group(session, signal.SIGKILL)
    limit = time.monotonic() + 1.0  # what is killed may have started another one just before
    while (left := members(session)) and time.monotonic() < limit:
        for pid in left:
            _send(pid, signal.SIGKILL)
        time.sleep(LOOK)


def members(session: int) -> list[int]:
    """Processes of a session that have not ended; none where there is no ``/proc``."""
    pids = (int(entry.name) for entry in _listed() if entry.name.isdecimal())
    return [pid for pid in pids if _session_of(pid) == session and _fields(pid)[0] not in "ZX"]


def start_guard(parent_pipe: int, worker: int) -> None:
    """Have a process beside this session's leader end the session when the label worker is gone.

    It is a fork, to be made before anything heavy is imported; as a process of its own it acts even while a
    calculation holds the interpreter lock.

    Parameters
    ----------
    parent_pipe
        Read end of a pipe that nobody writes to and only the label worker holds open.
    worker
        Process id of the label worker.
    """
    leader = os.getpid()
    if os.fork() == 0:
        try:
            _guard(leader, parent_pipe, worker)
        finally:
            os._exit(0)
    os.close(parent_pipe)


def _guard(leader: int, parent_pipe: int, worker: int) -> None:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(parent_pipe, 0)
    os.closerange(1, 256)  # the pipes are those of the calculation
    if parent_pipe >= 256:
        os.close(parent_pipe)
    os.chdir("/")
    poll = select.poll()
    poll.register(0, select.POLLIN)
    # A fork of the worker may keep the pipe open when the worker is gone.
    while not poll.poll(1000) and _parent_of(leader) in (worker, None):
        pass
    end_session(leader)


def _parent_of(pid: int) -> int | None:
    fields = _fields(pid)
    return int(fields[1]) if len(fields) > 1 else None


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _fields(pid: int) -> list[str]:
    """State, parent and so on of a process, as in ``/proc``; an ended one if there is none."""
    try:
        return (PROCESSES / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ["X"]


def _listed() -> list[Path]:
    try:
        return list(PROCESSES.iterdir())
    except OSError:
        return []


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
