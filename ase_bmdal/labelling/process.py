"""A child process that computes labels, as its label worker sees it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_bmdal.labelling.child import LOG
from ase_bmdal.labelling.environment import for_a_calculation
from ase_bmdal.labelling.guard import GRACE, ask_to_end, end_session
from ase_bmdal.labelling.messages import receive, send
from ase_bmdal.labelling.reference import Reference

START = """
import sys
lifeline, worker, *path = sys.argv[1:]
sys.path[:], sys.argv[1:] = path, []
from ase_bmdal.labelling.guard import start_guard
start_guard(int(lifeline), int(worker))
from ase_bmdal.labelling.child import main
main()
"""
LONGEST_START = 300.0  # seconds; a hundred workers that import from one slow file server at once
LAST_WORDS = 1000  # bytes
GIVEN_UP = "the batch was given up, or its driver is gone"
A_MOMENT = 0.5  # seconds between the end of the pipes of a process and its own


class CalculationEnded(Exception):  # noqa: N818 - its subclasses are names in a record
    """A calculation came to no result."""


class TimedOut(CalculationEnded):
    """It took longer than allowed."""


class Crashed(CalculationEnded):
    """Its process is gone."""


class Terminated(CalculationEnded):
    """Its process was asked to end from outside, as by a queue whose time is up."""


class Abandoned(CalculationEnded):
    """Nobody wants the label any more."""


class NotLoaded(Exception):  # noqa: N818 - as above
    """The reference cannot be loaded in the process; class and text of the reason."""


class LabelProcess:
    """A process with the reference loaded, ready for one structure after the other.

    Parameters
    ----------
    log
        File for what the process says before its first structure.
    environment
        Environment variables to keep or to set, as in `LabellingSettings`.
    """

    def __init__(self, log: Path, environment: Mapping[str, str | None]) -> None:
        self.log = log
        self._lock, self._ending = threading.Lock(), threading.Lock()
        self._is_ended = False
        end, self._lifeline = os.pipe()
        path = [os.path.abspath(entry or ".") for entry in sys.path]  # noqa: PTH100 - zip files are kept
        try:
            with log.open("ab") as stderr:
                self._popen = subprocess.Popen(
                    [sys.executable, "-c", START, str(end), str(os.getpid()), *path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    bufsize=0,
                    env=for_a_calculation(os.environ, environment),
                    start_new_session=True,
                    pass_fds=[end],
                )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(end)

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
        NotLoaded
            If the reference cannot be loaded there, as for a package that is missing.
        CalculationEnded
            If the process does not come up.
        """
        limit = None if timeout is None else max(timeout, LONGEST_START)
        with self._lock:
            self._exchange(None, limit, is_wanted)
            reply = self._exchange(reference, limit, is_wanted)
        if "error" in reply:
            raise NotLoaded(*reply["error"])

    def ask(
        self,
        atoms: Atoms,
        with_stress: bool,
        scratch: Path,
        timeout: float | None,
        is_wanted: Callable[[], bool],
    ) -> dict[str, Any]:
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
        dict
            ``energy``, ``forces``, ``stress``; or ``error``.

        Raises
        ------
        CalculationEnded
            If there is no answer; the process is then of no use any more.
        """
        self.log = scratch / LOG
        with self._lock:
            return self._exchange((atoms, with_stress, scratch), timeout, is_wanted)  # type: ignore[no-any-return]

    def _exchange(self, message: Any, timeout: float | None, is_wanted: Callable[[], bool]) -> Any:
        limit = float("inf") if timeout is None else time.monotonic() + timeout

        def check() -> None:
            if not is_wanted():
                raise Abandoned(GIVEN_UP)
            if time.monotonic() > limit:
                raise TimedOut(f"no result within {timeout:g} s")
            # A process that the calculation forked may hold the pipe open without anybody left to answer.
            if self._has_ended():
                raise EOFError

        stdin, stdout = self._popen.stdin, self._popen.stdout
        if stdin is None or stdout is None or stdin.closed:
            raise Crashed("the process was ended")
        try:
            if message is not None:
                send(stdin.fileno(), message)
            return receive(stdout.fileno(), check)
        except (EOFError, BrokenPipeError):
            raise self._obituary() from None

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

    def _obituary(self) -> CalculationEnded:
        limit = time.monotonic() + A_MOMENT
        while not (was_over := self._has_ended()) and time.monotonic() < limit:
            time.sleep(0.01)
        code = self._end(GRACE)
        how = f"ended with exit status {code}" if code >= 0 else f"was killed by {_signal_name(-code)}"
        words = ""
        with contextlib.suppress(OSError):
            words = self.log.read_bytes()[-LAST_WORDS:].decode("utf-8", "replace").strip()
        kind = Terminated if was_over and code == -signal.SIGTERM else Crashed
        return kind(
            f"the process of the calculation {how}" + (f"; its last words:\n{words}" if words else "")
        )

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
            if self._lifeline < 0:
                return
            os.close(self._lifeline)
            self._lifeline = -1
            for pipe in (self._popen.stdin, self._popen.stdout):
                if pipe is not None:
                    pipe.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
