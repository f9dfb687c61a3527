"""The process in which a reference calculation runs; it serves one label worker until that is gone.

Standard output and error of the calculation go to a file in its scratch folder, whether Python, C or
Fortran writes them; requests and replies have a pipe of their own.

Nothing here outlives the label worker, however that ends: see `labelling.guard`.
"""

import contextlib
import ctypes
import faulthandler
import os
import sys
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.worker.environment import header
from ase_bmdal.labelling.worker.messages import receive, send
from ase_bmdal.labelling.worker.ranks import Ranks, RanksEnded

if TYPE_CHECKING:
    from ase_bmdal.labelling.outcome import ComputedLabel
    from ase_bmdal.labelling.reference import Loaded

LOG = "output.txt"


def main(pipe: int) -> None:
    """Serve label requests until the pipe closes.

    Parameters
    ----------
    pipe
        Descriptor of this end of it.
    """
    faulthandler.enable()
    send(pipe, "started")
    with contextlib.suppress(EOFError):
        serve(pipe)


def serve(pipe: int) -> None:
    """Load the reference that comes first, then answer one request after the other.

    Parameters
    ----------
    pipe
        Descriptor to read from and to write to.
    """
    reference, launch = receive(pipe)
    with contextlib.suppress(OSError):
        os.chdir(reference.folder)
    home, folder = Path.cwd(), Path(reference.folder)  # which need not be there
    try:
        compute = Ranks(reference, launch) if launch else partial(answer, reference.load())
    except BaseException as error:
        if not isinstance(error, RanksEnded):  # what the launcher has said comes last
            traceback.print_exc()
        send(pipe, Failure.of(error))
        return
    send(pipe, None)
    while True:
        atoms, with_stress, scratch = receive(pipe)
        try:
            with inside(scratch, home):
                reply: Any = compute(atoms, with_stress, folder)
        except OSError as error:  # of the folder, as a calculation raises none
            reply = error
        send(pipe, reply)


def answer(loaded: "Loaded", atoms: Any, with_stress: bool, folder: Path) -> "ComputedLabel | Failure":
    """Compute one label, whatever the calculator does.

    Parameters
    ----------
    loaded
        The reference, and the baseline.
    atoms
        Structure without constraints.
    with_stress
        Whether stress is wanted.
    folder
        Working directory of the driver.

    Returns
    -------
    ComputedLabel or Failure
        What the calculator gave, not checked; or what it raised.
    """
    from ase_bmdal.labelling.worker.compute import label

    try:
        return label(loaded, atoms, with_stress, folder)
    except BaseException as error:  # a calculator that calls sys.exit() costs one structure, too
        with contextlib.suppress(Exception):
            traceback.print_exc()
        return Failure.of(error)


@contextlib.contextmanager
def inside(scratch: Path, home: Path) -> Iterator[None]:
    """Work in the scratch folder, with everything printed going to a file there; raises OSError if that cannot be."""
    os.chdir(scratch)
    for descriptor in (1, 2):
        _redirect(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, descriptor)
    with contextlib.suppress(OSError):  # of a disk that is full
        os.write(1, header().encode())
    yield
    flush()  # what is printed belongs to this structure, not to the next
    for descriptor in (1, 2):  # some file systems keep what is open, and its folder
        _redirect(os.devnull, os.O_WRONLY, descriptor)
    with contextlib.suppress(OSError):  # it may be gone, and the label is there
        os.chdir(home)


def flush() -> None:
    """Have all be written that Python and C keep back of what was printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    ctypes.CDLL(None).fflush(None)


def _redirect(path: str, flags: int, descriptor: int) -> None:
    opened = os.open(path, flags, 0o666)
    os.dup2(opened, descriptor)
    os.close(opened)
