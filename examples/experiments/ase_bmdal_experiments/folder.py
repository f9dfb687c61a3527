"""The folder of results: what is in it is never overwritten, only added to.

settings.json            what all results in it have in common
METHOD-seed-N.jsonl      one learning curve, one line a step
models/                  first potentials, shared by the methods, and the last ones of curves that go on from
                         them; only needed while the benchmark runs
locks/                   held while a process works on a curve
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ase_bmdal import Acquisition, FolderInUseError, RunFolderError
from ase_bmdal.common.files import write_atomically
from ase_bmdal_experiments.settings import BenchmarkSettings

FORMAT = 1
Record = dict[str, Any]


class ResultsFolder:
    """Results of one setting, of any methods and seeds.

    Parameters
    ----------
    path
        Folder; made if it does not exist.
    settings
        What its results have to have in common.

    Attributes
    ----------
    digest
        What tells its settings, as they were written, from others.

    Raises
    ------
    RunFolderError
        If it holds results of another setting; names what differs.
    """

    def __init__(self, path: Path, settings: BenchmarkSettings) -> None:
        self.path = path
        self._settings = settings
        file = path / "settings.json"
        before = read_settings(path) if file.exists() else None
        if before is None and list(path.glob("*-seed-*.jsonl")):
            raise RunFolderError(f"expected settings.json beside the results in {path}, found none")
        if before is None:
            content = {"format": FORMAT, "settings": settings.plain()}
            write_atomically(file, f"{json.dumps(content, indent=1)}\n".encode())
        else:
            _check_same(path, _completed(before), settings.plain())
        written = json.dumps(before or settings.plain(), sort_keys=True)
        self.digest = hashlib.sha256(written.encode()).hexdigest()[:16]

    def curve(self, combination: Acquisition, seed: int) -> "Curve":
        """Results of one method and seed."""
        return Curve(self.path / f"{slug(combination)}-seed-{seed}.jsonl")

    def model(self, combination: Acquisition, seed: int, step: int) -> Path:
        """File of a step's potential: the first is the same for all methods, of the others the last one is kept."""
        name = f"first-{combination.n_models}" if step == 0 else slug(combination)
        return self.path / "models" / f"{name}-seed-{seed}.npz"


class Curve:
    """One learning curve on disk.

    Parameters
    ----------
    path
        Its file; does not have to exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Record]:
        """Steps so far.

        Raises
        ------
        RunFolderError
            If a line is broken, or a step is missing.
        """
        if not self.path.exists():
            return []
        records = []
        for number, line in enumerate(self.path.read_text().splitlines()):
            try:
                record = json.loads(line)
                step = record["step"]
            except (ValueError, KeyError, TypeError) as error:
                raise RunFolderError(f"{self.path}: line {number + 1} is no record of a step") from error
            if step != number:
                raise RunFolderError(f"{self.path}: expected step {number} in line {number + 1}, got {step}")
            records.append(record)
        return records

    def append(self, record: Record) -> None:
        """Add a step: the file holds all of the new line or nothing of it."""
        lines = self.path.read_text() if self.path.exists() else ""
        write_atomically(self.path, f"{lines}{json.dumps(record)}\n".encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes off this curve.

        Raises
        ------
        FolderInUseError
            If one is working on it.
        """
        path = self.path.parent / "locks" / self.path.stem
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FolderInUseError(f"another process is working on {self.path}") from None
            yield
        finally:
            os.close(descriptor)


def read_settings(path: Path) -> dict[str, Any]:
    """Settings of the results in a folder, as JSON holds them.

    Raises
    ------
    RunFolderError
        If there are none, or a newer version wrote them.
    """
    try:
        content = json.loads((path / "settings.json").read_text())
        version, settings = content["format"], content["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"expected results of a benchmark in {path}, cannot read their settings: {error}"
        ) from error
    if version > FORMAT:
        raise RunFolderError(
            f"the results in {path} were made by a newer version of ase_bmdal (format {version})"
        )
    return dict(settings)


def slug(combination: Acquisition) -> str:
    """Name of a combination that suits a file: ``lcmd-feat-ll``."""
    words = "".join(letter if letter.isalnum() else " " for letter in str(combination).lower()).split()
    return "-".join(words)


def _completed(settings: dict[str, Any]) -> dict[str, Any]:
    """Results written before a field existed were made with its default."""
    try:
        return TypeAdapter(BenchmarkSettings).validate_python(settings).plain()
    except ValidationError:
        return settings


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    old, new = _flat(before), _flat(now)
    for name in sorted(old | new):
        if old.get(name) != new.get(name):
            raise RunFolderError(
                f"{name}: the results in {path} were made with {old.get(name)}, got {new.get(name)}; "
                "results of another setting need another folder"
            )


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
