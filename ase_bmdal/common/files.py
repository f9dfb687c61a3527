"""Files that are either the old or the new version, never half of one."""

import os
import uuid
from pathlib import Path

__all__ = ["write_atomically"]

TEMPORARY = ".unfinished"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step: temporary file, fsync, rename, fsync of the folder.

    Parameters
    ----------
    path
        File to write; its folder is made if need be.
    content
        The whole new content.

    Raises
    ------
    OSError
        If the file system refuses; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
