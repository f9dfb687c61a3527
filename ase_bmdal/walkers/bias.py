"""Exploring on purpose: forces that pull a simulation to where the potential knows least."""

import numpy as np

from ase_bmdal.structures.labels import Label

MEMORY = 0.99  # of the running means, per force call


class Bias:
    """Adds to the energy `-tau sum_i |P phi_i|`, and to forces and stress what belongs to it.

    `tau` keeps the added forces at a given fraction of the physical ones, both as running means of their root mean
    square (van der Oord, Sachs, Kovács, Ortner and Csányi, npj Comput. Mater. 2023, 9, 168).

    Parameters
    ----------
    strength
        That fraction; 0 for no bias.

    Raises
    ------
    ValueError
        If it is negative.
    """

    def __init__(self, strength: float) -> None:
        if not 0 <= strength < np.inf:
            raise ValueError(f"bias: expected a fraction of the forces, 0 or more, got {strength}")
        self.strength = strength
        self._means = np.zeros(2)
        self._weight = 0.0

    def __call__(self, label: Label, pull: Label) -> Label:
        """The label with the bias."""
        self._means = MEMORY * self._means + (1 - MEMORY) * np.array([_size(label), _size(pull)])
        self._weight = MEMORY * self._weight + (1 - MEMORY)
        physical, other = self._means / self._weight
        tau = self.strength * physical / other if other > 0 else 0.0
        stress = None
        if label.stress is not None and pull.stress is not None:
            stress = label.stress + tau * pull.stress
        forces = label.forces_for("a bias") + tau * pull.forces_for("a bias")
        return Label(label.energy + tau * pull.energy, forces, stress)


def _size(label: Label) -> float:
    return float(np.sqrt(np.mean(np.square(label.forces_for("a bias")))))
