"""From the uncertainty of a prediction to bounds on its errors."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ase_bmdal.potential.uncertainty import Uncertainty

POSTERIOR = "posterior"


class Bounds(NamedTuple):
    """Bounds on the errors of one prediction.

    Attributes
    ----------
    forces
        Bound on the norm of the force error of each atom, eV/Å, [n_atoms].
    energy
        Bound on the error of the energy, eV.
    """

    forces: NDArray[np.float64]
    energy: float


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Turns the posterior deviation of each atom into a bound on its force error; kept beside a potential.

    Attributes
    ----------
    posterior
        `P` with `|P phi|²` the posterior variance of an atom whose inputs of the network are `phi`, [m, d_0 + 1];
        None for a committee, whose spread counts instead.
    force_factor
        Makes the deviation of an atom a bound on the norm of its force error, eV/Å; infinite until it is known.
    energy_factor
        The same for the energy of the structure, eV.
    probability
        With which the bounds hold.
    power
        Of the deviation that bounds on forces grow with.
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

    def bounds(self, uncertainty: Uncertainty) -> Bounds | None:
        """Bounds on the errors of a prediction; None before it is calibrated."""
        if not self.is_calibrated:
            return None
        forces = self.force_factor * uncertainty.atoms**self.power
        return Bounds(forces, self.energy_factor * uncertainty.energy)

    def as_data(self) -> tuple[dict[str, float], dict[str, NDArray[np.floating]]]:
        """Numbers and arrays, each by name, as a file holds them."""
        numbers = {name: value for name, value in vars(self).items() if name != POSTERIOR}
        return numbers, {} if self.posterior is None else {POSTERIOR: self.posterior}

    @classmethod
    def from_data(cls, numbers: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """What `as_data` gave."""
        return cls(arrays.get(POSTERIOR), **numbers)
