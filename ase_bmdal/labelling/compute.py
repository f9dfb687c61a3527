"""One label from one calculator, in whatever process it runs."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError, all_changes
from numpy.typing import NDArray


def compute(calculator: Any, atoms: Atoms, with_stress: bool) -> dict[str, Any]:
    """Energy, forces and, where wanted, stress of one structure.

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
    dict
        ``energy`` eV, ``forces`` [n_atoms, 3] eV/Å, ``stress`` [6] eV/Å³ or None; not checked.

    Raises
    ------
    TypeError
        If the calculator is none.
    """
    if not hasattr(calculator, "get_potential_energy"):
        raise TypeError(f"the reference must make an ASE calculator, got {type(calculator).__name__}")
    atoms.calc = calculator
    if isinstance(calculator, BaseCalculator) and not calculator.results:
        _compute_at_once(calculator, atoms, with_stress)
    energy = atoms.get_potential_energy()
    forces = np.array(atoms.get_forces(apply_constraint=False), dtype=np.float64)
    stress = _stress(atoms) if with_stress else None
    free_energy = (getattr(calculator, "results", None) or {}).get("free_energy")
    return {
        "energy": float(energy if free_energy is None else free_energy),
        "forces": forces,
        "stress": stress,
    }


def _compute_at_once(calculator: BaseCalculator, atoms: Atoms, with_stress: bool) -> None:
    # Asked one by one, file-based calculators run once for the energy, again for forces, again for stress.
    wanted = ["energy", "forces"]
    if with_stress and "stress" in calculator.implemented_properties:
        wanted.append("stress")
    calculator.calculate(atoms, wanted, list(all_changes))


def _stress(atoms: Atoms) -> NDArray[np.float64] | None:
    try:
        return np.array(atoms.get_stress(voigt=True, apply_constraint=False), dtype=np.float64)
    except (PropertyNotImplementedError, NotImplementedError):
        return None
