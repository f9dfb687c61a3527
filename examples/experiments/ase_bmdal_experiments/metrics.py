"""Errors on a test set, and how well an uncertainty foretells them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import pearsonr, spearmanr

from ase_bmdal.common.deviation import Deviation
from ase_bmdal.kernels import absolute_error_forces

Doubles = NDArray[np.float64]
Errors = dict[str, float]


def energy_errors(reference: ArrayLike, predicted: ArrayLike) -> Errors:
    """Errors of energies.

    Parameters
    ----------
    reference, predicted : [n]
        Energies of structures, eV.

    Returns
    -------
    dict
        ``mae``, ``rmse``, and ``maxe``, the largest one, eV.
    """
    each = np.abs(np.asarray(predicted, np.float64) - np.asarray(reference, np.float64))
    return {**asdict(Deviation.of(each)), "maxe": float(each.max())}


def force_errors(reference: Sequence[Doubles], predicted: Sequence[Doubles]) -> Errors:
    """Errors of forces, over all components of all structures.

    Parameters
    ----------
    reference, predicted : n arrays of [n_atoms, 3]
        Forces on structures, eV/Å.

    Returns
    -------
    dict
        ``mae``, ``rmse``; ``maxe``, the largest mean absolute error of a structure, and ``maxe_component``, the
        largest error of a single component: the two readings of the paper's MAXE. eV/Å.
    """
    per_structure = absolute_error_forces(reference, predicted)
    components = np.concatenate([np.abs(p - r).ravel() for r, p in zip(reference, predicted, strict=True)])
    return {
        **asdict(Deviation.of(components)),
        "maxe": float(per_structure.max()),
        "maxe_component": float(components.max()),
    }


def mean_errors(each: Sequence[Errors]) -> Errors:
    """Average over the members of a committee, as the paper reports them."""
    return {name: float(np.mean([errors[name] for errors in each])) for name in each[0]}


def correlations(uncertainty: ArrayLike, error: ArrayLike) -> dict[str, float | None]:
    """Linear and rank correlation.

    Parameters
    ----------
    uncertainty, error : [n]
        Of each structure.

    Returns
    -------
    dict
        ``pearson``, ``spearman``; None where one of the two is constant or there are fewer than three structures.
    """
    x, y = np.asarray(uncertainty, np.float64), np.asarray(error, np.float64)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return {"pearson": None, "spearman": None}
    return {"pearson": _statistic(pearsonr(x, y)), "spearman": _statistic(spearmanr(x, y))}


def _statistic(result: Any) -> float:
    return float(result.statistic)
