"""A child process that computes labels, as its label worker sees it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.outcome import ComputedLabel, NotFinished
from ase_bmdal.labelling.reference import Reference
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.labelling.worker.child import LOG
from ase_bmdal.labelling.worker.environment import clean_environment
from ase_bmdal.labelling.worker.guard import GRACE, ask_to_end, end_session
from ase_bmdal.labelling.worker.last_words import MOST, how_it_ended, last_words
from ase_bmdal.labelling.worker.messages import receive, send
from ase_bmdal.labelling.worker.start import start_child

LONGEST_START = 300.0  # seconds; a hundred workers that import from one slow file server at once
GIVEN_UP = "the batch was given up, or its driver is gone"
PIPES_CLOSE_FIRST = 0.5  # seconds between the end of the pipes of a process and its own


class CalculationEnded(Exception):  # noqa: N818 - its subclasses are names of failures
    """A calculation came to no result."""


class TimedOut(CalculationEnded):
    """It took longer than allowed."""


class Crashed(CalculationEnded):
    """Its process is gone."""


class LabelProcess:
    """A process with the reference loaded, ready for one structure after the other.

    Parameters
    ----------
    log
        File for what the process says before its first structure.
    settings
        ``environment`` and ``threads`` are used, and ``launch``: if it is not empty, the reference is loaded by the
        ranks that it starts below the process.
    """

    def __init__(self, log: Path, settings: LabellingSettings) -> None:
        self.log, self._launch = log, settings.launch
        self._lock, self._ending = threading.Lock(), threading.Lock()
        self._is_ended = False
        with log.open("ab") as output:
            child = start_child(
                "ase_bmdal.labelling.worker.child",
                clean_environment(os.environ, settings.environment, settings.threads),
                output,
            )
        self._popen, self._pipe, self._parent_pipe = child

    def load(self, reference: Reference, timeout: float | None, is_wanted: Callable[[], bool]) -> None:
        """Have the process load the reference.

        Parameters
        ----------
        reference
            The user's reference.
        timeout
            Limit of a label in seconds, of which a start may take more.
        is_wanted
            Asked ten times a second whether anybody wants the label still.

        Raises
        ------
        NotFinished
            If the reference cannot be loaded there, as for a package that is missing, or the label is not wanted.
        CalculationEnded
            If the process does not come up.
        """
        limit = None if timeout is None else max(timeout, LONGEST_START)
        with self._lock:
            self._exchange(None, limit, is_wanted)
            failure = self._exchange((reference, self._launch), limit, is_wanted)
        if failure is not None:
            of_launcher = self._last_words() if self._launch else ""  # such as that there are too few cores
            raise NotFinished(f"the reference cannot be loaded: {failure}{of_launcher}")

    def ask(
        self,
        atoms: Atoms,
        with_stress: bool,
        scratch: Path,
        timeout: float | None,
        is_wanted: Callable[[], bool],
    ) -> ComputedLabel | Failure:
        """Compute one label.

        Parameters
        ----------
        atoms
            Structure without calculator and constraints.
        with_stress
            Whether stress is wanted.
        scratch
            Existing folder to work in.
        timeout
            Limit in seconds.
        is_wanted
            Asked ten times a second whether anybody wants the label still.

        Returns
        -------
        ComputedLabel or Failure
            What the calculator gave, not checked; or what it raised.

        Raises
        ------
        CalculationEnded
            If there is no answer; the process is then of no use any more.
        NotFinished
            If nobody wants the label any more, somebody else asked the process to end, or it cannot work in the folder,
            as on a disk that is full.
        """
        self.log = scratch / LOG
        with self._lock:
            reply = self._exchange((atoms, with_stress, scratch), timeout, is_wanted)
        if isinstance(reply, OSError):
            raise NotFinished(f"cannot work in the scratch folder {scratch}: {reply.strerror}")
        return reply  # type: ignore[no-any-return]

    def _exchange(self, message: Any, timeout: float | None, is_wanted: Callable[[], bool]) -> Any:
        limit = float("inf") if timeout is None else time.monotonic() + timeout

        def check() -> None:
            if not is_wanted():
                raise NotFinished(GIVEN_UP)
            if time.monotonic() > limit:
                raise TimedOut(f"no result within {timeout:g} s")
            # A process that the calculation forked may hold the pipe open without anybody left to answer.
            if self._has_ended():
                raise EOFError

        if self._pipe.fileno() < 0:
            raise Crashed("the process was ended")
        try:
            if message is not None:
                send(self._pipe.fileno(), message)
            return receive(self._pipe.fileno(), check)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise self._crash_report() from None

    def is_alive(self) -> bool:
        """Whether it can be asked; it may have been killed since it answered last."""
        return not self._has_ended()

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._popen.poll() is not None
        if self._popen.returncode is not None:
            return True
        # Left waiting to be waited for, so that its number stays its own until its session is ended.
        return os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _crash_report(self) -> Crashed | NotFinished:
        limit = time.monotonic() + PIPES_CLOSE_FIRST
        while not (was_over := self._has_ended()) and time.monotonic() < limit:
            time.sleep(0.01)
        code = self._end(GRACE)
        how = f"{'ended with' if code >= 0 else 'was'} {how_it_ended(code)}"
        # Asked to end by somebody else, as by a queue whose time is up.
        kind = NotFinished if was_over and code == -signal.SIGTERM else Crashed
        return kind(f"the process of the calculation {how}{self._last_words()}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MOST))  # of what may be gigabytes
            return last_words(file.read(MOST))
        return ""

    def _end(self, grace: float) -> int:
        with self._ending:
            if not self._is_ended:
                end_session(self._popen.pid, grace)
            self._is_ended = True
            return self._popen.wait()

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process and its group, without waiting for what becomes of it."""
        with self._ending:
            if not self._is_ended:
                ask_to_end(self._popen.pid)

    def close(self, grace: float = GRACE) -> None:
        """End the process with all it started; may be called twice, and from any thread.

        Parameters
        ----------
        grace
            Seconds until what does not end by itself is killed.
        """
        self._end(grace)
        with self._lock:
            if self._pipe.fileno() >= 0:
                os.close(self._parent_pipe)
                self._pipe.close()
