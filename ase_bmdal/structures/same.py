"""Whether a label of one structure is one of another."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import compare_atoms
from numpy.typing import NDArray

CLOSE = 1e-6  # Å
ARRAYS = ("positions", "numbers", "initial_charges", "initial_magmoms")  # that a label depends on


def changes(old: Atoms, new: Atoms) -> list[str]:
    """What of a structure has changed such that its label is no longer one.

    Moving all atoms together, moving one by a lattice vector, and another cell along directions that are not periodic
    change no label: `wrap` and `center` do nothing else.

    Parameters
    ----------
    old
        Structure that was labelled.
    new
        Structure now.

    Returns
    -------
    list of str
        Some of ASE's ``all_changes``.
    """
    if _is_identical(old, new):  # as nearly always, and ten times faster to see than what ASE compares
        return []
    found = compare_atoms(old, new)
    if not found:
        return []
    if "numbers" in found or "pbc" in found:
        return sorted(set(found) & {"numbers", "pbc"})
    changed = [name for name in ("initial_charges", "initial_magmoms") if _differ(old, new, name)]
    if not np.allclose(old.cell.array[old.pbc], new.cell.array[old.pbc], rtol=0, atol=CLOSE):
        return [*changed, "cell"]
    return changed if _is_translated(old, new) else [*changed, "positions"]


def _is_identical(old: Atoms, new: Atoms) -> bool:
    """Whether all that a label depends on is the same, bit by bit."""
    return (
        np.array_equal(old.cell.array, new.cell.array)
        and np.array_equal(old.pbc, new.pbc)
        and all(np.array_equal(*(atoms.arrays.get(name, ()) for atoms in (old, new))) for name in ARRAYS)
    )


def _differ(old: Atoms, new: Atoms, name: str) -> bool:
    """An array that is not there is zero."""
    one, other = (atoms.arrays.get(name, np.zeros(len(atoms))) for atoms in (old, new))
    return not np.array_equal(one, other)


def _is_translated(old: Atoms, new: Atoms) -> bool:
    moved: NDArray[np.float64] = new.positions - old.positions
    moved = moved - moved[:1]
    lattice = old.cell.array[old.pbc]  # [n_periodic, 3]
    if len(lattice):
        moved -= np.round(moved @ np.linalg.pinv(lattice)) @ lattice
    return bool((np.abs(moved) < CLOSE).all())
