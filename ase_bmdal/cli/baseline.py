"""The baseline of a potential, named on the command line."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from ase_bmdal.baseline.baseline import MakeCalculator


def add_baseline_to(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the baseline."""
    parser.add_argument(
        "--baseline",
        metavar="WHERE:NAME",
        action="append",
        help="function that makes the ASE calculator of a cheap method, to which the potential is the difference: "
        "file.py:function or package.module:function; given twice, their sum",
    )


def baseline_of(arguments: argparse.Namespace) -> list[MakeCalculator] | None:
    """What makes the calculators that were named; None if none was.

    Raises
    ------
    ValueError
        If there is no such function.
    """
    return [_function(text) for text in arguments.baseline] if arguments.baseline else None


def _function(text: str) -> MakeCalculator:
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise ValueError(f"--baseline: expected file.py:function or package.module:function, got {text}")
    try:
        found = getattr(_module(where), name)
    except Exception as error:  # whatever the file raises
        raise ValueError(f"--baseline {text}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"--baseline {text}: expected a function, got {found!r}")
    return found  # type: ignore[no-any-return]


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where).resolve(strict=True)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"expected a file of Python, got {where}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
