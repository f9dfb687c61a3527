"""Relative paths in a reference: those to inputs count from the driver's folder, not from where a label is computed."""

import os
import shlex
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator, OldShellProfile, StandardProfile
from ase.calculators.genericfileio import BaseProfile
from ase.calculators.mixing import Mixer

# What calculators of ASE and codes call folders and files that they read and never write.
INPUTS = {
    "pseudo_dir", "pseudo_path", "pp_path", "pp_paths", "castep_pp_path", "species_dir", "species_path",
    "default_species_directory", "slako_dir", "basis_path", "basis_set_file", "potential_file", "library_path",
}  # fmt: skip
OUTPUTS = {"directory", "_directory", "label"}
WALKED = (MutableMapping, BaseCalculator, BaseProfile, StandardProfile, OldShellProfile, Mixer)
DEPTH = 6

Entry = tuple[MutableMapping[str, Any], str, Any]


def anchor(calculator: Any, folder: Path) -> None:
    """Make relative paths to inputs absolute, where they lead to something from the driver's folder.

    Parameters
    ----------
    calculator
        Changed in place: its parameters, however deep, its profile, and the program it starts.
    folder
        Working directory of the driver.
    """
    for owner, key, value in _entries(calculator):
        if key.lower() in INPUTS:
            owner[key] = _anchored(value, folder)
        elif key == "command" and isinstance(value, str):
            owner[key] = _anchored_command(value, folder)


def relative_paths(calculator: Any, folder: Path) -> list[str]:
    """Entries of a calculator that look like paths from the driver's folder.

    Parameters
    ----------
    calculator
        Any object.
    folder
        Working directory of the driver.

    Returns
    -------
    list of str
        Each as ``key='value'``: those that lead to nothing from the working directory of now, and to something from the
        driver's folder, if that is to be seen here.
    """
    return [
        f"{key}={word!r}"
        for _, key, value in _entries(calculator)
        if key not in OUTPUTS
        for word in _candidates(key, value)
        if _may_be_in(folder, word) and not Path(word).exists()
    ]


def missing_file(error: BaseException, folder: Path) -> list[str]:
    """The relative path that an exception did not find, if it may lead to something from the driver's folder."""
    name = getattr(error, "filename", None)
    if (
        not isinstance(error, FileNotFoundError)
        or not isinstance(name, str | Path)
        or Path(name).is_absolute()
    ):
        return []
    return [repr(str(name))] if _may_be_in(folder, name) else []


def _may_be_in(folder: Path, path: str | Path) -> bool:
    return (folder / path).exists() or not folder.exists()


def _candidates(key: str, value: Any) -> list[str]:
    if isinstance(value, Path):
        return [] if value.is_absolute() else [str(value)]
    if not isinstance(value, str):
        return []
    return [word for word in (_words(value) if key == "command" else [value]) if _is_path(word)]


def _entries(thing: Any, depth: int = DEPTH) -> Iterator[Entry]:
    """Named values in a calculator and in what it is made of, with the mapping they stand in."""
    if isinstance(thing, list | tuple):
        for item in thing:
            yield from _entries(item, depth)
    if depth == 0 or not isinstance(thing, WALKED):
        return
    held = thing if isinstance(thing, MutableMapping) else vars(thing)
    for key, value in list(held.items()):
        yield held, str(key), value
        yield from _entries(value, depth - 1)


def _anchored(value: Any, folder: Path) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_anchored(item, folder) for item in value)
    if not isinstance(value, str | Path) or not str(value) or not (folder / value).exists():
        return value
    path = os.path.normpath(folder / value)
    if isinstance(value, Path):
        return Path(path)
    return path + os.sep if value.endswith(os.sep) else path  # a code may put a file name right behind it


def _anchored_command(command: str, folder: Path) -> str:
    for word in _words(command):
        # An input file of the same name may lie in the folder by chance, but is no program.
        if _is_path(word) and os.access(folder / word, os.X_OK) and (folder / word).is_file():
            command = command.replace(word, shlex.quote(os.path.normpath(folder / word)), 1)
    return command


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _is_path(text: str) -> bool:
    """Whether it is a relative path beyond doubt: `PBE` could be a folder, but hardly is."""
    return os.sep in text and "\n" not in text and not text.startswith((os.sep, "~"))
