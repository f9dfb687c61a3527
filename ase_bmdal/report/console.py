"""Events for a reader: a line for each round, and at a terminal what goes on in between."""

import logging
import sys
from contextlib import suppress
from typing import TextIO

from ase_bmdal.common.terminal import StatusLines
from ase_bmdal.run.events import EpochDone, Event, LabelDone, Listener, log


class Console:
    """Writes events to a stream.

    Parameters
    ----------
    stream
        Progress within a round is shown only if it is a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._lines = StatusLines(stream)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, LabelDone | EpochDone):
            self._lines.status(str(event))
        else:
            self._lines.line(str(event))


def on_standard_error() -> Listener | None:
    """Shows events on standard error, if there is one and logging does not write them there already.

    A simulation does not end because nobody reads them any more, as after the end of a connection.
    """
    if sys.stderr is None or _logging_writes_to(sys.stderr):
        return None
    console = Console(sys.stderr)

    def show(event: Event) -> None:
        with suppress(OSError, ValueError):  # closed
            console(event)

    return show


def _logging_writes_to(stream: TextIO) -> bool:
    """Whether the user has set up logging such that events show on a stream."""
    logger: logging.Logger | None = log
    while logger and log.isEnabledFor(logging.INFO):
        shown = (getattr(each, "stream", None) for each in logger.handlers if each.level <= logging.INFO)
        if any(each is stream for each in shown):
            return True
        logger = logger.parent if logger.propagate else None
    return False
