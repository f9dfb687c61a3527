"""Scripts in processes that need not import TensorFlow: they are forked off one that has, and did nothing else.

What Python does with a script at its end is done by Python: the script runs at the top level of the main module.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

SERVER = Path(__file__).with_name("preloaded_process.py")
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # a process with more is not forked


@cache
def _server():
    return subprocess.Popen(
        [sys.executable, SERVER],
        env=os.environ | ENVIRONMENT | ONE_THREAD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(**request):
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


class Script:
    """A script that runs: what a test needs of `subprocess.Popen`, with its output in files.

    Parameters
    ----------
    path
        The script, run in its folder and a session of its own.
    file_size
        Largest file that it may write, bytes; None for any.
    """

    def __init__(self, path, file_size=None):
        self._printed = [path.with_suffix(f".{kind}-{time.monotonic_ns()}") for kind in ("out", "err")]
        self.pid = _ask(script=str(path), printed=[str(each) for each in self._printed], file_size=file_size)
        self.returncode = None
        self._end = os.pidfd_open(self.pid)

    def poll(self):
        return self.wait(0)

    def wait(self, timeout=None):
        if self.returncode is None:
            if select.select([self._end], [], [], timeout)[0]:
                os.close(self._end)
                self.returncode = _ask(wait=self.pid)
            elif timeout:
                raise subprocess.TimeoutExpired(str(self._printed[0]), timeout)
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        return tuple(each.read_text() for each in self._printed)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)
