"""The process in which a reference calculation runs; it serves one label worker until that is gone.

Standard output and error of the calculation go to a file in its scratch folder, whether Python, C or
Fortran writes them; requests and replies have pipes of their own.

Nothing here outlives the label worker, however that ends: the kernel kills the whole process group as soon as
the worker's end of a pipe closes, even while a calculation holds the interpreter lock (Linux). Elsewhere, and
where a fork of the worker keeps the pipe open, a thread does the same once a second. Out of reach are
processes that the calculation moves to a session of their own.
"""

import contextlib
import ctypes
import faulthandler
import fcntl
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ase_bmdal.labelling.messages import receive, send
from ase_bmdal.labelling.record import describe

LOG = "output.txt"


def main() -> None:
    """Serve label requests until the pipe closes."""
    lifeline, parent, *path = sys.argv[1:]
    sys.path[:] = path
    sys.argv[1:] = []
    die_with_parent(int(lifeline), int(parent))
    requests, replies = os.dup(0), os.dup(1)
    _redirect(os.devnull, os.O_RDONLY, 0)
    os.dup2(2, 1)
    faulthandler.enable()
    send(replies, "started")
    with contextlib.suppress(EOFError):
        serve(requests, replies)


def serve(requests: int, replies: int) -> None:
    """Load the reference that comes first, then answer one request after the other.

    Parameters
    ----------
    requests, replies
        Pipes to read from and to write to.
    """
    reference = receive(requests)
    with contextlib.suppress(OSError):
        os.chdir(reference.folder)
    home = Path.cwd()
    try:
        make_calculator = reference.load()
    except BaseException as error:
        traceback.print_exc()
        send(replies, {"error": describe(error)})
        return
    send(replies, {})
    while True:
        atoms, with_stress, scratch = receive(requests)
        with _inside(scratch, home):
            reply = answer(make_calculator, atoms, with_stress)
        send(replies, reply)


def answer(make_calculator: Callable[[], Any], atoms: Any, with_stress: bool) -> dict[str, Any]:
    """Compute one label, whatever the calculator does.

    Parameters
    ----------
    make_calculator
        The reference.
    atoms
        Structure without constraints.
    with_stress
        Whether stress is wanted.

    Returns
    -------
    dict
        ``energy``, ``forces``, ``stress``; or ``error``, a class and a text.
    """
    from ase_bmdal.labelling.compute import compute

    try:
        return compute(make_calculator(), atoms, with_stress)
    except BaseException as error:  # a calculator that calls sys.exit() costs one structure, too
        with contextlib.suppress(Exception):
            traceback.print_exc()
        return {"error": describe(error)}


@contextlib.contextmanager
def _inside(scratch: Path, home: Path) -> Iterator[None]:
    """Work in the scratch folder, with everything printed going to a file there."""
    os.chdir(scratch)
    for descriptor in (1, 2):
        _redirect(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, descriptor)
    yield
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    ctypes.CDLL(None).fflush(None)  # what C wrote belongs to this structure, not to the next
    os.chdir(home)


def _redirect(path: str, flags: int, descriptor: int) -> None:
    opened = os.open(path, flags, 0o666)
    os.dup2(opened, descriptor)
    os.close(opened)


def die_with_parent(lifeline: int, parent: int) -> None:
    """End this process group when the parent is gone.

    Parameters
    ----------
    lifeline
        Read end of a pipe that nobody writes to and only the parent holds open.
    parent
        Process id of the parent.
    """
    os.set_inheritable(lifeline, False)
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_watch, args=(lifeline, parent), daemon=True).start()


def _watch(lifeline: int, parent: int) -> None:
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    while os.getppid() == parent and not poll.poll(1000):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)
