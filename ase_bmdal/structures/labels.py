"""Energy, forces and stress of a labelled structure, from wherever ASE or a file keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import compare_atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray


@dataclass(frozen=True)
class Label:
    """What a reference calculation says of a structure, or what a potential predicts.

    Attributes
    ----------
    energy
        eV.
    forces
        eV/Å, [n_atoms, 3]; None for data without forces.
    stress
        eV/Å³, ASE sign, Voigt order, [6]; None unless fully periodic.
    """

    energy: float
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None

    def attach(self, atoms: Atoms) -> Atoms:
        """Copy of the structure that carries this label in a `SinglePointCalculator`."""
        labelled = atoms.copy()
        results = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        labelled.calc = SinglePointCalculator(labelled, **{k: v for k, v in results.items() if v is not None})
        return labelled

    def forces_for(self, purpose: str) -> NDArray[np.float64]:
        """Forces, where there have to be some.

        Parameters
        ----------
        purpose
            What they are needed for.

        Raises
        ------
        ValueError
            If there are none; says what for.
        """
        if self.forces is None:
            raise ValueError(f"expected forces for {purpose}, got a label with an energy only")
        return self.forces


def label_of(atoms: Atoms) -> Label:
    """Label a structure carries.

    Looked for in the results of its calculator, unless they are of another structure, then in ``REF_energy``,
    ``REF_forces``, ``REF_stress`` of its info and arrays (as extended XYZ files of other codes have them).

    Raises
    ------
    ValueError
        If there is no energy, a number is not finite, or a shape does not fit.
    """
    found = {name: _find(atoms, name) for name in ("energy", "forces", "stress")}
    if found["energy"] is None:
        raise ValueError(f"expected a labelled structure, got {atoms.symbols} without an energy")
    for name, value in found.items():
        if value is not None and not np.isfinite(value).all():
            raise ValueError(f"expected a finite {name} of {atoms.symbols}, got {value}")
    forces, stress = found["forces"], found["stress"]
    if forces is not None and forces.shape != (len(atoms), 3):
        raise ValueError(
            f"expected forces of shape ({len(atoms)}, 3) for {atoms.symbols}, got {forces.shape}"
        )
    if stress is not None and stress.shape == (3, 3):
        stress = full_3x3_to_voigt_6_stress(stress)
    if stress is not None and stress.shape != (6,):
        raise ValueError(f"expected a stress of shape (6,) for {atoms.symbols}, got {stress.shape}")
    return Label(float(found["energy"]), forces, stress if atoms.pbc.all() else None)


def has_label(atoms: Atoms) -> bool:
    """Whether a structure carries an energy."""
    return _find(atoms, "energy") is not None


def labels_of(structures: Sequence[Atoms]) -> list[Label]:
    """Labels of many structures.

    Raises
    ------
    ValueError
        As `label_of`, naming the place of the structure in the sequence; or if the sequence is empty.
    """
    if len(structures) == 0:
        raise ValueError("expected labelled structures, got none")
    labels = []
    for index, atoms in enumerate(structures):
        try:
            labels.append(label_of(atoms))
        except ValueError as error:
            raise ValueError(f"structure {index}: {error}") from None
    return labels


def _has_moved(atoms: Atoms) -> bool:
    """Whether the results of its calculator are those of another structure, as after a displacement."""
    known_for = getattr(atoms.calc, "atoms", None)
    return known_for is not None and bool(compare_atoms(known_for, atoms))


def _find(atoms: Atoms, name: str) -> NDArray[np.float64] | None:
    results: dict[str, Any] = {} if _has_moved(atoms) else getattr(atoms.calc, "results", {})
    for place, key in ((results, name), (atoms.info, f"REF_{name}"), (atoms.arrays, f"REF_{name}")):
        if place.get(key) is not None:
            return np.asarray(place[key], dtype=float)
    return None
