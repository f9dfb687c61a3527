"""The process in which a reference calculation runs; it serves one label worker until that is gone.

Standard output and error of the calculation go to a file in its scratch folder, whether Python, C or
Fortran writes them; requests and replies have pipes of their own.

Nothing here outlives the label worker, however that ends: see `labelling.guard`.
"""

import contextlib
import ctypes
import faulthandler
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ase_bmdal.labelling.environment import header
from ase_bmdal.labelling.messages import receive, send
from ase_bmdal.labelling.record import describe

LOG = "output.txt"


def main() -> None:
    """Serve label requests until the pipe closes."""
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
            reply = answer(make_calculator, atoms, with_stress, home)
        send(replies, reply)


def answer(make_calculator: Callable[[], Any], atoms: Any, with_stress: bool, folder: Path) -> dict[str, Any]:
    """Compute one label, whatever the calculator does.

    Parameters
    ----------
    make_calculator
        The reference.
    atoms
        Structure without constraints.
    with_stress
        Whether stress is wanted.
    folder
        Working directory of the driver.

    Returns
    -------
    dict
        ``energy``, ``forces``, ``stress``; or ``error``, a class and a text.
    """
    from ase_bmdal.labelling.compute import label

    try:
        return label(make_calculator, atoms, with_stress, folder)
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
    os.write(1, header().encode())
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
