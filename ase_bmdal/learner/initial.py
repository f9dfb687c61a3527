"""The first structures to label, made from the first frame."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from ase_bmdal.common.randomness import stream
from ase_bmdal.learner.settings import InitialData
from ase_bmdal.structures.neighbours import Neighbours, neighbours
from ase_bmdal.structures.structure_only import structure_only

CLOSEST = 0.8  # of the distance in the first frame, or of the sum of covalent radii where that is smaller
SHORTER = 0.7  # displacements of atoms that come closer, from one attempt to the next


def initial_structures(atoms: Atoms, settings: InitialData, seed: int) -> list[Atoms]:
    """The frame and copies of it, rattled more and more and, where the cell is periodic, strained.

    No two atoms come much closer than in the frame or than bonded atoms are.

    Parameters
    ----------
    atoms
        First frame of the simulation.
    settings
        How many and how far.
    seed
        Of the run.
    """
    rng = stream(seed, "first contact", atoms.get_chemical_formula())
    frame = structure_only(atoms)
    amplitudes = np.linspace(settings.rattle / 3, settings.rattle, settings.n_structures - 1)
    return [frame, *(_perturbed(frame, amplitude, settings.strain, rng) for amplitude in amplitudes)]


def _perturbed(frame: Atoms, amplitude: float, strain: float, rng: np.random.Generator) -> Atoms:
    copy = frame.copy()
    if frame.pbc.any():
        deformation = rng.uniform(-strain, strain, (3, 3))
        repeats = np.outer(frame.pbc, frame.pbc)
        deformation = np.where(repeats, (deformation + deformation.T) / 2, 0.0)
        copy.set_cell(frame.cell.array @ (np.eye(3) + deformation), scale_atoms=True)
    _displace(copy, amplitude * rng.standard_normal(copy.positions.shape))
    return copy


def _displace(atoms: Atoms, displacements: NDArray[np.float64]) -> None:
    """Move the atoms, those that would come too close to another less far.

    In thermal motion atoms hardly ever come so close; a structure in which two do has forces like no other.
    """
    radii, still = covalent_radii[atoms.numbers], atoms.positions.copy()
    farthest = np.linalg.norm(displacements, axis=1).max(initial=0.0)
    near = neighbours(atoms, 2 * (radii.max(initial=0.0) + farthest))
    touching = np.minimum(_distances(near, atoms), radii[:, None] + radii[near.neighbour])
    while True:
        atoms.positions = still + displacements
        too_close = np.any(near.is_pair & (_distances(near, atoms) < CLOSEST * touching), axis=1)
        if not too_close.any():
            return
        displacements[too_close] *= SHORTER


def _distances(pairs: Neighbours, atoms: Atoms) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.linalg.norm(pairs.vectors(atoms, 1.0), axis=-1)
    return found
