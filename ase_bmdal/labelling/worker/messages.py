"""Pickled messages over a pipe, each behind its length.

Unlike `multiprocessing.connection`, whose ``recv`` waits for the rest of a message that has begun, reading looks up
ten times a second: whoever wrote may have died in its midst, while a process it forked holds the pipe open.
"""

import os
import pickle
import select
import struct
from collections.abc import Callable
from typing import Any

HEADER = struct.Struct(">Q")
TICK = 0.1


def send(descriptor: int, message: Any) -> None:
    """Write one message.

    Parameters
    ----------
    descriptor
        Pipe to write to.
    message
        Anything the standard pickle can hold.
    """
    write(descriptor, packed(message))


def packed(message: Any) -> bytes:
    """One message as it goes over a pipe."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


def write(descriptor: int, content: bytes) -> None:
    """Write messages that are packed already."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def receive(descriptor: int, check: Callable[[], None] | None = None) -> Any:
    """Read one message.

    Parameters
    ----------
    descriptor
        Pipe to read from.
    check
        Called every tenth of a second while nothing comes; ends the waiting by raising.

    Returns
    -------
    object
        The message.

    Raises
    ------
    EOFError
        If the other side is gone.
    """
    (size,) = HEADER.unpack(_read(descriptor, HEADER.size, check))
    return pickle.loads(_read(descriptor, size, check))


def _read(descriptor: int, size: int, check: Callable[[], None] | None) -> bytes:
    content = bytearray()
    while len(content) < size:
        if check is not None:
            _wait(descriptor, check)
        piece = os.read(descriptor, min(size - len(content), 1 << 20))
        if not piece:
            raise EOFError("the other side of the pipe is closed")
        content += piece
    return bytes(content)


def _wait(descriptor: int, check: Callable[[], None]) -> None:
    poll = select.poll()  # unlike select(), without a limit on the number of the descriptor
    poll.register(descriptor, select.POLLIN)
    while not poll.poll(TICK * 1000):
        check()
