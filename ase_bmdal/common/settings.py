"""Settings are frozen dataclasses that check themselves when made."""

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
