"""Several simulations at once, in turns: each runs until it asks for forces, and all that have asked get them together.

Each simulation is a greenlet, so that scripts and ASE's dynamics stay as they are, and the order is always the same.
Many are two crews: while forces of one are computed, in a thread, the others take their turns.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet

from ase_bmdal.common.errors import SimulationStopped, UntrustedError
from ase_bmdal.learner.loops import Loop
from ase_bmdal.potential.evaluator import Asked, Evaluator, Prediction, Together
from ase_bmdal.walkers.walker import Walker

WAITS = object()
MANY = 8  # simulations, from which on they are two crews: of fewer, forces take longer apart


@dataclass(frozen=True)
class Raised:
    """What a simulation ended with instead of a result."""

    error: BaseException


@dataclass
class Crew:
    """Simulations that get their forces together.

    Attributes
    ----------
    members
        Those that have not ended may ask.
    together
        Evaluates for them.
    asked
        Those that wait for forces.
    forces
        Gives what they get, in their order.
    """

    members: Sequence[greenlet]
    together: Together = field(default_factory=Together)
    asked: Sequence[greenlet] = ()
    forces: Callable[[], Sequence[Prediction | Exception]] = tuple


class Conductor:
    """Has simulations take turns.

    Parameters
    ----------
    loop
        What they learn from together.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop, self._hub = loop, getcurrent()
        self._thread = ThreadPoolExecutor(1, "forces")
        self._outcomes: dict[greenlet, Any] = {}
        self._next: dict[greenlet, Any] = {}  # what each that has not ended is handed at its next turn

    @contextmanager
    def conducting(self, walkers: Sequence[Walker]) -> Iterator[None]:
        """Have walkers predict in turns, and nobody stand still for what one of them waits for."""
        self._loop.pause = self.pause
        for walker in walkers:
            walker.predicting = self.predict
        try:
            yield
        finally:
            self._loop.pause = self._loop.wait_for_arrivals
            self._thread.shutdown()
            for walker in walkers:
                walker.predicting = Evaluator.predict

    def predict(self, evaluator: Evaluator, *what: Any, **how: Any) -> Prediction:
        """As `Evaluator.predict`; in a simulation of this conductor it is another one's turn meanwhile."""
        if getcurrent() not in self._next:  # as images of a NEB in threads
            return evaluator.predict(*what, **how)
        answer = self._hub.switch(evaluator.ask(*what, **how))
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    def pause(self) -> None:
        """Let others take their turns, while a simulation waits for something to come."""
        if getcurrent() in self._next:
            self._hub.switch(WAITS)
        else:
            self._loop.wait_for_arrivals()

    def run(self, simulations: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run simulations to their ends.

        Returns
        -------
        list
            What each returned.

        Raises
        ------
        UntrustedError
            The first that a simulation ended with, once the others have come to their ends.
        BaseException
            The first other one, which ends the others at once.
        """
        members = [greenlet(_outcome_of(each)) for each in simulations]
        self._next = dict.fromkeys(members)
        crews = [Crew(members)] if len(members) < MANY else [Crew(members[::2]), Crew(members[1::2])]
        try:
            while self._next:
                for crew in crews:
                    self._turn(crew, in_thread=len(crews) > 1)
                if self._next and not any(crew.asked for crew in crews):
                    self._loop.wait_for_arrivals()
        except BaseException as error:
            self._end_all(error)
            raise
        outcomes = [self._outcomes[each] for each in members]
        failed = [number for number, each in enumerate(outcomes) if isinstance(each, Raised)]
        if failed:
            first = outcomes[failed[0]].error
            first.add_note(f"of the simulations, counted from 0, {_listed(failed)} ended so")
            raise first
        return outcomes

    def _turn(self, crew: Crew, *, in_thread: bool) -> None:
        """Each simulation gets its forces, and comes to its next force call."""
        if crew.asked:
            self._next |= zip(crew.asked, crew.forces(), strict=True)
        asked: dict[greenlet, Asked] = {}
        for member in [each for each in crew.members if each in self._next]:
            answer = member.switch(self._next[member]) if member else member.switch()
            if member.dead:
                self._note_end(member, answer)
            elif answer is not WAITS:
                asked[member] = answer
        crew.asked = list(asked)
        if asked:
            compute = partial(_predictions, crew.together, list(asked.values()))
            crew.forces = self._thread.submit(compute).result if in_thread else compute

    def _note_end(self, member: greenlet, outcome: Any) -> None:
        del self._next[member]
        self._outcomes[member] = outcome
        if isinstance(outcome, Raised) and not isinstance(outcome.error, UntrustedError):
            raise outcome.error

    def _end_all(self, error: BaseException) -> None:
        reason = error if isinstance(error, KeyboardInterrupt) else _stop(error)
        members, self._next = list(self._next), {}  # first: none must wait for another turn
        for member in members:
            if member:  # has begun
                member.throw(reason)


def _predictions(together: Together, asked: Sequence[Asked]) -> Sequence[Prediction | Exception]:
    try:
        return together.predict(asked)
    except Exception as error:
        return [error] * len(asked)


def _outcome_of(simulation: Callable[[], Any]) -> Callable[[], Any]:
    def run(_: Any = None) -> Any:
        try:
            return simulation()
        except BaseException as error:
            return Raised(error)

    return run


def _stop(error: BaseException) -> SimulationStopped:
    return SimulationStopped(f"another simulation ended with {type(error).__name__}: {error}")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
