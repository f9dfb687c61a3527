"""Settings are frozen dataclasses that check themselves when made."""

import dataclasses
import difflib
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
    return _replaced(tree, {_path(name, fields, aliases or {}): value for name, value in values.items()})


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


def _replaced(tree: Class, values: Mapping[tuple[str, ...], Any]) -> Class:
    """All at once, since fields are checked against each other."""
    changes = {}
    for name in {path[0] for path in values}:
        before, given = getattr(tree, name), values.get((name,))
        inner = {path[1:]: value for path, value in values.items() if path[0] == name and len(path) > 1}
        value = before if given is None and _is_branch(before) else given if (name,) in values else before
        changes[name] = _replaced(value, inner) if inner else value
    return dataclasses.replace(tree, **changes)  # type: ignore[type-var]
