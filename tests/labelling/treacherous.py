"""A calculator that does whatever ``atoms.info["do"]`` says, and helpers to see what is left of it."""

import contextlib
import ctypes
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT

from ase_bmdal.labelling import ComputedLabel, Failure


class UnpicklableError(Exception):
    def __init__(self, one, two):
        super().__init__("cannot travel")
        self.lock = __import__("threading").Lock()


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Treacherous(EMT):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        action = atoms.info.get("do")
        if action is not None:
            getattr(self, action)(atoms)

    def note_pids(self, atoms, *pids):
        if "pids" in atoms.info:
            with Path(atoms.info["pids"]).open("a") as file:
                file.write("".join(f"{pid}\n" for pid in (os.getpid(), *pids)))

    def fail(self, atoms):
        raise RuntimeError("SCF did not converge \udc80")

    def unpicklable(self, atoms):
        raise UnpicklableError(1, 2)

    def unprintable(self, atoms):
        raise UnprintableError

    def sys_exit(self, atoms):
        sys.exit(3)

    def interrupt(self, atoms):
        raise KeyboardInterrupt

    def os_exit(self, atoms):
        os._exit(7)

    def abort(self, atoms):
        os.abort()

    def segfault(self, atoms):
        ctypes.string_at(0)

    def terminate(self, atoms):
        os.kill(os.getpid(), signal.SIGTERM)

    def hang(self, atoms):
        self.note_pids(atoms)
        time.sleep(1000)

    def take_a_while(self, atoms):
        time.sleep(atoms.info["seconds"])

    def hang_in_c(self, atoms):
        self.note_pids(atoms)
        ctypes.PyDLL(None).sleep(1000)  # keeps the interpreter lock

    def hang_with_family(self, atoms):
        child = subprocess.Popen(["sleep", "1000"])
        fork = os.fork()
        if fork == 0:
            time.sleep(1000)
        self.note_pids(atoms, child.pid, fork)
        ctypes.PyDLL(None).sleep(1000)

    def hang_as_open_mpi(self, atoms):
        """A launcher, asked to end first, and ranks in process groups of their own, which it does not take along."""
        here = atoms.info["pids"]
        launcher = (
            f"trap 'echo asked >> {here}.asked; exit' TERM; "
            f"{sys.executable} -c 'import os, time; os.setpgid(0, 0); time.sleep(1000)' & "
            f"echo $$ >> {here}; echo $! >> {here}; wait"
        )
        subprocess.run(["sh", "-c", launcher], check=True)

    def die_and_leave_a_fork(self, atoms):
        fork = os.fork()  # holds all pipes open
        if fork == 0:
            time.sleep(1000)
        self.note_pids(atoms, fork)
        os._exit(1)

    def die_amid_a_reply(self, atoms):
        """Of which the first bytes are on their way, while a fork holds the pipe open."""
        fork = os.fork()
        if fork == 0:
            time.sleep(1000)
        self.note_pids(atoms, fork)
        for path in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                    os.write(int(path.name), b"\0\0\0")
        os.kill(os.getpid(), signal.SIGKILL)

    def close_everything(self, atoms):
        os.closerange(0, 100)

    def chatter(self, atoms):
        print("x" * 3_000_000)
        os.write(1, b"y" * 3_000_000)
        ctypes.CDLL(None).puts(b"from C")
        sys.stderr.write("z" * 3_000_000)

    def nan(self, atoms):
        self.results["forces"] = np.full((len(atoms), 3), np.nan)

    def infinite(self, atoms):
        self.results["energy"] = self.results["free_energy"] = np.inf

    def few_forces(self, atoms):
        self.results["forces"] = np.zeros((1, 3))

    def absurd(self, atoms):
        self.results["forces"] = np.full((len(atoms), 3), 1e4)

    def leave_files(self, atoms):
        Path("wavefunction.bin").write_text("large")

    def hang_in_own_mpi(self, atoms):
        script = (
            "import os, time; from mpi4py import MPI\n"
            f"with open({atoms.info['pids']!r}, 'a') as file: print(os.getpid(), file=file)\n"
            "time.sleep(1000)"
        )
        launcher = Path(sys.executable).with_name("mpiexec")
        subprocess.run([launcher, "-n", "2", sys.executable, "-c", script], check=True)

    def own_mpi(self, atoms):
        script = "import os; from mpi4py import MPI; os.write(1, b'size %d;' % MPI.COMM_WORLD.Get_size())"
        launcher = Path(sys.executable).with_name("mpiexec")
        run = subprocess.run(
            [launcher, "-n", "2", sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if run.stdout.count("size 2") != 2:
            raise RuntimeError(run.stdout + run.stderr)


class SlowAtFirst(EMT):
    """Hangs in the first of all calculations, and notes its process."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if not pids_in(atoms.info["pids"]):
            Path(atoms.info["pids"]).write_text(str(os.getpid()))
            time.sleep(1000)


SOUND = [None, "chatter", "leave_files"]
FAILURES = {
    "fail": "RuntimeError",
    "unpicklable": "tests.labelling.treacherous.UnpicklableError",
    "unprintable": "tests.labelling.treacherous.UnprintableError",
    "sys_exit": "SystemExit",
    "interrupt": "KeyboardInterrupt",
    "os_exit": "Crashed",
    "abort": "Crashed",
    "segfault": "Crashed",
    "die_and_leave_a_fork": "Crashed",
    "die_amid_a_reply": "Crashed",
    "close_everything": "Crashed",
    "hang": "TimedOut",
    "hang_in_c": "TimedOut",
    "hang_with_family": "TimedOut",
    "nan": "Refused",
    "infinite": "Refused",
    "few_forces": "Refused",
    "absurd": "Refused",
}


def copper(do=None, **info):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.info |= info | ({} if do is None else {"do": do})
    return atoms


def error_class(outcome):
    """Of a failure; empty for a label."""
    return outcome.error_class if isinstance(outcome, Failure) else ""


def expect(actions, outcomes):
    """Every failure costs one structure and all others have labels."""
    for action, outcome in zip(actions, outcomes, strict=True):
        assert isinstance(outcome, ComputedLabel if action in SOUND else Failure), (action, outcome)
        assert error_class(outcome) == FAILURES.get(action, ""), (action, outcome)
        assert isinstance(outcome, ComputedLabel) or outcome.scratch is not None


def alive(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def pids_in(path):
    return [int(line) for line in Path(path).read_text().split()] if Path(path).exists() else []
