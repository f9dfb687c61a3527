"""When a simulation has to stop: its time is up, or the queueing system or the user says so."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from ase_bmdal.common.errors import SimulationStopped

IN_PLACE_OF_TRACEBACK = "_render_traceback_"  # IPython asks exceptions for it
TERMINATED = "SIGTERM came; all labels are kept, start again with the same directory"


class Deadline:
    """A limit on the time from now on.

    Parameters
    ----------
    seconds
        None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and seconds <= 0:
            raise ValueError(f"max_wall_time: expected seconds more than 0, got {seconds}")
        self._seconds = seconds
        self._start = time.monotonic()
        self._is_terminated = False

    def check(self) -> None:
        """Stop if it is time.

        Raises
        ------
        SimulationStopped
            Saying why.
        """
        if self._is_terminated:
            raise SimulationStopped(TERMINATED)
        if self._seconds is not None and time.monotonic() - self._start > self._seconds:
            raise SimulationStopped(
                f"the time of {self._seconds:.0f} s is up; all labels are kept, start again with the same directory"
            )

    @contextmanager
    def catching_sigterm(self, stop: Callable[[str], None]) -> Iterator[None]:
        """Let SIGTERM stop the simulation at its next force call, where Python allows it: in the main thread.

        Parameters
        ----------
        stop
            Ends at once what a force call may be waiting for; gets the reason.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            self._is_terminated = True
            stop(TERMINATED)

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def explained(sentence: str) -> KeyboardInterrupt:
    """Ctrl-C that is shown as a sentence instead of a traceback, if nobody catches it: by Python and by IPython."""
    if not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)
    stop = KeyboardInterrupt(sentence)
    vars(stop)[IN_PLACE_OF_TRACEBACK] = lambda: [sentence]
    return stop


@dataclass(frozen=True)
class _Hook:
    before: Any

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if IN_PLACE_OF_TRACEBACK in vars(error):
            sys.stderr.write(f"{error}\n")
        else:
            self.before(kind, error, trace)
