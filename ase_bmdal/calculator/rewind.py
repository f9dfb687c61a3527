"""Going back: the state of a simulation, and steps that start again from a trusted one.

What a simulation is made of is found by following references from its integrator or optimizer: atoms, cell,
constraints, filters, thermostats, random generators. Each of them is put back in place, none is exchanged: who holds
one, or one of its arrays, sees it go back. Calculators, observers and files are left alone, and so is whatever can be
called.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from weakref import ProxyType

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_bmdal.common.errors import UntrustedError

NOT_STATE = {
    *("max_steps", "fmax"),  # where a run ends
    *("observers", "logfile", "trajectory", "comm", "_exitstack", "step"),
}
CONSTANT = (str, bytes, int, float, complex, type(None), np.generic)
Report = Callable[[int, int, str, int], object]
OUTSIDE = (BaseCalculator, ProxyType)


@dataclass(frozen=True)
class Snapshot:
    """State of a simulation.

    Attributes
    ----------
    parts
        All that may change, each with what it held; the simulation itself first.
    """

    parts: list[tuple[Any, Any]]


def snapshot(dyn: Any) -> Snapshot:
    """Remember the state of a simulation.

    Parameters
    ----------
    dyn
        ASE dynamics or optimizer.
    """
    own = {name: value for name, value in vars(dyn).items() if name not in NOT_STATE}
    parts: list[tuple[Any, Any]] = [(dyn, own)]
    seen, ahead = {id(dyn)}, list(own.values())
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
    return Snapshot(parts)


def restore(dyn: Any, state: Snapshot) -> None:
    """Put a simulation back; where its run ends, its observers and its files stay as they are.

    Parameters
    ----------
    dyn
        What the snapshot was taken of.
    state
        May be restored any number of times.
    """
    if state.parts[0][0] is not dyn:
        raise ValueError(f"expected a snapshot of this {type(dyn).__name__}, got one of another simulation")
    stays = {name: value for name, value in vars(dyn).items() if name in NOT_STATE}
    for thing, content in state.parts:
        _put_back(thing, content)
    vars(dyn).update(stays)


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


def _alike(one: Any, other: Any) -> bool:
    """Whether two contents are the same in value."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    match one:
        case np.ndarray():
            return np.array_equal(one, other)
        case dict():
            return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
        case list() | tuple() | deque():
            return len(one) == len(other) and all(map(_alike, one, other))
    return isinstance(one, CONSTANT) and bool(one == other)


@dataclass(eq=False, repr=False)
class Guard:
    """A guarded simulation; `guard` makes it.

    Attributes
    ----------
    rewinds
        How often it has gone back.
    """

    dyn: Any
    recover: Callable[[UntrustedError], object]
    is_trusted: Callable[[], bool]
    report: Report
    every: int
    depth: int
    max_rewinds: int
    rewinds: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._original, self._own_step = self.dyn.step, vars(self.dyn).get("step")
        self._states: deque[tuple[int, Snapshot]] = deque(maxlen=self.depth)
        self._step = self._counted = self._planned = 0
        self._is_trusted = True
        self._end: Snapshot | None = None
        self._tried: list[int] = []  # steps gone back to at this place
        self._farthest = 0  # that failed at this place
        self.dyn.step = self.step

    def step(self, *forces: Any, **how: Any) -> Any:
        """Do a step of the simulation, of which the forces at its end can be trusted, going back as often as needed.

        Raises
        ------
        UntrustedError
            If going back did not help.
        """
        self._remember()
        while True:
            try:
                result = self._original(*forces, **how)
                self.dyn.atoms.get_forces()
                break
            except UntrustedError as error:
                self._go_back(error)
                forces, how = (), {}  # they are of another structure
        self._step += 1
        self._is_trusted = self.is_trusted()
        self._note_end()
        return result

    def release(self) -> None:
        """Let the simulation go on unguarded."""
        if vars(self.dyn).get("step") == self.step:
            del self.dyn.step
            if self._own_step is not None:
                self.dyn.step = self._own_step

    def _remember(self) -> None:
        if not self._states or self._is_new_run():
            self._states.clear()
            self._tried.clear()
            self._step = self.dyn.nsteps
        self._planned = self.dyn.max_steps
        is_due = not self._states or self._step >= self._states[-1][0] + self.every
        if is_due and (self._is_trusted or not self._states):
            self._states.append((self._step, snapshot(self.dyn)))

    def _is_new_run(self) -> bool:
        """Whether another run has begun, and something was set in between that going back would undo."""
        if self.dyn.max_steps == self._planned and self.dyn.nsteps >= self._counted:
            return False
        return self._end is None or not _alike(self._end.parts, snapshot(self.dyn).parts)

    def _note_end(self) -> None:
        self._counted, self._end = self.dyn.nsteps, None
        if self.dyn.nsteps + 1 == self.dyn.max_steps:
            self._end = snapshot(self.dyn)
            self._end.parts[0][1]["nsteps"] += 1  # as the run will count it

    def _go_back(self, error: UntrustedError) -> None:
        failed = self._step + 1
        if failed > self._farthest + self.every:
            self._tried.clear()
        self._farthest = max(failed, self._farthest) if self._tried else failed
        if len(self._tried) >= self.max_rewinds:
            raise self._defeat(failed, error) from error
        self.recover(error)
        while len(self._states) > 1 and self._tried and self._states[-1][0] >= self._tried[-1]:
            self._states.pop()
        self._step, state = self._states[-1]
        self._tried.append(self._step)
        self.rewinds += 1
        self._restore(state)
        self.report(failed, self._step, str(error), self.rewinds)

    def _restore(self, state: Snapshot) -> None:
        frames = [thing for thing, _ in state.parts if isinstance(thing, Atoms)]
        so_far = [atoms.info.get("rewinds", 0) for atoms in frames]
        restore(self.dyn, state)
        for atoms, rewinds in zip(frames, so_far, strict=True):
            atoms.info["rewinds"] = rewinds + 1

    def _defeat(self, failed: int, error: UntrustedError) -> UntrustedError:
        steps = ", ".join(map(str, self._tried)) or "none"
        return UntrustedError(
            f"expected the simulation to get past step {self._farthest}, it does not: it went back "
            f"{len(self._tried)} times to learn, to step {steps}, and failed again at step {failed}: {error}"
        )


def guard(
    dyn: Any,
    *,
    recover: Callable[[UntrustedError], object],
    is_trusted: Callable[[], bool] = lambda: True,
    report: Report = lambda *_: None,
    every: int = 10,
    depth: int = 5,
    max_rewinds: int = 5,
) -> Guard:
    """Let a simulation go back to a trusted state where its potential cannot be trusted.

    Its steps are replaced; its own ``run`` and ``irun`` go on to be used. A step that fails is not counted, logged or
    observed; the one that is done instead is, with its own number. Where a place fails again, the state before the
    last one gone back to is taken. Frames say in ``info["rewinds"]`` how often the simulation went back before them.

    What is set between two runs is not undone: then the second does not go back behind its start. What is set in the
    course of a run is undone with its steps; an observer that looks at ``nsteps`` sets it again.

    Parameters
    ----------
    dyn
        ASE dynamics or optimizer.
    recover
        Called with the error before going back: improves the potential. What it raises ends the run.
    is_trusted
        Whether the potential is trusted for the newest structure, so that one may go back to it.
    report
        Called after going back: with the step that failed, the one gone back to, the reason, and the number of rewinds.
    every
        A state is remembered after so many steps; a place is left when a run got so many steps beyond it.
    depth
        How many states are remembered, the newest.
    max_rewinds
        How often it may go back at one place.

    Raises
    ------
    ValueError, TypeError
        If `dyn` is guarded already, or no simulation, or a number makes no sense.
    """
    if not all(hasattr(dyn, name) for name in ("atoms", "step", "nsteps", "max_steps")):
        raise TypeError(f"expected an ASE dynamics or optimizer, got {type(dyn).__name__}")
    if isinstance(getattr(dyn.step, "__self__", None), Guard):
        raise ValueError(
            "expected a simulation that is not guarded yet, got one that is; release its guard first"
        )
    if min(every, depth) < 1 or max_rewinds < 0:
        raise ValueError(
            f"expected every and depth of at least 1, max_rewinds of at least 0, got {every}, {depth}, {max_rewinds}"
        )
    return Guard(dyn, recover, is_trusted, report, every, depth, max_rewinds)
