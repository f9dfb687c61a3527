"""Going back: steps that start again from a trusted state, and optimizers that start afresh on another surface."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from ase import Atoms
from ase.optimize.optimize import Dynamics, Optimizer

from ase_bmdal.common.errors import SimulationStopped, UntrustedError
from ase_bmdal.walkers.snapshot import AS_NEW, Snapshot, alike, memory, restore, snapshot

Report = Callable[[int, int, str, int], object]


class SurfaceChanged(Exception):  # noqa: N818  (no error: the optimizer begins again)
    """Ends the loop of an optimizer that has none of ours, for it to begin again."""


@dataclass
class Memory:
    """What an optimizer knew before its first guarded step, and of which surface its present knowledge is."""

    as_new: Snapshot
    surface: object


@dataclass(eq=False, repr=False)
class Guard:
    """A guarded simulation; `guard` makes it. At the end of a ``with`` statement it is released.

    Attributes
    ----------
    rewinds
        How often it has gone back.
    is_stepping
        Whether it is in a step, from which it can go back.
    """

    dyn: Any
    recover: Callable[[UntrustedError], object]
    is_trusted: Callable[[], bool]
    surface: Callable[[], object]
    report: Report
    look: Callable[[], object]
    every: int
    depth: int
    max_rewinds: int
    rewinds: int = field(default=0, init=False)
    is_stepping: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._original, self._own_step = self.dyn.step, vars(self.dyn).get("step")
        self._states: deque[tuple[int, Snapshot]] = deque(maxlen=self.depth)
        self._step = self._counted = self._planned = 0
        self._is_trusted = True
        self._end: Snapshot | None = None
        self._tried: list[int] = []  # steps gone back to at this place
        self._farthest = 0  # that failed at this place
        self._iterate: Snapshot | None = None  # the newest of an optimizer that begins again
        self._memory: Memory | None = None
        if isinstance(self.dyn, Optimizer):
            self._memory = vars(self.dyn).setdefault(AS_NEW, Memory(memory(self.dyn), self.surface()))
        self.dyn.step = self.step

    def step(self, *forces: Any, **how: Any) -> Any:
        """Do a step of the simulation, of which the forces at its end can be trusted, going back as often as needed.

        If it is stopped in its middle, the simulation is set back: half a step would be done on top of itself.

        Raises
        ------
        UntrustedError
            If going back did not help.
        """
        self.look()
        self._remember()
        try:
            result = self._done(forces, how)
        except (SimulationStopped, KeyboardInterrupt):
            self.set_back()
            raise
        self._step += 1
        self._is_trusted = self.is_trusted()
        self._note_end()
        return result

    def _done(self, forces: tuple[Any, ...], how: dict[str, Any]) -> Any:
        while True:
            self._forget()
            surface = self.surface()
            start = self.dyn.atoms.get_positions() if self._memory else None
            try:
                with self._in_step():
                    result = self._original(*forces, **how)
                    self.dyn.atoms.get_forces()
                return result
            except UntrustedError as error:
                self._go_back(error)
            except RuntimeError:  # a line search on two surfaces
                if start is None or self.surface() == surface:
                    raise
                self.dyn.atoms.set_positions(start)
            forces, how = (), {}  # they are of another structure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the simulation go on unguarded."""
        if vars(self.dyn).get("step") == self.step:
            del self.dyn.step
            if self._own_step is not None:
                self.dyn.step = self._own_step

    def run(self, steps: int, **how: Any) -> bool:
        """Run the simulation; an optimizer that does not go step by step begins again on each new surface.

        Returns
        -------
        bool
            What its own `run` returns.

        Raises
        ------
        UntrustedError
            If going back did not help, or it cannot go back.
        """
        if getattr(type(self.dyn), "step", None) is not Dynamics.step:
            return bool(self.dyn.run(steps=steps, **how))
        end = self.dyn.nsteps + steps
        self._keep()
        self.dyn.attach(self._keep)
        observer = self.dyn.observers[-1]
        try:
            while True:
                try:
                    return bool(self.dyn.run(steps=end - self.dyn.nsteps, **how))
                except SurfaceChanged:
                    self._begin_again()
        finally:
            self._iterate = None
            self.dyn.observers.remove(observer)

    def surface_changed(self) -> None:
        """Take note of another surface; called where forces are asked for.

        Raises
        ------
        SurfaceChanged
            If the optimizer has to begin again.
        """
        if self._iterate is not None and isinstance(self.dyn, Optimizer):
            raise SurfaceChanged

    def set_back(self) -> int | None:
        """Put the simulation into its last trusted state; the step of that, None if there is none."""
        if not self._states:
            return None
        self._step, state = self._states[-1]
        self._restore(state, rewinds=0)
        return self._step

    @property
    def frames(self) -> list[Atoms]:
        """The structures of the simulation, as they are now."""
        return snapshot(self.dyn).frames

    def _keep(self) -> None:
        """Remember the state of a simulation that does not go step by step."""
        self._iterate = snapshot(self.dyn)
        if self.is_trusted() or not self._states:
            self._states.append((self.dyn.nsteps, self._iterate))

    def _begin_again(self) -> None:
        if self._iterate is not None:
            restore(self.dyn, self._iterate)

    @contextmanager
    def _in_step(self) -> Iterator[None]:
        self.is_stepping = True
        try:
            yield
        finally:
            self.is_stepping = False

    def _forget(self) -> None:
        """Let an optimizer start afresh if what it knows is of another surface."""
        if self._memory and self._memory.surface != self.surface():
            restore(self.dyn, self._memory.as_new)
            self._memory.surface = self.surface()

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
        return self._end is None or not alike(self._end.parts, snapshot(self.dyn).parts)

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

    def _restore(self, state: Snapshot, rewinds: int = 1) -> None:
        so_far = [atoms.info.get("rewinds", 0) + rewinds for atoms in state.frames]
        restore(self.dyn, state)
        for atoms, number in zip(state.frames, so_far, strict=True):
            if number:
                atoms.info["rewinds"] = number

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
    surface: Callable[[], object] = lambda: None,
    report: Report = lambda *_: None,
    look: Callable[[], object] = lambda: None,
    every: int = 10,
    depth: int = 5,
    max_rewinds: int = 5,
) -> Guard:
    """Let a simulation go back to a trusted state where its potential cannot be trusted.

    Its steps are replaced; its own ``run`` and ``irun`` go on to be used. A step that fails is not counted, logged or
    observed; the one that is done instead is, with its own number. Where a place fails again, the state before the
    last one gone back to is taken. Frames say in ``info["rewinds"]`` how often the simulation went back before them.

    An optimizer forgets what it made up of forces (Hessian, velocities, last energy) when the surface has changed, and
    starts afresh where it is: with what it knew before its first guarded step. A step that fails with a `RuntimeError`
    while the surface changes, as a line search on two surfaces does, is done anew.

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
    surface
        Anything that differs once the potential has changed.
    report
        Called after going back: with the step that failed, the one gone back to, the reason, and the number of rewinds.
    look
        Called before each step; what it raises ends the run.
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
    return Guard(dyn, recover, is_trusted, surface, report, look, every, depth, max_rewinds)
