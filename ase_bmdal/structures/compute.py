"""One label from one ASE calculator, whatever it is and in whatever process it runs."""

from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.calculators.calculator import BaseCalculator, all_changes
from ase.calculators.mixing import Mixer
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_bmdal.structures.labels import Label

ACCESSORS = ("get_potential_energy", "get_forces", "get_stress")


def compute(calculator: Any, atoms: Atoms, with_stress: bool) -> Label:
    """Energy, forces and, where wanted, stress of one structure, from one run of the code.

    The energy is the one the forces are the gradient of: the free energy where the calculator
    gives one, as with electronic smearing.

    Parameters
    ----------
    calculator
        An ASE calculator.
    atoms
        Structure without constraints.
    with_stress
        Whether stress is wanted.

    Returns
    -------
    Label
        As the calculator gives it, not checked; without what it does not give.

    Raises
    ------
    TypeError
        If the calculator is none.
    """
    if not hasattr(calculator, "get_potential_energy"):
        raise TypeError(f"expected an ASE calculator, got {type(calculator).__name__}")
    atoms.calc = calculator
    wanted = {"energy", "free_energy", "forces"} | ({"stress"} if with_stress else set())
    with ExitStack() as all_at_once:
        for part in _parts(calculator):
            wanted &= set(calculator.implemented_properties)  # the parts never more than the whole
            all_at_once.enter_context(_asked_for_all(part, wanted & set(part.implemented_properties)))
        energy = atoms.get_potential_energy()
        forces = _result(atoms, "forces")
        stress = _voigt(_result(atoms, "stress")) if with_stress else None
    free_energy = _results(calculator).get("free_energy")
    return Label(
        energy=float(energy if free_energy is None else free_energy),
        forces=None if forces is None else np.array(forces, dtype=np.float64),
        stress=stress,
    )


def _parts(thing: Any) -> Iterator[BaseCalculator]:
    """The calculator and those it is made of, such as the terms of a sum."""
    if isinstance(thing, BaseCalculator):
        yield thing
    if isinstance(thing, BaseCalculator | Mixer):
        for value in vars(thing).values():
            for part in value if isinstance(value, list | tuple) else (value,):
                yield from _parts(part)


@contextmanager
def _asked_for_all(calculator: BaseCalculator, wanted: Set[str]) -> Iterator[None]:
    """Have a calculator compute all that is wanted whenever it computes anything.

    ASE asks for one property after the other, and codes that work with files run once for each that was not asked
    for before.
    """
    calculate = calculator.calculate
    own = {name: value for name, value in vars(calculator).items() if name == "calculate"}

    def calculate_all(
        atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> Any:
        return calculate(atoms, [*properties, *sorted(wanted - set(properties))], system_changes)

    calculator.calculate = calculate_all
    try:
        yield
    finally:
        del calculator.calculate
        vars(calculator).update(own)


def _results(calculator: Any) -> dict[str, Any]:
    return getattr(calculator, "results", None) or {}


def _result(atoms: Atoms, name: str) -> Any:
    """A result of the calculation that was made; None if there is none."""
    results = _results(atoms.calc)
    # Not through ASE where it is there: some calculators never know which structure their results are of.
    if isinstance(atoms.calc, BaseCalculator) and name in results:
        return results[name]
    if _uses_ways_of_ase(atoms.calc):  # which would only run the code once more
        return None
    try:
        return getattr(atoms, f"get_{name}")(apply_constraint=False)
    except NotImplementedError:
        if name == "stress":
            return None
        raise


def _uses_ways_of_ase(calculator: Any) -> bool:
    kind = type(calculator)
    return (
        issubclass(kind, BaseCalculator)
        and kind.get_property is BaseCalculator.get_property
        and all(getattr(kind, name) is getattr(GetPropertiesMixin, name) for name in ACCESSORS)
    )


def _voigt(stress: Any) -> NDArray[np.float64] | None:
    if stress is None:
        return None
    array = np.array(stress, dtype=np.float64)
    return full_3x3_to_voigt_6_stress(array) if array.shape == (3, 3) else array
