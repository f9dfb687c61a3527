"""Predictions in the form ASE wants them."""

from typing import Any

from ase import Atoms
from ase.calculators.calculator import all_changes, all_properties
from ase.io import extxyz
from ase.outputs import ArrayProperty, ScalarProperty, all_outputs

from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.same import exact_changes
from ase_bmdal.uncertainty.error_model import Bounds

PROPERTIES = ["energy", "free_energy", "forces", "stress", "energy_uncertainty", "forces_uncertainty"]
UNBIASED = ["unbiased_energy", "unbiased_forces", "unbiased_stress"]
OF_EACH_ATOM = {"forces_uncertainty": ("natoms",), "unbiased_forces": ("natoms", 3)}
OF_THE_STRUCTURE: dict[str, tuple[int, ...]] = {
    "energy_uncertainty": (),
    "unbiased_energy": (),
    "unbiased_stress": (6,),
}


def register_properties() -> None:
    """Make ASE know what these calculators give beyond its own properties; doing it twice changes nothing.

    Without it `Atoms.get_properties` and `SinglePointCalculator` refuse such results, and files drop them.
    """
    for name, shape in (OF_EACH_ATOM | OF_THE_STRUCTURE).items():
        all_outputs.setdefault(
            name, ArrayProperty(name, float, shape) if shape else ScalarProperty(name, float)
        )
    for known, names in (
        (all_properties, OF_EACH_ATOM | OF_THE_STRUCTURE),
        (extxyz.per_atom_properties, OF_EACH_ATOM),
        (extxyz.per_config_properties, OF_THE_STRUCTURE),
    ):
        known.extend(name for name in names if name not in known)


register_properties()


def results_of(label: Label, bounds: Bounds | None, unbiased: Label | None = None) -> dict[str, Any]:
    """Results of an ASE calculator.

    `energy` and `free_energy` (eV), `forces` (eV/Å), `stress` (eV/Å³) if there is one; where they are known, the
    bounds `energy_uncertainty` (eV) and `forces_uncertainty` (of each atom, eV/Å); and with a bias the same without it,
    `unbiased_energy`, `unbiased_forces` and `unbiased_stress`.
    """
    results: dict[str, Any] = {**label.values, "free_energy": label.energy}
    if bounds:
        results |= {"energy_uncertainty": bounds.energy, "forces_uncertainty": bounds.forces}
    if unbiased:
        results |= {f"unbiased_{name}": value for name, value in unbiased.values.items()}
    return results


def changes_between(old: Atoms | None, new: Atoms) -> list[str]:
    """What of a structure has changed: as ASE finds it, for exact equality and in a tenth of the time.

    Parameters
    ----------
    old
        The structure of the last prediction; None if there was none.
    new
        The structure now.

    Returns
    -------
    list of str
        Some of ASE's ``all_changes``.
    """
    return list(all_changes) if old is None else exact_changes(old, new)
