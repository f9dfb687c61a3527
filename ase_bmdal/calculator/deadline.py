"""When a simulation has to stop: its time is up, or the queueing system says so."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ase_bmdal.common.errors import SimulationStopped

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
