"""How a run began: what must be the same when it is taken up again."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import CellType, CodeType
from typing import Any

import numpy as np
from ase import Atoms

from ase_bmdal.common.errors import RunFolderError


def identity_of(reference: Callable[[], Any], initial: Sequence[Atoms] | None) -> dict[str, str]:
    """What identifies a run: who its labels are from, never what is in one of its frames.

    Parameters
    ----------
    reference
        Its name, and the constants and names its code uses: another method or basis set makes another reference,
        another line number or Python version does not.
    initial
        Initial structures; None if first contact made them.
    """
    return {
        "reference": f"{_name(reference)} {_digest(_fingerprint(reference))}",
        "initial": "none" if initial is None else f"{len(initial)} structures {_digest(_geometry(initial))}",
    }


def check_identity(path: Any, before: dict[str, Any], now: dict[str, str]) -> None:
    """Refuse to go on with a run that began otherwise.

    Raises
    ------
    RunFolderError
        Naming what differs.
    """
    for name, value in now.items():
        if before.get(name, value) != value:
            raise RunFolderError(
                f"{name}: the run in {path} was started with {before[name]}, expected the same, got {value}. "
                "Use another directory; its labels can be passed on as initial structures. If nothing but the "
                f'wording changed, remove the line "{name}" from settings.json.'
            )


def _name(reference: Any) -> str:
    while isinstance(reference, partial):
        reference = reference.func
    return getattr(reference, "__qualname__", type(reference).__qualname__)


def _fingerprint(reference: Any) -> Iterator[str]:
    if isinstance(reference, partial):
        yield from map(_text, (*reference.args, *sorted(reference.keywords.items())))
        yield from _fingerprint(reference.func)
    elif hasattr(reference, "__code__"):
        yield from map(_text, (reference.__defaults__, reference.__kwdefaults__))
        yield from (_text(_content(cell)) for cell in getattr(reference, "__closure__", None) or ())
        yield from _constants(reference.__code__)
    else:
        yield _name(reference)


def _constants(code: CodeType) -> Iterator[str]:
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _constants(constant)
        else:
            yield _text(constant)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet, as in a function that calls itself
        return None


def _text(value: Any) -> str:
    """The same in every process: without the address of an object, whatever the order of a set."""
    if isinstance(value, set | frozenset):
        return repr(sorted(map(_text, value)))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _geometry(structures: Sequence[Atoms]) -> Iterator[str]:
    for atoms in structures:
        yield repr((atoms.numbers.tolist(), np.round(atoms.positions, 9).tolist(), atoms.cell.tolist()))


def _digest(parts: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
