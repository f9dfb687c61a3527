"""How unsure a potential is of its predictions, and what that says of their errors (without TensorFlow)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Raw(NamedTuple):
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


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What is kept with a potential, to say how far to trust it.

    Attributes
    ----------
    posterior
        `P` with `|P phi|²` the posterior variance of an atom whose inputs of the network are `phi`, [m, d_0 + 1];
        None for a committee, whose spread counts instead.
    force_factor
        Makes the raw number of an atom a bound on the norm of its force error, eV/Å; infinite until it is known.
    energy_factor
        The same for the energy of the structure, eV.
    probability
        With which the bounds hold.
    power
        Of the raw number that bounds on forces grow with.
    """

    posterior: NDArray[np.floating] | None
    force_factor: float = math.inf
    energy_factor: float = math.inf
    probability: float = 0.95
    power: float = 1.0

    @property
    def is_calibrated(self) -> bool:
        """Whether there are bounds."""
        return math.isfinite(self.force_factor)

    def force_bounds(self, raw: Raw) -> NDArray[np.float64]:
        """Bound on the force error of each atom, eV/Å, [n_atoms]."""
        return self.force_factor * raw.atoms**self.power

    def energy_bound(self, raw: Raw) -> float:
        """Bound on the error of the energy, eV."""
        return self.energy_factor * raw.energy


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
