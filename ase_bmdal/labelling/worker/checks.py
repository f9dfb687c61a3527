"""Refuse what a reference calculation would answer with nonsense, before and after it."""

import numpy as np
import vesin
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from ase_bmdal.labelling.outcome import ComputedLabel
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.neighbours import drawn_together, lost

# Volume of a lattice in 1, 2, 3 dimensions is at least this times its shortest vector to that power.
DENSEST_LATTICE = {1: 1.0, 2: np.sqrt(3) / 2, 3: np.sqrt(2) / 2}


def refusal_before(atoms: Atoms, settings: LabellingSettings) -> str | None:
    """Why a structure is not worth a calculation.

    Parameters
    ----------
    atoms
        Structure to label.
    settings
        ``closest_pair`` is used.

    Returns
    -------
    str or None
        The reason; None for a structure that may be labelled.
    """
    if len(atoms) == 0:
        return "the structure has no atoms"
    if len(lost(atoms)) or not np.isfinite(atoms.cell.array).all():
        return "positions or cell are not finite, or absurdly large"
    lattice = atoms.cell.array[atoms.pbc]  # [n_periodic, 3]
    return _collapsed_cell(lattice, atoms, settings) or _close_pair(lattice, atoms, settings)


def _collapsed_cell(lattice: NDArray[np.float64], atoms: Atoms, settings: LabellingSettings) -> str | None:
    if len(lattice) == 0:
        return None
    # Every atom has its own images as neighbours, so the largest one sets the shortest lattice vector.
    closest_image = settings.closest_pair * 2 * covalent_radii[atoms.numbers].max()
    volume = np.sqrt(max(np.linalg.det(lattice @ lattice.T), 0.0))
    smallest = max(DENSEST_LATTICE[len(lattice)] * closest_image ** len(lattice), 1e-6)
    if volume >= smallest:
        return None
    unit = {1: "Å", 2: "Å²", 3: "Å³"}[len(lattice)]
    return f"the cell is singular or collapsed: {volume:.3g} {unit}, at least {smallest:.3g} {unit} expected"


def _close_pair(lattice: NDArray[np.float64], atoms: Atoms, settings: LabellingSettings) -> str | None:
    radii = covalent_radii[atoms.numbers]
    cutoff = settings.closest_pair * 2 * radii.max()
    if cutoff == 0:
        return None
    box = np.zeros((3, 3))
    box[atoms.pbc] = lattice
    i, j, distances = vesin.NeighborList(cutoff=cutoff, full_list=False).compute(
        points=drawn_together(atoms.positions, lattice, cutoff),
        box=type(atoms.cell)(box).complete().array,
        periodic=atoms.pbc,
        quantities="ijd",
    )
    if len(i) == 0:
        return None
    i, j = i.astype(int), j.astype(int)
    smallest = settings.closest_pair * (radii[i] + radii[j])
    worst = (distances / smallest).argmin()
    if distances[worst] >= smallest[worst]:
        return None
    pair = "–".join(f"{chemical_symbols[atoms.numbers[k]]}{k}" for k in (i[worst], j[worst]))
    return f"{pair} are {distances[worst]:.3f} Å apart, at least {smallest[worst]:.3f} Å expected"


def refusal_after(label: Label, atoms: Atoms, settings: LabellingSettings) -> str | None:
    """Why a finished calculation is not a label.

    Parameters
    ----------
    label
        Energy, forces and stress as computed.
    atoms
        Structure they belong to.
    settings
        ``max_force`` and ``stress`` are used.

    Returns
    -------
    str or None
        The reason; None for a sound label.
    """
    forces, stress = label.forces, label.stress
    if not np.isfinite(label.energy):
        return f"the energy is {label.energy}"
    if forces is None or forces.shape != (len(atoms), 3):
        got = None if forces is None else forces.shape
        return f"forces have shape {got}, expected {(len(atoms), 3)}"
    if not np.isfinite(forces).all():
        return "forces are not finite"
    largest = float(np.linalg.norm(forces, axis=1).max())
    if largest > settings.max_force:
        return f"the largest force is {largest:.0f} eV/Å, at most {settings.max_force:.0f} expected"
    if settings.stress and atoms.pbc.all():
        return _refused_stress(stress)
    return None


def refusal_of(label: ComputedLabel, atoms: Atoms, settings: LabellingSettings) -> str | None:
    """The same of a label with what the baseline says; see `refusal_after`."""
    refusal = refusal_after(label, atoms, settings)
    if refusal or label.baseline is None:
        return refusal
    refusal = refusal_after(label.baseline, atoms, settings)
    return refusal and f"of the baseline, {refusal}"


def _refused_stress(stress: NDArray[np.float64] | None) -> str | None:
    if stress is None:
        return (
            "the reference gives no stress for a periodic cell; "
            "use one that does, or LabellingSettings(stress=False)"
        )
    if stress.shape != (6,):
        return f"stress has shape {stress.shape}, expected (6,)"
    return None if np.isfinite(stress).all() else "stress is not finite"
