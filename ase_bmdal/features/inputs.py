"""Inputs of the network as features of atoms: what is unusual shows there, whatever the network has made of it."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.potential.gmnn import GMNN, atomic_invariants
from ase_bmdal.potential.network import BIAS_SCALE

STRUCTURES_AT_ONCE = 100


def input_features(model: GMNN, structures: Sequence[Atoms]) -> NDArray[np.float64]:
    """`x̃^(0) = (d_0^(-1/2) x^(0), 0.1)` (paper, below eq. 12) of all atoms, [n_atoms, n_invariants + 1]."""
    inputs = model.inputs.scale * (atomic_invariants(model, structures) - model.inputs.mean)
    bias = np.full((len(inputs), 1), BIAS_SCALE)
    return np.concatenate([inputs / np.sqrt(inputs.shape[1]), bias], axis=1, dtype=np.float64)


def second_moments(model: GMNN, structures: Sequence[Atoms]) -> tuple[NDArray[np.float64], int]:
    """`ΦᵀΦ` of `input_features`, [n_invariants + 1, n_invariants + 1], and the number of atoms.

    Structures are worked through in parts, so that memory does not grow with their number.
    """
    size = model.settings.n_invariants + 1
    total, n_atoms = np.zeros((size, size)), 0
    for start in range(0, len(structures), STRUCTURES_AT_ONCE):
        features = input_features(model, structures[start : start + STRUCTURES_AT_ONCE])
        total += features.T @ features
        n_atoms += len(features)
    return total, n_atoms
