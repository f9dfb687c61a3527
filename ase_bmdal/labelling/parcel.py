"""Files of a failed calculation on their way to a driver that does not see the disk of the worker."""

import contextlib
import io
import tarfile
import zlib
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

LARGEST = 1_000_000  # bytes of a parcel
HOPELESS = 32 * LARGEST  # bytes of a file that is not even tried
OVERHEAD = 1500  # bytes that a file takes besides its content, at most
LEFT_OUT = "left-out.txt"
MOST_NAMES = 20


def packed(folder: Path, largest: int = LARGEST) -> bytes:
    """Files below a folder; those that take most room are left out if need be, and a file says which.

    Parameters
    ----------
    folder
        The folder; links in it are left out.
    largest
        Bytes of the result, at most.

    Returns
    -------
    bytes
        A compressed archive.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    files = sorted((_compressed(path), str(path.relative_to(folder))) for path in paths)
    room = [largest - 4 * OVERHEAD - total for total in accumulate(size for size, _ in files)]
    n_taken = sum(left >= 0 for left in room)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for _, name in files[:n_taken]:
            with contextlib.suppress(OSError):  # removed in the meantime
                _add(archive, name, (folder / name).read_bytes())
        if files[n_taken:]:
            _add(archive, LEFT_OUT, _note([name for _, name in files[n_taken:]]))
    return content.getvalue()


def unpack(parcel: bytes, folder: Path) -> None:
    """Write the files of a parcel to a folder, which is made.

    Raises
    ------
    OSError
        If they cannot be written, or it is broken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(parcel), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (EOFError, tarfile.TarError, zlib.error) as error:
        raise OSError(f"a broken parcel: {error}") from error


def _compressed(path: Path) -> int:
    try:
        if path.stat().st_size > HOPELESS:
            return HOPELESS
        return len(zlib.compress(path.read_bytes())) + OVERHEAD
    except OSError:
        return HOPELESS


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _note(names: Sequence[str]) -> bytes:
    others = [f"and {len(names) - MOST_NAMES} others"] if len(names) > MOST_NAMES else []
    text = "\n".join(["too large to be sent to the driver:", *names[:MOST_NAMES], *others, ""])
    return text.encode("utf-8", "backslashreplace")
