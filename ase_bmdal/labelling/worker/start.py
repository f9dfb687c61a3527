"""A child process of ours, that does not outlive its parent."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, NamedTuple

START = """
import sys
parent_pipe, parent, pipe, *path = sys.argv[1:]
sys.path[:], sys.argv[1:] = path, []
from ase_bmdal.labelling.worker.guard import start_guard
start_guard(int(parent_pipe), int(parent))
from {module} import main
main(int(pipe))
"""


class Child(NamedTuple):
    """A child process.

    Attributes
    ----------
    popen
        The process, leader of a session of its own.
    pipe
        To talk with it.
    parent_pipe
        It ends when this descriptor is closed.
    """

    popen: "subprocess.Popen[bytes]"
    pipe: socket.socket
    parent_pipe: int


def start_child(module: str, environment: Mapping[str, str], output: IO[bytes]) -> Child:
    """Start a process in which ``main`` of a module is called with the descriptor of its end of a pipe.

    Parameters
    ----------
    module
        Full name; the user's script is not imported.
    environment
        Of the process.
    output
        Gets what it writes to standard output and error.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    end, parent_pipe = os.pipe()
    pipe, childs = socket.socketpair()
    path = [os.path.abspath(entry or ".") for entry in sys.path]  # noqa: PTH100 - zip files are kept
    start = START.format(module=module)
    try:
        popen = subprocess.Popen(
            [sys.executable, "-c", start, str(end), str(os.getpid()), str(childs.fileno()), *path],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
            pass_fds=[end, childs.fileno()],
        )
    except BaseException:
        os.close(parent_pipe)
        pipe.close()
        raise
    finally:
        os.close(end)
        childs.close()
    return Child(popen, pipe, parent_pipe)
