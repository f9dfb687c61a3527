"""Results as JSON lines: what is finished is on disk, and is not done again."""

import json
import subprocess
from pathlib import Path
from typing import Any

import ase_bmdal

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """What is finished so far; a line that a kill cut short is not."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append(path: Path, record: Record) -> None:
    """Add a line, after the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    with path.open("ab") as file:
        file.truncate(before.rfind(b"\n") + 1)
        file.write(json.dumps(record).encode() + b"\n")


def is_done(records: list[Record], **key: Any) -> bool:
    """Whether there is a record with these values."""
    return any(all(record.get(name) == value for name, value in key.items()) for record in records)


def commit() -> str:
    """Commit of the package that is imported, with a + if it was changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(ase_bmdal.__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short=10", "HEAD") + "+" * bool(git("status", "--porcelain", "--", "."))
