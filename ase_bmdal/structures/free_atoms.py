"""Energies of free atoms: given by hand, or those of isolated atoms among labelled structures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.geometry import minkowski_reduce

from ase_bmdal.structures.labels import Label

# Few among many, and unlike them: with a weight of 1 they were off by 1 to 2 eV after a training on 40 molecules, with
# this one by 0.1 eV; the errors of the molecules stayed as they were.
WEIGHT = 30.0
FAR_IMAGES = 8.0  # Å; beyond neighbours in any crystal of one atom a cell, and beyond usual cutoffs


def by_number(atomic_energies: Mapping[str, float] | None) -> dict[int, float]:
    """Energies of free atoms, eV, by atomic number instead of by symbol.

    Raises
    ------
    ValueError
        If a name is none of an element, or an energy no number.
    """
    given = atomic_energies or {}
    for symbol, energy in given.items():
        if symbol not in atomic_numbers or not np.isfinite(energy):
            raise ValueError(f"atomic_energies: expected energies in eV by element, got {symbol!r}: {energy}")
    return {atomic_numbers[symbol]: float(energy) for symbol, energy in given.items()}


def of_isolated(structures: Sequence[Atoms], labels: Sequence[Label]) -> dict[int, float]:
    """Energies of single atoms without near images, eV; of several of an element the lowest, its ground state."""
    found: dict[int, float] = {}
    for atoms, label in zip(structures, labels, strict=True):
        if _is_isolated(atoms):
            element = int(atoms.numbers[0])
            found[element] = min(label.energy, found.get(element, np.inf))
    return found


def with_weight_on_isolated(structures: Sequence[Atoms], labels: Sequence[Label]) -> list[Label]:
    """The same labels, those of isolated atoms with `WEIGHT` times their weight."""
    return [
        replace(label, weights=(WEIGHT * label.weights[0], *label.weights[1:]))
        if _is_isolated(atoms)
        else label
        for atoms, label in zip(structures, labels, strict=True)
    ]


def _is_isolated(atoms: Atoms) -> bool:
    """Whether this is a free atom, also in the large box that codes with plane waves need."""
    if len(atoms) != 1:
        return False
    shortest, _ = minkowski_reduce(atoms.cell, atoms.pbc)
    images = np.linalg.norm(shortest[atoms.pbc], axis=1)
    return bool(np.all(images > FAR_IMAGES))
