"""Energy, forces and stress of a labelled structure, from wherever ASE or a file keeps them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ase_bmdal.structures.dialects import (
    Found,
    LabelKeys,
    as_numbers,
    find,
    is_label,
    listed,
    weights_of,
)

log = logging.getLogger(__name__)

KNOWN = LabelKeys()  # names of the known dialects
OURS = ("gmnncalculator", "ontheflycalculator")  # what ASE calls our calculators, also in trajectories
UNNAMED = "unknown"  # what ASE calls the calculator of a file that does not name it
OURS_ALONE = {"energy_uncertainty", "forces_uncertainty"}  # what only they compute, which any file keeps


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
    weights
        How much the energy, the forces and the stress count, times the weights of the loss.
    found
        Where it was found; None for a prediction.
    """

    energy: float
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    found: Found | None = field(default=None, repr=False)

    @property
    def values(self) -> dict[str, Any]:
        """Energy, and forces and stress where there are any, by name."""
        values = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        return {name: value for name, value in values.items() if value is not None}

    def minus(self, other: "Label") -> "Label":
        """Difference to another label; without what one of the two does not have."""
        return self._with(other, -1)

    def plus(self, other: "Label") -> "Label":
        """Sum with another label; without what one of the two does not have."""
        return self._with(other, 1)

    def _with(self, other: "Label", factor: int) -> "Label":
        forces, stress = (
            None if mine is None or theirs is None else mine + factor * theirs
            for mine, theirs in ((self.forces, other.forces), (self.stress, other.stress))
        )
        return Label(self.energy + factor * other.energy, forces, stress, self.weights, self.found)

    def attach(self, atoms: Atoms) -> Atoms:
        """Copy of the structure that carries this label, in a `SinglePointCalculator`, and no other."""
        labelled = atoms.copy()
        keys = self.found.keys if self.found else ()
        for place in (labelled.info, labelled.arrays):
            for key in [key for key in place if key in keys or (isinstance(key, str) and is_label(key))]:
                del place[key]
        labelled.calc = SinglePointCalculator(labelled, **self.values)
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


def label_of(atoms: Atoms, keys: LabelKeys = KNOWN) -> Label:
    """Label a structure carries, all of one level of theory.

    Looked for in the results of its calculator, unless they are of another structure, in its ``info`` and its
    ``arrays``. ``REF_energy`` and its like come before ``energy``, a free energy before an energy. A virial is
    `-V` times the stress.

    Parameters
    ----------
    atoms
        A labelled structure.
    keys
        Names under which labels are found, where they are none of the known ones.

    Raises
    ------
    ValueError
        If there is no energy, or more than one; forces of another level; a number that is not finite; a shape that
        does not fit.
    """
    found = find(atoms, keys)
    if "energy" not in found.values:
        raise ValueError(f"expected a labelled structure, got {_formula(atoms)} {_why_none(found, keys)}")
    energy = _numbers(found, "energy", atoms)
    forces = _numbers(found, "forces", atoms)
    if energy is None or energy.size != 1:
        raise ValueError(f"expected one energy of {_formula(atoms)}, got {found.values['energy']}")
    if forces is not None and forces.shape != (len(atoms), 3):
        raise ValueError(
            f"expected forces of shape ({len(atoms)}, 3) for {_formula(atoms)}, got {forces.shape}"
        )
    return Label(energy.item(), forces, _stress(found, atoms), weights_of(atoms), found)


def has_label(atoms: Atoms, keys: LabelKeys = KNOWN) -> bool:
    """Whether a structure carries an energy; raises as `label_of` if that is not clear."""
    return "energy" in find(atoms, keys).values


def predicted_by(atoms: Atoms) -> str | None:
    """Name of the calculator of ours whose results a structure has, in whatever kind of file; None if of another.

    Extended XYZ does not say who computed what it holds, but keeps the bounds on its errors.
    """
    if atoms.calc is None:
        return None
    if name := calculator_name(atoms):
        return name if name in OURS else None
    entries = {*(getattr(atoms.calc, "results", None) or {}), *atoms.info, *atoms.arrays}
    return "a potential of ours" if OURS_ALONE & entries else None


def calculator_name(atoms: Atoms) -> str:
    """What ASE calls the calculator of a structure, in lower case; empty if it has none, or one that is not named."""
    name = getattr(atoms.calc, "name", None)
    return name.lower() if isinstance(name, str) and name != UNNAMED else ""


def labels_carried(structures: Sequence[Atoms]) -> list[Label | None]:
    """Label of each structure; None for those without an energy."""
    return [label_of(atoms) if has_label(atoms) else None for atoms in structures]


def labels_of(structures: Sequence[Atoms], keys: LabelKeys = KNOWN) -> list[Label]:
    """Labels of many structures, all of one level.

    Raises
    ------
    ValueError
        As `label_of`, naming the place of the structure in the sequence; if the sequence is empty; if the energies are
        not all of one level, predictions of ours, or all zero though there are forces; or if no structure has what a
        key was given for.
    """
    if len(structures) == 0:
        raise ValueError("expected labelled structures, got none")
    labels: list[Label] = []
    for index, atoms in enumerate(structures):
        try:
            labels.append(label_of(atoms, keys))
        except ValueError as error:
            raise ValueError(f"structure {index}: {error}") from None
    refuse_levels(labels, "structure")
    warn_of_two_energies(labels, "structure")
    _refuse_predictions(structures, labels, keys)
    refuse_zeros(labels)
    for name in ("forces", "stress"):
        key = getattr(keys, name)
        if key is not None and not any(label.found and key in label.found.keys for label in labels):
            raise ValueError(f"{name}_key: expected {key} in some structure, found it in none")
    return labels


def level_of(labels: Sequence[Label]) -> str | None:
    """What stands before the names of labels that are all of one level, empty if nothing does."""
    return next((label.found.level for label in labels if label.found), None)


def summary(labels: Sequence[Label]) -> str:
    """One line: how many energies, forces and stresses there are, and where they were found."""
    counts = [sum(name in label.values for label in labels) for name in ("energy", "forces", "stress")]
    founds = [label.found for label in labels if label.found]
    text = "{}: {}, {}, {}".format(
        *map(_counted, [len(labels), *counts], ("structure", "energy", "force", "stress"))
    )
    if keys := listed(key for found in founds for key in found.told):
        text += f"; from {keys}"
    if unused := listed(key for found in founds for key in found.unused):
        text += f"; not used: {unused}"
    weighted = sum(label.weights != (1.0, 1.0, 1.0) for label in labels)
    return f"{text}; {weighted} with weights of their own" if weighted else text


def refuse_levels(labels: Sequence[Label | None], noun: str) -> None:
    """Refuse two levels in one set: most likely some structures have no label but a prediction.

    Raises
    ------
    ValueError
        Naming two structures, called by the noun, and their labels.
    """
    founds = [(index, label.found) for index, label in enumerate(labels) if label and label.found]
    for index, found in founds:
        first, expected = founds[0]
        if found.level != expected.level:
            raise ValueError(
                f"{noun} {index}: expected a label of the level of {noun} {first}, which is "
                f"{listed(expected.keys)}, got {listed(found.keys)}; say which to take with energy_key="
            )


def warn_of_two_energies(labels: Sequence[Label | None], noun: str) -> None:
    """Say if some have a free energy that is not their energy, and others an energy only, which may be either.

    That is no error by itself: an energy of a label that we have stored is the free energy, where there was one.
    """
    founds = [(index, label.found) for index, label in enumerate(labels) if label and label.found]
    free = next(((index, found.apart[0]) for index, found in founds if found.apart), None)
    plain = next(
        (index for index, found in founds if not found.keys[0].lower().endswith("free_energy")), None
    )
    if free and plain is not None:
        log.warning(
            "%s %d has a free energy that differs from its %s, and %s %d an energy only: if that is no free energy, "
            "say energy_key=%r",
            *(noun, free[0], free[1], noun, plain, free[1]),
        )


def _refuse_predictions(structures: Sequence[Atoms], labels: Sequence[Label], keys: LabelKeys) -> None:
    """Refuse what our own potentials say of structures, unless it is asked for by name.

    Raises
    ------
    ValueError
        Naming the first structure.
    """
    for index, (atoms, label) in enumerate(zip(structures, labels, strict=True)):
        name = predicted_by(atoms)
        if name and keys.energy is None and label.found and not label.found.level:
            raise ValueError(
                f"structure {index}: expected the label of a reference, got what {name} predicted; say "
                f"energy_key={label.found.keys[0]!r} to learn from that"
            )


def refuse_zeros(labels: Sequence[Label | None]) -> None:
    """Refuse energies that are all zero beside forces that are not: nobody computed them.

    Raises
    ------
    ValueError
        Saying where such energies come from.
    """
    known = [label for label in labels if label is not None]
    with_forces = [label for label in known if label.forces is not None and label.forces.any()]
    if with_forces and all(label.energy == 0.0 for label in known):
        raise ValueError(
            f"expected energies, got 0 for all {len(known)} structures though there are forces: ASE reads so from "
            "files that hold no energies, as dumps of LAMMPS"
        )


def _why_none(found: Found, keys: LabelKeys) -> str:
    if found.stale:
        return f"whose energy is of another structure: {', '.join(found.stale)} changed after it was computed"
    text = "without an energy" if keys.energy is None else f"without {keys.energy}"
    if found.unused:
        text += f"; it has {listed(found.unused)}: say which it is with energy_key=, forces_key=, stress_key="
    return text


def _formula(atoms: Atoms) -> str:
    return str(atoms.get_chemical_formula())


def _numbers(found: Found, quantity: str, atoms: Atoms) -> NDArray[np.float64] | None:
    if quantity not in found.values:
        return None
    numbers = as_numbers(quantity, found.values[quantity])
    if not np.isfinite(numbers).all():
        what = "finite forces" if quantity == "forces" else f"a finite {quantity}"
        raise ValueError(f"expected {what} of {_formula(atoms)}, got {found.values[quantity]}")
    return numbers


def _stress(found: Found, atoms: Atoms) -> NDArray[np.float64] | None:
    """In Voigt order, from a stress or a virial of 6 or 9 numbers; None where it has no meaning."""
    name = "stress" if "stress" in found.values else "virial"
    numbers = _numbers(found, name, atoms)
    if numbers is None:
        return None
    if numbers.size not in (6, 9):
        raise ValueError(
            f"expected a {name} of 6 or 9 numbers for {_formula(atoms)}, got shape {numbers.shape}"
        )
    if numbers.size == 9:
        numbers = full_3x3_to_voigt_6_stress(numbers.reshape(3, 3))
    if not atoms.pbc.all():
        return None
    return numbers.ravel() if name == "stress" else -numbers.ravel() / atoms.get_volume()


def _counted(number: int, noun: str) -> str:
    plural = {"energy": "energies", "stress": "stresses"}.get(noun, f"{noun}s")
    return f"{number} {noun if number == 1 and noun != 'force' else plural}"
