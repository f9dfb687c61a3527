"""What both sides of a comparison use: a line for each repetition, and the replay of a trajectory. Needs ASE only."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator


class Line:
    """The peer's end of the line: a repetition for each line that comes in, a JSON line back.

    Whatever else the process prints goes to standard error.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def wait(self) -> None:
        """Until a repetition is wanted; the process ends when none is wanted any more."""
        if not sys.stdin.readline():
            raise SystemExit

    def answer(self, **facts: Any) -> None:
        print(json.dumps(facts), file=self._answers)

    def serve(self, repetition: Callable[[], dict[str, Any]]) -> None:
        while True:
            self.wait()
            self.answer(**repetition())


def replay(frames: Sequence[Atoms], calculator: Calculator, with_stress: bool = False) -> float:
    """Seconds of a call for energy and forces, the mean over a trajectory that one `Atoms` follows."""
    atoms = frames[0].copy()
    atoms.calc = calculator
    start = time.perf_counter()
    for frame in frames:
        atoms.positions = frame.positions
        atoms.get_forces()
        atoms.get_potential_energy()
        if with_stress:
            atoms.get_stress()
    return (time.perf_counter() - start) / len(frames)
