"""Settings are frozen dataclasses that check themselves when made."""

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass

__all__ = ["settings", "plain"]

Class = TypeVar("Class")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[Class]) -> type[Class]:
    """Make a class a frozen, keyword-only dataclass whose fields are checked against their types.

    Parameters
    ----------
    cls
        Class with annotated fields; bounds are given as ``Annotated[float, Field(gt=0)]``.

    Returns
    -------
    type
        The dataclass. Making one with a wrong value or an unknown field raises `pydantic.ValidationError`, a
        `ValueError`.
    """
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_default=True)
    return dataclass(frozen=True, kw_only=True, config=config)(cls)  # type: ignore[return-value]


def plain(values: Any) -> dict[str, Any]:
    """Settings as JSON holds them."""
    return dict(pydantic.TypeAdapter(type(values)).dump_python(values, mode="json"))


def with_leaves(tree: Class, aliases: Mapping[str, str] | None = None, /, **values: Any) -> Class:
    """A tree of settings with other values, each given by the name of its field, in whichever branch that is.

    Parameters
    ----------
    tree
        Settings, some of whose fields are settings.
    aliases
        Paths such as ``"training.epochs"`` of fields by another name, or by one that several branches have.
    values
        Values by the name of their field: whole branches (None leaves one as it is), or single fields of any of them.

    Raises
    ------
    TypeError
        If no field has such a name, naming the most similar one; or several branches have it.
    pydantic.ValidationError
        If a value makes no sense.
    """
    fields = _paths(tree)
    paths = {name: _path(name, fields, aliases or {}) for name in values}
    for name in sorted(paths, key=lambda name: len(paths[name])):  # whole branches first
        if values[name] is not None or not _is_branch(_get(tree, paths[name])):
            tree = _replaced(tree, paths[name], values[name])
    return tree


def _path(name: str, fields: list[tuple[str, ...]], aliases: Mapping[str, str]) -> tuple[str, ...]:
    if name in aliases:
        return tuple(aliases[name].split("."))
    found = [path for path in fields if path[-1] == name]
    if (name,) in found or len(found) == 1:
        return min(found, key=len)
    if found:
        raise TypeError(
            f"{name}: expected the settings it belongs to, one of {', '.join(map('.'.join, found))}"
        )
    known = {path[-1] for path in fields} | set(aliases)
    nearest = difflib.get_close_matches(name, known, n=1)
    raise TypeError(f"{name}: expected the name of a setting, got one that none has" + _hint(nearest))


def _hint(nearest: list[str]) -> str:
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _is_branch(value: Any) -> bool:
    return dataclasses.is_dataclass(value)


def _paths(tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for field in dataclasses.fields(tree):
        path, value = (*above, field.name), getattr(tree, field.name)
        found += [path, *(_paths(value, path) if _is_branch(value) else [])]
    return found


def _get(tree: Any, path: tuple[str, ...]) -> Any:
    return functools.reduce(getattr, path, tree)


def _replaced(tree: Class, path: tuple[str, ...], value: Any) -> Class:
    name, *rest = path
    inner = _replaced(getattr(tree, name), tuple(rest), value) if rest else value
    return dataclasses.replace(tree, **{name: inner})  # type: ignore[type-var]
