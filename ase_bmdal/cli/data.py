"""Structures from files, with messages that name the file."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms


def read_structures(path: str) -> list[Atoms]:
    """All structures of a file that `ase.io.read` understands.

    Raises
    ------
    OSError
        If the file is not there, or cannot be opened.
    ValueError
        If there is no structure in it.
    """
    from ase.io import read

    try:
        frames = list(read(path, ":"))
    except Exception as error:  # each format of ASE has exceptions of its own
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path}: expected structures that ASE can read, got {error!r}") from error
    if not frames:
        raise ValueError(f"{path}: expected structures, found none")
    return frames


def read_labelled(path: str) -> list[Atoms]:
    """The same, of a file in which every structure has an energy.

    Raises
    ------
    ValueError
        As `read_structures`, or if a structure has no energy.
    """
    from ase_bmdal.structures.labels import labels_of

    frames = read_structures(path)
    try:
        labels_of(frames)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return frames


def require(*packages: str) -> None:
    """Refuse to begin without packages that only some installations have.

    Raises
    ------
    ValueError
        Naming them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"this needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed; "
            'pip install "ase_bmdal[demo]"'
        )
