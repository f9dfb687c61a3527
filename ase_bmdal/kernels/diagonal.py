"""Diagonal kernels: one number per structure, k(S, S') = u(S) δ_SS' (paper, Section 3.1.5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]


def absolute_error_energy(reference: ArrayLike, predicted: ArrayLike) -> Doubles:
    """AE(E), |E_ref - E| (paper, eq. 24).

    Parameters
    ----------
    reference : [n]
        Reference energies in eV.
    predicted : [n]
        Predicted energies in eV.

    Returns
    -------
    array : [n]
        Errors in eV.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return np.abs(_difference("energies", reference, predicted))


def absolute_error_forces(reference: Sequence[ArrayLike], predicted: Sequence[ArrayLike]) -> Doubles:
    """AE(F), 1/(3 N_at) Σ_ij |F_ref,ij - F_ij| (paper, eq. 24).

    Parameters
    ----------
    reference : n arrays of [N_at, 3]
        Reference forces of every structure in eV/Å.
    predicted : n arrays of [N_at, 3]
        Predicted forces of every structure in eV/Å.

    Returns
    -------
    array : [n]
        Errors in eV/Å.

    Raises
    ------
    ValueError
        If the numbers of structures or the shapes of their forces differ.
    """
    if len(reference) != len(predicted):
        raise ValueError(f"predicted: expected forces of {len(reference)} structures, got {len(predicted)}")
    pairs = zip(reference, predicted, strict=True)
    return np.array([np.abs(_difference("forces", *pair)).mean() for pair in pairs], np.float64)


def query_by_committee_energy(energies: ArrayLike) -> Doubles:
    """QBC(E), root of the mean squared deviation from the mean of an ensemble (paper, eq. 25).

    Parameters
    ----------
    energies : [n_models, n]
        Energies by every model in eV.

    Returns
    -------
    array : [n]
        Spreads in eV.

    Raises
    ------
    ValueError
        If there are fewer than two models.
    """
    spreads: Doubles = np.sqrt(np.square(_deviations(energies)).mean(axis=0))
    return spreads


def query_by_committee_forces(forces: Sequence[ArrayLike]) -> Doubles:
    """QBC(F), root of the mean over models of 1/(3 N_at) Σ_j |F_j - F̄_j|² (paper, eq. 25).

    Parameters
    ----------
    forces : n arrays of [n_models, N_at, 3]
        Forces on every structure by every model in eV/Å.

    Returns
    -------
    array : [n]
        Spreads in eV/Å.

    Raises
    ------
    ValueError
        If there are fewer than two models.
    """
    return np.array([np.sqrt(np.square(_deviations(one)).mean()) for one in forces], np.float64)


def random_diagonal(n: int, rng: np.random.Generator) -> Doubles:
    """RND, independent numbers, uniform between 0 and 1: random selection.

    Parameters
    ----------
    n
        Number of structures.
    rng
        Where the numbers come from.

    Returns
    -------
    array : [n]
        Random numbers.
    """
    return rng.random(n)


def _difference(name: str, reference: ArrayLike, predicted: ArrayLike) -> Doubles:
    exact, approximate = np.asarray(reference, np.float64), np.asarray(predicted, np.float64)
    if exact.shape != approximate.shape:
        raise ValueError(f"predicted {name}: expected shape {exact.shape}, got {approximate.shape}")
    return exact - approximate


def _deviations(predicted: ArrayLike) -> Doubles:
    models = np.asarray(predicted, np.float64)  # [n_models, ...]
    if models.ndim < 2 or len(models) < 2:
        raise ValueError(f"committee: expected predictions of two models or more, got shape {models.shape}")
    deviations: Doubles = models - models.mean(axis=0)
    return deviations
