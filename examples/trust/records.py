"""Results as JSON lines: a run that is finished is on disk, and is not done again."""

import json
import subprocess
from pathlib import Path
from typing import Any

from ase_bmdal.common.files import write_atomically

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """What is finished so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, record: Record) -> None:
    """Add a line: the file holds all of it or nothing of it, whenever the process is killed."""
    before = path.read_bytes() if path.exists() else b""
    write_atomically(path, before + json.dumps(record).encode() + b"\n")


def is_done(records: list[Record], **key: Any) -> bool:
    """Whether there is a record with these values."""
    return any(all(record.get(name) == value for name, value in key.items()) for record in records)


def refuse_if_stopped(is_whole: bool) -> None:
    """End the program if SIGTERM has stopped a simulation: half a run is no result."""
    if not is_whole:
        raise SystemExit("stopped; start again to go on")


def commit() -> str:
    """Commit of the working tree this file is in, with a + if something in it was changed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/ase_bmdal", ":/examples/trust")
    return git("rev-parse", "--short=10", "HEAD") + "+" * bool(changed)
