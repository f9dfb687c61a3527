"""How unsure a method is of structures it did not choose from: its own kernel on the test set."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ase_bmdal import Acquisition, Label, Potential, Remembered, gradient_features, mean_label
from ase_bmdal.kernels import (
    GPPosterior,
    absolute_error_energy,
    absolute_error_forces,
    ensemble_features,
    query_by_committee_energy,
    query_by_committee_forces,
)
from ase_bmdal_experiments.frames import Some

Doubles = NDArray[np.float64]
BLOCK = 1000  # test structures at once: their distances to a training set of thousands fit in memory


def uncertainty(
    combination: Acquisition,
    model: Potential,
    predicted: Sequence[Sequence[Label]],
    test: Remembered[Some],
    train: Sequence[Atoms],
    seed: int,
) -> Doubles | None:
    """Uncertainty of every test structure.

    Parameters
    ----------
    combination
        Whose kernel is asked.
    model
        Current potential.
    predicted
        What its members say of the test set.
    test, train
        Structures to ask about, and those the potential was trained on.
    seed
        Of the random projections.

    Returns
    -------
    array : [n_test]
        k(S, S) for GP, QBC and AE kernels; for FEAT kernels the distance to the nearest training structure.
        None for RND.
    """
    if combination.kernel.name == "RND":
        return None
    if combination.kernel.feature_map is None:
        return _diagonal(combination.kernel.name, predicted, test.structures)
    unknown, known = (_features(model, side, combination.kernel.feature_map, seed) for side in (test, train))
    if combination.kernel.is_conditioned:
        return GPPosterior(known).variance(unknown)
    return _distances_to_nearest(unknown, known)


def _features(
    model: Potential, structures: Sequence[Atoms], feature_map: Literal["LL", "RP"], seed: int
) -> NDArray[np.floating]:
    each = [gradient_features(member, structures, feature_map, seed=seed) for member in model.members]
    return ensemble_features(each)


def _distances_to_nearest(points: NDArray[np.floating], known: NDArray[np.floating]) -> Doubles:
    blocks = (points[start : start + BLOCK] for start in range(0, len(points), BLOCK))
    return np.concatenate([cdist(block, known).min(axis=1) for block in blocks])


def _diagonal(kernel: str, predicted: Sequence[Sequence[Label]], test: Some) -> Doubles:
    if kernel == "QBC(E)":
        return query_by_committee_energy([[label.energy for label in labels] for labels in predicted])
    if kernel == "QBC(F)":
        together = zip(*predicted, strict=True)
        return query_by_committee_forces([[label.forces for label in labels] for labels in together])
    mean = [mean_label(labels) for labels in zip(*predicted, strict=True)]
    if kernel == "AE(E)":
        return absolute_error_energy(test.energies, [label.energy for label in mean])
    return absolute_error_forces(
        test.forces or (), [label.forces for label in mean if label.forces is not None]
    )
