"""Messages over a pipe, whole or cut."""

import os
import threading

import numpy as np
import pytest

from ase_bmdal.labelling.worker.messages import receive, send


def lose_patience():
    raise InterruptedError


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_a_message_larger_than_the_pipe(pipe):
    source, sink = pipe
    message = np.arange(300_000.0)
    writer = threading.Thread(target=send, args=(sink, message))
    writer.start()
    np.testing.assert_array_equal(receive(source), message)
    writer.join()


def test_one_after_the_other(pipe):
    source, sink = pipe
    for message in ("a", None, {"b": 1}):
        send(sink, message)
    assert [receive(source) for _ in range(3)] == ["a", None, {"b": 1}]


@pytest.mark.parametrize("written", [b"", b"\0\0\0", (1000).to_bytes(8, "big") + b"begun"])
def test_a_message_cut_short(pipe, written):
    source, sink = pipe
    os.write(sink, written)
    with pytest.raises(InterruptedError):
        receive(source, lose_patience)
    os.close(sink)
    with pytest.raises(EOFError, match="the other side of the pipe is closed"):
        receive(source)
