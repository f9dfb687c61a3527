"""The first structures to label, made from the first frame."""

import numpy as np
from ase import Atoms

from ase_bmdal.common.randomness import stream
from ase_bmdal.learner.settings import FirstContact
from ase_bmdal.structures.bare import bare_copy


def first_structures(atoms: Atoms, settings: FirstContact, seed: int) -> list[Atoms]:
    """The frame and copies of it, rattled more and more and, where the cell is periodic, strained.

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
    frame = bare_copy(atoms)
    amplitudes = np.linspace(settings.rattle / 3, settings.rattle, settings.n_structures - 1)
    return [frame, *(_disturbed(frame, amplitude, settings.strain, rng) for amplitude in amplitudes)]


def _disturbed(frame: Atoms, amplitude: float, strain: float, rng: np.random.Generator) -> Atoms:
    copy = frame.copy()
    if frame.pbc.any():
        deformation = rng.uniform(-strain, strain, (3, 3))
        repeats = np.outer(frame.pbc, frame.pbc)
        deformation = np.where(repeats, (deformation + deformation.T) / 2, 0.0)
        copy.set_cell(frame.cell.array @ (np.eye(3) + deformation), scale_atoms=True)
    copy.positions += amplitude * rng.standard_normal(copy.positions.shape)
    return copy
