"""How unsure a potential is of a prediction, in no particular unit (without TensorFlow)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Uncertainty(NamedTuple):
    """Uncertainty in no particular unit.

    Attributes
    ----------
    atoms
        Of each atom, [n_atoms].
    energy
        Of the structure's energy.
    closest
        Smallest distance of two atoms in units of the sum of their covalent radii; infinite without neighbours.
    """

    atoms: NDArray[np.float64]
    energy: float
    closest: float


def spread(forces: NDArray[np.float64], energies: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Standard deviation of a committee's forces, as the norm of a vector, and of its energies.

    Parameters
    ----------
    forces
        [n_members, n_atoms, 3], eV/Å.
    energies
        [n_members], eV.

    Returns
    -------
    tuple
        Of each atom [n_atoms], eV/Å, and of the energy, eV.
    """
    return np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1)), float(energies.std(ddof=1))
