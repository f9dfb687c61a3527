"""What is said of a process that has ended."""

import signal

MOST = 1000  # bytes


def how_it_ended(code: int) -> str:
    """Exit status of a process, or the signal that has killed it, in words, from what `Popen.returncode` is."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def last_words(output: bytes) -> str:
    """The end of what it has written, to follow another sentence; empty if there is none."""
    tail = output[-MOST:].decode("utf-8", "replace").strip()
    return f"; its last words:\n{tail}" if tail else ""
