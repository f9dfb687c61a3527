"""The run folder: everything a run must not lose.

settings.json    what the run was told, and how it began
labels.db        every structure chosen, its label or why there is none, the prediction made before (ase.db)
models/          the potential after each round
journal.jsonl    what happened, one event a line
last_trusted.traj   the state a simulation was set back to when it ended on unknown ground
scratch/         what failed calculations left behind
lock             held while a process works in the folder
"""

import fcntl
import gc
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import write

from ase_bmdal.common.errors import FolderInUseError, RunFolderError
from ase_bmdal.common.files import TEMPORARY, write_atomically
from ase_bmdal.run import journal
from ase_bmdal.run.events import Event
from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.structure_only import structure_only

FORMAT = 2


class RunFolder:
    """Files of one run, written by one process at a time.

    Parameters
    ----------
    path
        Folder; made if it does not exist.

    Raises
    ------
    FolderInUseError
        If another process works in it.
    RunFolderError
        If a newer version made it, or the path is no folder that can be written to, or its file system has no locks.

    Attributes
    ----------
    close
        Call it to let other processes work in the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise RunFolderError(f"expected a run folder at {path}, cannot make it: {error}") from error
        self.close = weakref.finalize(self, os.close, self._lock)
        try:
            self._take()
            self.told: dict[str, Any] = self._read_settings()
            self.store = LabelStore(self.path / "labels.db")
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        if not self._is_free():
            gc.collect()  # a calculator that nobody has any more may hold it: those of ASE refer to themselves
        if not self._is_free():
            raise FolderInUseError(
                f"the run folder {self.path} is in use, by another process or by a calculator of this one; "
                "end it, or close() it"
            )
        # A process forked off this one, such as a worker of the user's pool, must not hold on to the lock.
        os.register_at_fork(after_in_child=self.close)
        for folder in (self.path, self.path / "models"):
            for unfinished in folder.glob(f".*{TEMPORARY}"):
                unfinished.unlink(missing_ok=True)

    def _is_free(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            raise RunFolderError(
                f"expected a file system that can lock files, to keep other processes out of {self.path}, got: {error}"
            ) from error
        return True

    def _read_settings(self) -> dict[str, Any]:
        try:
            content = json.loads((self.path / "settings.json").read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunFolderError(f"cannot read {self.path / 'settings.json'}: {error}") from error
        if content.get("format", FORMAT + 1) > FORMAT:
            raise RunFolderError(
                f"the run folder {self.path} was made by a newer version of ase_bmdal "
                f"(format {content.get('format')}, this version knows {FORMAT})"
            )
        return dict(content)

    def write_settings(self, content: dict[str, Any]) -> None:
        """Keep what the run is told, and what identifies it."""
        self.told = {"format": FORMAT, **content}
        with self.writing(self.path / "settings.json") as path:
            write_atomically(path, json.dumps(self.told, indent=1).encode())

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Write a file of the folder.

        Raises
        ------
        RunFolderError
            If the file system refuses, as a full disk does.
        """
        try:
            yield path
        except OSError as error:
            raise RunFolderError(
                f"cannot write {path}: {error}; everything before is kept, start again with the same directory"
            ) from error

    def write_frames(self, name: str, frames: Sequence[Atoms]) -> Path:
        """Write structures with positions, momenta, cell and constraints; a trajectory of ASE.

        Raises
        ------
        RunFolderError
            If the file system refuses.
        """
        copies, content = [structure_only(atoms) for atoms in frames], BytesIO()
        for copy, atoms in zip(copies, frames, strict=True):
            copy.set_constraint(atoms.constraints)
        write(content, copies, format="traj")
        with self.writing(self.path / name) as path:
            write_atomically(path, content.getvalue())
        return path

    def note(self, event: Event) -> None:
        """Add an event to the journal.

        Raises
        ------
        RunFolderError
            If the file system refuses.
        """
        with self.writing(self.path / journal.NAME):
            journal.append(self.path, event)

    @property
    def scratch(self) -> Path:
        """Where reference calculations run."""
        return self.path / "scratch"

    def model_path(self, round: int) -> Path:
        """File of the potential after a round."""
        return model_path(self.path, round)


def model_path(path: Path, round: int) -> Path:
    """File of the potential after a round."""
    return path / "models" / f"round-{round:04d}.npz"


def last_model(path: Path) -> Path | None:
    """File of the newest potential in a run folder; None if there is none yet."""
    return max((path / "models").glob("round-*.npz"), default=None)
