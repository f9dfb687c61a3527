"""From raw uncertainties to bounds that hold with a stated probability: split-conformal prediction.

A bound is `factor · raw`. The factor is a quantile of the ratios `error / raw` over labels that the potential had not
seen when it predicted them. If the next ratio comes from where those came from, the bound holds with at least the
probability asked for, whatever the distribution (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World,
2005). Atoms of one structure are not independent, so a few structures make many ratios but little certainty:
the coverage on the next labels is the test.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

TINY = 1e-12


def ratios(errors: ArrayLike, raw: ArrayLike) -> NDArray[np.float64]:
    """Actual errors in units of the raw uncertainty."""
    found: NDArray[np.float64] = np.asarray(errors, float) / np.maximum(np.asarray(raw, float), TINY)
    return found


def conformal_factor(found: ArrayLike, probability: float) -> float:
    """Factor that makes raw uncertainties bounds.

    Parameters
    ----------
    found
        Ratios of errors to raw uncertainties, [n].
    probability
        With which the bounds shall hold, in (0, 1).

    Returns
    -------
    float
        The `ceil((n + 1) probability)`-th smallest ratio; infinite if there are fewer, and no bound can hold.

    Raises
    ------
    ValueError
        If the probability is none, or a ratio is not a number.
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability: expected a number between 0 and 1, got {probability}")
    ordered = np.sort(np.asarray(found, dtype=float).ravel())
    if np.isnan(ordered).any():
        raise ValueError("expected ratios of errors to uncertainties that are numbers, got NaN")
    rank = math.ceil((len(ordered) + 1) * probability)
    return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf


def adapted_factor(
    found: ArrayLike,
    probability: float,
    before: Iterable[float],
    n_structures: int | None = None,
    *,
    adaptation: float = 0.2,
) -> float:
    """`conformal_factor` for a simulation that moves on, so that old errors understate or overstate the next ones.

    It asks for a higher quantile after rounds whose errors exceeded their bounds too often, and for a lower one after
    those where they did too seldom (Gibbs and Candès, NeurIPS 2021).

    Parameters
    ----------
    found
        Ratios of errors to raw uncertainties, [n].
    probability
        With which the bounds shall hold, in (0, 1).
    before
        Coverage in each round so far, oldest first.
    n_structures
        That the ratios are of. With so few that structures as a whole would give no bound, less than 19 for 95 %, the
        largest ratio is taken: however many atoms they have, the errors of these are alike. None for enough.
    adaptation
        How far the quantile moves after a round, in units of what its coverage was off.

    Returns
    -------
    float
        At most the largest ratio; infinite if there are too few ratios for the probability itself.
    """
    factor, level = conformal_factor(found, probability), probability
    for each in before:
        level = min(1.0, max(0.5 * probability, level + adaptation * (probability - each)))
    if n_structures is not None and math.ceil((n_structures + 1) * probability) > n_structures:
        level = 1.0
    n = np.size(found)
    return factor if math.isinf(factor) else conformal_factor(found, min(level, n / (n + 1)))


def coverage(errors: ArrayLike, bounds: ArrayLike) -> float:
    """Part of the errors that are within their bounds; NaN without any."""
    inside = np.asarray(errors, dtype=float) <= np.asarray(bounds, dtype=float)
    return float(inside.mean()) if inside.size else math.nan
