"""Structures from files, with messages that name the file."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase import Atoms

    from ase_bmdal.structures.labels import Label


def read_structures(path: str) -> list[Atoms]:
    """Structures of a file that `ase.io.read` understands: all, or those that ``@`` behind its name asks for.

    Raises
    ------
    OSError
        If the file is not there, or cannot be opened.
    ValueError
        If there is no structure in it.
    """
    from ase import Atoms
    from ase.io import read

    try:
        found = read(path, None if "@" in Path(path).name else ":")  # an index would overrule the name
    except Exception as error:  # each format of ASE has exceptions of its own
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path}: expected structures that ASE can read, got {error!r}") from error
    frames = [found] if isinstance(found, Atoms) else list(found)
    if not frames:
        raise ValueError(f"{path}: expected structures, found none")
    return frames


def add_keys_to(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the labels of a file."""
    examples = {
        "energy": "dft_energy",
        "forces": "dft_forces",
        "stress": "dft_stress, or dft_virial: a virial if virial is in the name, unless that ends in stress",
    }
    for name, example in examples.items():
        parser.add_argument(
            f"--{name}-key",
            metavar="NAME",
            help=f"where DATA has its {'energies' if name == 'energy' else name}, such as {example} "
            "(default: the known names)",
        )


def add_model_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that writes a model file."""
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    parser.add_argument("--out", metavar="MODEL", type=Path, required=True, help="model file to write")


def expect_file(path: Path) -> None:
    """Refuse a model file that is a folder, before anything is computed.

    Raises
    ------
    ValueError
        Naming it.
    """
    if path.is_dir():
        raise ValueError(f"--out: expected the name of a file, got the folder {path}")


def keys_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The names that were given, as the arguments of functions are called."""
    return {name: getattr(arguments, name) for name in ("energy_key", "forces_key", "stress_key")}


def read_labelled(path: str, arguments: argparse.Namespace) -> tuple[list[Atoms], list[Label]]:
    """All structures of a file in which every one has an energy, and their labels.

    Parameters
    ----------
    path
        Anything `ase.io.read` understands.
    arguments
        Hold the names of the labels.

    Raises
    ------
    OSError
        As `read_structures`.
    ValueError
        As `read_structures`, or if a structure has no label, or more than one.
    """
    from ase_bmdal.structures.dialects import LabelKeys
    from ase_bmdal.structures.labels import labels_of

    frames = read_structures(path)
    keys = LabelKeys(arguments.energy_key, arguments.forces_key, arguments.stress_key)
    try:
        return frames, labels_of(frames, keys)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def expect_writable(path: str, sources: Sequence[str] = ()) -> None:
    """Refuse a file that structures cannot be written to, before anything is computed.

    Parameters
    ----------
    path
        The file.
    sources
        Files that structures are read from, perhaps with ``@`` and a part of them.

    Raises
    ------
    ValueError
        If the name says no format, or none that ASE writes several structures in; or if it is one of the sources.
    """
    from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

    try:
        found = get_ioformat(filetype(path, read=False))
    except UnknownFileTypeError:
        found = None
    if found is None or not found.can_write or found.single:
        raise ValueError(
            f"{path}: expected the name of a file for structures, such as chosen.xyz or chosen.traj"
        )
    whole = [Path(source).with_name(Path(source).name.partition("@")[0]) for source in sources]
    if Path(path).resolve() in [source.resolve() for source in whole]:
        raise ValueError(f"{path}: expected another file than those that are read")


def write_structures(path: str, structures: list[Atoms]) -> None:
    """Write structures, with all that they hold, in the format that the name of the file says.

    Raises
    ------
    OSError, ValueError
        If they cannot be written.
    """
    from ase.io import write

    try:
        write(path, structures)
    except OSError:
        raise
    except Exception as error:  # each format of ASE has exceptions of its own
        raise ValueError(f"{path}: cannot write the structures: {error!r}") from error


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
