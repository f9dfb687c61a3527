"""How a run began: what must be the same when it is taken up again."""

import dis
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np
from ase import Atoms

from ase_bmdal.common.errors import RunFolderError


def identity_of(reference: Callable[[], Any], initial: Sequence[Atoms] | None) -> dict[str, str]:
    """What identifies a run: who its labels are from, never what is in one of its frames.

    Parameters
    ----------
    reference
        Its name, the constants and names its code uses, and what those names stand for in its module: plain values
        that are no absolute paths, functions and classes. Another method or basis set makes another reference, another
        line number or Python version does not; nor does another version of an installed package, which is known by its
        name only.
    initial
        Initial structures; None if first contact made them.
    """
    return {
        "reference": f"{_name(reference)} {_digest(_fingerprint(reference))} {_digest(_surroundings(reference))}",
        "initial": "none" if initial is None else f"{len(initial)} structures {_digest(_geometry(initial))}",
    }


def check_identity(path: Any, before: dict[str, Any], now: dict[str, str]) -> None:
    """Refuse to go on with a run that began otherwise.

    A run that is older than a part of its identity has only what comes before that part, and is held to that.

    Raises
    ------
    RunFolderError
        Naming what differs.
    """
    for name, value in now.items():
        if not f"{value} ".startswith(f"{before.get(name, value)} "):
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


def _surroundings(reference: Any) -> Iterator[str]:
    """What the names stand for that a reference uses, as far as they are of its own module."""
    while isinstance(reference, partial):
        reference = reference.func
    function = getattr(reference, "__func__", reference)
    root = function if isinstance(function, FunctionType | type) else type(reference)
    if isinstance(root, FunctionType) or not _is_installed(root.__module__):
        yield from _behind(root, root.__module__, {id(root)})


def _behind(user: Any, module: str, seen: set[int]) -> Iterator[str]:
    for name, value in sorted(_used(user).items()):
        if isinstance(value, list | dict) and not value:
            continue  # such as a store that calls will fill
        if _is_plain(value):
            yield f"{name} {_text(_anywhere(value))}"
        elif _is_of(value, module) and id(value) not in seen:
            seen.add(id(value))
            yield from (name, *_fingerprint(value), *_behind(value, module, seen))


def _used(user: Any) -> dict[str, Any]:
    """Values by the names that a function or a class has for them."""
    if isinstance(user, type):
        own = {name: _plain_method(value) for name, value in vars(user).items() if _is_written(name)}
        return own | {base.__name__: base for base in user.__bases__}
    known = {name: user.__globals__[name] for name in _globals(user.__code__) if name in user.__globals__}
    return known | dict(zip(user.__code__.co_freevars, map(_content, user.__closure__ or ()), strict=True))


def _globals(code: CodeType) -> Iterator[str]:
    """Names that code reads from its module; what it assigns to them itself is a count, and no setting."""
    names = {"LOAD_GLOBAL": set[str](), "LOAD_NAME": set[str](), "STORE_GLOBAL": set[str]()}
    for each in dis.get_instructions(code):
        names.get(each.opname, set()).add(each.argval)
    yield from (names["LOAD_GLOBAL"] | names["LOAD_NAME"]) - names["STORE_GLOBAL"]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _is_written(name: str) -> bool:
    """Whether somebody wrote an attribute of a class, and not Python."""
    return not name.startswith("__") or name in ("__init__", "__call__")


def _plain_method(value: Any) -> Any:
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _is_plain(value: Any) -> bool:
    """Whether a value is written the same in every process."""
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | bytes | int | float | complex | None)


def _anywhere(value: Any) -> Any:
    """The same wherever files lie: scratch folders have another name in each job, and runs are moved."""
    if isinstance(value, dict):
        return {key: _anywhere(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_anywhere(each) for each in value]
    return "path" if isinstance(value, str) and value.startswith(("/", "~")) else value


def _is_of(value: Any, module: str) -> bool:
    return isinstance(value, FunctionType | type) and value.__module__ == module


def _is_installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return module != "__main__" and bool({"site-packages", "dist-packages"} & set(Path(file).parts))


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
