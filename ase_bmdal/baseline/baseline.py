"""A cheap method whose energies, forces and stresses a potential adds its own to."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from ase.calculators.mixing import SumCalculator
from threadpoolctl import ThreadpoolController

from ase_bmdal.common.errors import BaselineError
from ase_bmdal.structures.compute import compute
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.structure_only import structure_only

MakeCalculator: TypeAlias = Callable[[], Any]
OneOrMore: TypeAlias = MakeCalculator | Sequence[MakeCalculator]
SAME_ENERGY = 1e-3  # eV per atom: iterations that begin elsewhere end elsewhere
SAME_FORCES = 1e-2  # eV/Å


def as_one(baseline: OneOrMore) -> MakeCalculator:
    """What makes a calculator; for several the sum of theirs.

    Raises
    ------
    TypeError
        If it cannot be called, as a calculator that is already made.
    ValueError
        If it is an empty sequence.
    """
    makers = [baseline] if callable(baseline) else baseline
    if not isinstance(makers, Sequence) or not all(callable(make) for make in makers):
        raise TypeError(
            "baseline: expected a function, a class or a functools.partial that makes an ASE calculator, or a list of "
            f"them, got {baseline!r}"
        )
    if not makers:
        raise ValueError("baseline: expected a function that makes an ASE calculator, got an empty list")
    return makers[0] if len(makers) == 1 else partial(_sum, tuple(makers))


def _name(make: Any) -> str:
    if isinstance(make, partial):
        return " + ".join(map(_name, make.args[0])) if make.func is _sum else _name(make.func)
    return str(getattr(make, "__qualname__", type(make).__qualname__))


def _sum(makers: Sequence[MakeCalculator]) -> SumCalculator:
    return SumCalculator([make() for make in makers])


class Baseline:
    """A baseline as one simulation uses it: its calculator is made at the first call, and kept.

    It computes with one thread, unless ``OMP_NUM_THREADS`` says otherwise: small systems are slower with more, by a
    factor of a hundred where other processes want the same cores.

    Parameters
    ----------
    baseline
        Makes an ASE calculator; of several the sum counts.

    Attributes
    ----------
    make
        Makes the calculator.

    Raises
    ------
    TypeError, ValueError
        As `as_one`.
    """

    def __init__(self, baseline: OneOrMore) -> None:
        self.make = as_one(baseline)
        self._calculator: Any = None
        self._threads: ThreadpoolController | None = None

    @property
    def name(self) -> str:
        """Of what makes the calculator."""
        return _name(self.make)

    def another(self) -> "Baseline":
        """The same for another simulation, with a calculator of its own."""
        return Baseline(self.make)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or another process needs: all but the calculator."""
        return {**self.__dict__, "_calculator": None, "_threads": None}

    def label(self, atoms: Atoms) -> Label:
        """Energy, forces and, if fully periodic and the method has one, stress of a structure.

        Raises
        ------
        BaselineError
            If there is no energy, or no forces, or one is not a number; says why. The next structure gets a new
            calculator.
        """
        try:
            if self._calculator is None:
                self._calculator = self.make()
            with self._one_thread():
                label = compute(self._calculator, structure_only(atoms), bool(atoms.pbc.all()))
            _refuse_if_incomplete(label, atoms)
        except Exception as error:  # whatever calculators raise
            self._calculator = None
            raise BaselineError(f"the baseline fails: {type(error).__name__}: {error}") from error
        return label

    def _one_thread(self) -> AbstractContextManager[object]:
        if "OMP_NUM_THREADS" in os.environ:
            return nullcontext()
        if self._threads is None:
            # Finds the libraries that are loaded by now, those of the calculator among them.
            self._threads = ThreadpoolController()
        limited: AbstractContextManager[object] = self._threads.limit(limits=1, user_api="openmp")
        return limited


def _refuse_if_incomplete(label: Label, atoms: Atoms) -> None:
    if label.forces is None or label.forces.shape != (len(atoms), 3):
        got = None if label.forces is None else label.forces.shape
        raise ValueError(f"expected forces of shape {(len(atoms), 3)}, got {got}")
    for name, value in label.values.items():
        if not np.isfinite(value).all():
            raise ValueError(f"expected a finite {name}, got {value}")


def difference(one: Label, other: Label) -> str | None:
    """How two results for one structure differ by more than iterations do; None if they do not."""
    if one.forces is None or other.forces is None:
        return None
    energy = abs(one.energy - other.energy) / len(one.forces)
    forces = float(np.abs(one.forces - other.forces).max())
    if energy <= SAME_ENERGY and forces <= SAME_FORCES:
        return None
    return f"energies differ by {energy:.2g} eV per atom and forces by up to {forces:.2g} eV/Å"
