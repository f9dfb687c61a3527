"""A reference that is a program of several MPI ranks, which stay alive between labels.

The child process of a label worker starts them with the user's launcher, and hands its tasks on to rank 0, which
shares them with the others. Whatever goes wrong on a rank ends these ranks, and costs one label: the others may wait
for it in a collective operation for ever. The next label has new ones.

The launcher and its ranks are below the child, and end with it: see `labelling.worker.guard`.
"""

import contextlib
import inspect
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.reference import Loaded, Reference
from ase_bmdal.labelling.worker.messages import receive, send

if TYPE_CHECKING:
    from ase_bmdal.labelling.outcome import ComputedLabel

START = """
import sys
address, *path = sys.argv[1:]
sys.path[:], sys.argv[1:] = path, []
from ase_bmdal.labelling.worker.ranks import main
main(address)
"""
TAG = 7
IDLE = 0.002  # seconds between two looks of a rank that has nothing to do, instead of a core kept busy
LAST_WORDS = 1.0  # seconds in which rank 0 may say what went wrong before another rank ends all
LONGEST_TAIL = 1000  # bytes
GRACE = 5.0  # seconds between SIGTERM and SIGKILL to the launcher
STARTED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")  # by MPICH, by Open MPI, by srun


class RanksEnded(Exception):  # noqa: N818 - what happened to them
    """The ranks of the reference are gone."""


class Ranks:
    """Ranks that compute one label after the other.

    Parameters
    ----------
    reference
        Loaded by each rank.
    launch
        Command that starts so many processes.

    Raises
    ------
    RanksEnded
        If they do not come up.
    Exception
        Whatever loading the reference raises on rank 0.
    """

    def __init__(self, reference: Reference, launch: Sequence[str]) -> None:
        self._reference, self._launch = reference, launch
        self._home = Path.cwd()  # not the folder of a label, which is gone after it
        self._launcher: subprocess.Popen[bytes] | None = None
        self._start()

    def __call__(self, atoms: Any, with_stress: bool, folder: Path) -> "ComputedLabel | Failure":
        """Compute one label in the working directory of now; as `child.answer`."""
        try:
            if self._launcher is None:
                self._start()
            send(self._socket.fileno(), (atoms, with_stress, folder, Path.cwd()))
            reply = receive(self._socket.fileno(), self._check)
        except (EOFError, ConnectionError, RanksEnded) as error:
            return Failure("Crashed", f"{self._end() or error}{_last_words()}")
        except BaseException as error:
            self._end()
            return Failure.of(error)
        if isinstance(reply, Failure):
            self._end()
        return reply  # type: ignore[no-any-return]

    def _start(self) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
            address = str(Path(folder, "ranks"))
            server.bind(address)
            server.listen(1)
            command = [*self._launch, sys.executable, "-c", START, address, *sys.path]
            self._launcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self._home)
            while not select.select([server], [], [], 0.1)[0]:
                self._check()
            self._socket, _ = server.accept()
        send(self._socket.fileno(), self._reference)
        error = receive(self._socket.fileno(), self._check)
        if error is not None:
            self._end()
            raise error

    def _check(self) -> None:
        if self._launcher is not None and self._launcher.poll() is not None:
            raise RanksEnded(f"{self._launch[0]} ended with exit status {self._launcher.returncode}")

    def _end(self) -> str:
        """End what is left of them; says how they ended, if they had by themselves."""
        launcher, self._launcher = self._launcher, None
        if launcher is None:
            return ""
        with contextlib.suppress(AttributeError):
            self._socket.close()
        try:
            code = launcher.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            launcher.send_signal(signal.SIGTERM)  # which launchers hand on to ranks on all nodes
            with contextlib.suppress(subprocess.TimeoutExpired):
                launcher.wait(GRACE)
            launcher.kill()
            launcher.wait()
            return ""
        return f"{self._launch[0]} ended with exit status {code}" if code else ""


def _last_words() -> str:
    """What the ranks wrote last, in the folder of the label."""
    from ase_bmdal.labelling.worker.child import LOG

    with contextlib.suppress(OSError):
        return f"; last words:\n{Path(LOG).read_bytes()[-LONGEST_TAIL:].decode('utf-8', 'replace').strip()}"
    return ""


def main(address: str) -> None:
    """Be one of the ranks.

    Parameters
    ----------
    address
        Of the socket on which the child of the label worker waits for rank 0.
    """
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    connection = socket.socket(socket.AF_UNIX)
    if comm.rank == 0:
        connection.connect(address)
    loaded = _load(comm, connection)
    while True:
        task = _next_task(comm, connection)
        reply = _answer(comm, loaded, *task)
        if comm.rank == 0:
            send(connection.fileno(), reply)


def _load(comm: Any, connection: socket.socket) -> Loaded:
    """The reference, on every rank; rank 0 says how that went."""
    reference: Reference = comm.bcast(receive(connection.fileno()) if comm.rank == 0 else None)
    error: BaseException | None = None
    loaded = None
    try:
        _refuse_another_mpi(comm.size)
        loaded = reference.load()
    except Exception as reason:
        error = RuntimeError(f"{Failure.of(reason)}")
    errors = [each for each in comm.allgather(error) if each is not None]
    if comm.rank == 0:
        send(connection.fileno(), errors[0] if errors else None)
    if loaded is None or errors:
        sys.exit(1)
    return Loaded(_with_comm(loaded.reference, comm), loaded.baseline)


def _refuse_another_mpi(size: int) -> None:
    """Processes that a launcher of another MPI than mpi4py's has started take themselves for one rank each."""
    started = {name: int(os.environ[name]) for name in STARTED if name in os.environ}
    if started and size not in started.values():
        name, number = next(iter(started.items()))
        raise RuntimeError(
            f"expected a launcher of the MPI that mpi4py uses, got one that started {number} processes ({name}), each "
            f"of which knows of {size}: mpi4py takes the MPI that MPI4PY_LIBMPI names, or the first it finds"
        )


def _with_comm(make_calculator: Callable[..., Any], comm: Any) -> Callable[[], Any]:
    """The reference, told of its communicator if it wants to know."""
    try:
        wants_it = "comm" in inspect.signature(make_calculator).parameters
    except (TypeError, ValueError):  # classes that are not written in Python
        wants_it = False
    make = partial(make_calculator, comm=comm) if wants_it else make_calculator

    def checked() -> Any:
        calculator = make()
        _refuse_a_serial_gpaw(comm.size)
        _refuse_a_program(calculator, comm.size)
        return calculator

    return checked


def _refuse_a_serial_gpaw(size: int) -> None:
    """GPAW that does not use MPI computes on every rank as if it were alone, with wrong energies."""
    parallel = sys.modules.get("gpaw.mpi")
    if parallel is not None and parallel.world.size != size:
        raise RuntimeError(
            f"expected a GPAW that knows of all {size} ranks, got one that knows of {parallel.world.size}, whose "
            "energies would be wrong: it was built without MPI, or for another than mpi4py's, or needs GPAW_MPI_BACKEND"
        )


def _refuse_a_program(calculator: Any, size: int) -> None:
    """A calculator that starts a program would do so on every rank, all of them in the same folder."""
    from ase.calculators.calculator import FileIOCalculator
    from ase.calculators.genericfileio import GenericFileIOCalculator

    if size > 1 and isinstance(calculator, FileIOCalculator | GenericFileIOCalculator):
        raise RuntimeError(
            f"expected a calculator that computes on {size} ranks together, got {type(calculator).__name__}, which "
            "starts a program of its own, once for each rank; leave out the launcher, and have it start that program's"
        )


def _next_task(comm: Any, connection: socket.socket) -> Any:
    if comm.rank == 0:
        try:
            task = receive(connection.fileno())
        except EOFError:
            comm.Abort(0)
            raise SystemExit from None  # of some MPIs it returns
        for rank in range(1, comm.size):
            comm.send(task, rank, TAG)
        return task
    while not comm.iprobe(0, TAG):
        time.sleep(IDLE)
    return comm.recv(source=0, tag=TAG)


def _answer(
    comm: Any, loaded: Loaded, atoms: Any, with_stress: bool, folder: Path, scratch: Path
) -> "ComputedLabel | Failure":
    from ase_bmdal.labelling.worker.child import answer, flush, inside

    home = Path.cwd()
    with inside(scratch, home):
        reply = answer(loaded, atoms, with_stress, folder)
        if isinstance(reply, Failure) and comm.rank > 0:  # the others may wait for this one
            flush()
            time.sleep(LAST_WORDS)
            os.write(2, f"rank {comm.rank}: {reply}\n".encode())
            comm.Abort(1)
    return reply
