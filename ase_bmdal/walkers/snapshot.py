"""The state of a simulation, and how to put it back.

What a simulation is made of is found by following references from its integrator or optimizer: atoms, cell,
constraints, filters, thermostats, random generators. Each of them is put back in place, none is exchanged: who holds
one, or one of its arrays, sees it go back. Calculators, observers and files are left alone, and so is whatever can be
called.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar
from weakref import ProxyType

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

AS_NEW = "_as_new"  # what an optimizer knew before its first guarded step
NOT_STATE = frozenset(
    {
        *("max_steps", "fmax", "smax"),  # where a run ends
        *("observers", "logfile", "trajectory", "comm", "_exitstack", "step", AS_NEW),
    }
)
MOVED = ("atoms", "optimizable", "_actual_atoms")  # by an optimizer
COUNTED = ("nsteps", "force_calls", "function_calls")
CONSTANT = (str, bytes, int, float, complex, type(None), np.generic)
OUTSIDE = (BaseCalculator, ProxyType)
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Snapshot:
    """State of a simulation, or a part of it.

    Attributes
    ----------
    parts
        All that may change, each with what it held; the simulation itself first.
    stays
        Names of what the simulation holds that is not put back.
    """

    parts: list[tuple[Any, Any]]
    stays: frozenset[str] = NOT_STATE

    @property
    def frames(self) -> list[Atoms]:
        """The structures it moves, as they are now, images of a band in their order."""
        return [thing for thing, _ in reversed(self.parts) if isinstance(thing, Atoms)]


def snapshot(dyn: Any) -> Snapshot:
    """Remember the state of a simulation.

    Parameters
    ----------
    dyn
        ASE dynamics or optimizer.
    """
    own = _own(dyn, NOT_STATE)
    return Snapshot([(dyn, own), *_parts(own.values(), {id(dyn)})])


def memory(dyn: Any) -> Snapshot:
    """Remember what an optimizer has made up of the forces so far: its state without what it moves and counts.

    Parameters
    ----------
    dyn
        ASE optimizer.
    """
    stays = NOT_STATE.union(MOVED, COUNTED)
    seen = {id(dyn)}
    _parts([vars(dyn)[name] for name in MOVED if name in vars(dyn)], seen)
    own = _own(dyn, stays)
    return Snapshot([(dyn, own), *_parts(own.values(), seen)], stays)


def restore(dyn: Any, state: Snapshot) -> None:
    """Put a simulation back; where its run ends, its observers and its files stay as they are.

    Parameters
    ----------
    dyn
        What the snapshot was taken of.
    state
        May be restored any number of times.

    Raises
    ------
    ValueError
        If the snapshot is of another simulation.
    """
    if state.parts[0][0] is not dyn:
        raise ValueError(f"expected a snapshot of this {type(dyn).__name__}, got one of another simulation")
    stays = {name: value for name, value in vars(dyn).items() if name in state.stays}
    for thing, content in state.parts:
        _put_back(thing, content)
    vars(dyn).update(stays)


def calculators(dyn: Any, kind: type[Kind]) -> list[Kind]:
    """Calculators of a kind that a simulation uses: those of its images, and those within another calculator.

    Parameters
    ----------
    dyn
        ASE dynamics or optimizer.
    kind
        Class of the calculators.
    """
    found: list[Kind] = []
    seen, ahead = {id(dyn)}, list(_own(dyn, NOT_STATE).values())
    while ahead:
        thing = ahead.pop()
        if isinstance(thing, (*CONSTANT, np.ndarray)) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, kind):
            found.append(thing)
        elif isinstance(thing, BaseCalculator):
            ahead.extend(vars(thing).values())
        else:
            ahead.extend(_look_into(thing)[1])
            ahead.extend([thing.calc] if isinstance(thing, Atoms) else [])
    return found


def alike(one: Any, other: Any) -> bool:
    """Whether two contents are the same in value."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    match one:
        case np.ndarray():
            return np.array_equal(one, other)
        case dict():
            return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
        case list() | tuple() | deque():
            return len(one) == len(other) and all(map(alike, one, other))
    return isinstance(one, CONSTANT) and bool(one == other)


def _own(dyn: Any, stays: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(dyn).items() if name not in stays}


def _parts(roots: Iterable[Any], seen: set[int]) -> list[tuple[Any, Any]]:
    """All that may change among some things and what they refer to, each with what it holds; notes it in `seen`."""
    parts, ahead = [], list(roots)
    while ahead:
        thing = ahead.pop()
        if isinstance(thing, CONSTANT) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Atoms):
            seen.add(id(thing.calc))
        content, references = _look_into(thing)
        if content is not None:
            parts.append((thing, content))
            ahead.extend(references)
    return parts


def _look_into(thing: Any) -> tuple[Any, Iterable[Any]]:
    """What a part of a simulation holds, None if that cannot change; and what it refers to."""
    content: Any = None
    references: Iterable[Any] = ()
    match thing:
        case np.ndarray():
            content = thing.copy() if thing.flags.writeable else None
        case dict():
            content = dict(thing)
            references = content.values()
        case list() | set() | deque():
            content = references = thing.copy()
        case tuple() | frozenset():
            content = references = thing
        case np.random.Generator():
            content = thing.bit_generator.state
        case np.random.RandomState():
            content = thing.get_state()
        case ModuleType():
            content = thing.get_state() if thing is np.random else None
        case _ if hasattr(thing, "__dict__") and not _is_outside(thing):
            content = dict(vars(thing))
            references = content.values()
    return content, references


def _is_outside(thing: Any) -> bool:
    is_file = hasattr(thing, "write") and not isinstance(thing, Atoms)
    return is_file or callable(thing) or isinstance(thing, OUTSIDE)


def _put_back(thing: Any, content: Any) -> None:
    match thing:
        case np.ndarray():
            np.copyto(thing, content)
        case dict() | set():
            thing.clear()
            thing.update(content)
        case list() | deque():
            thing.clear()
            thing.extend(content)
        case tuple() | frozenset():
            pass
        case np.random.Generator():
            thing.bit_generator.state = content
        case np.random.RandomState() | ModuleType():
            thing.set_state(content)
        case _:
            _put_back(vars(thing), content)
