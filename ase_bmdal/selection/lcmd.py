"""LCMD: largest cluster, maximum distance."""

import numpy as np

from ase_bmdal.selection.centres import NearestCentres, pick_greedily
from ase_bmdal.selection.distances import Floats, Indices


def lcmd(pool: Floats, n: int, train: Floats | None = None) -> Indices:
    """Pick from the largest cluster what is farthest from its centre (paper, eqs. 29-31).

    Centres are the training set and the structures already picked; every structure belongs to its nearest
    centre; the size of a cluster is Σ D(S, centre)². Without a training set the first pick is the largest
    k(S, S) = |φ(S)|². Of equal clusters the first centre, of equal distances the lowest index comes first.

    Parameters
    ----------
    pool : [n_pool, n_features]
        Features of the pool.
    n
        Structures to pick.
    train : [n_train, n_features]
        Features of the training set.

    Returns
    -------
    array : [n]
        Indices into the pool, in the order picked.
    """
    return pick_greedily(_farthest_of_largest, pool, n, train)


def _farthest_of_largest(centres: NearestCentres) -> int:
    sizes = np.bincount(centres.nearest, weights=centres.squares)
    members = np.flatnonzero(centres.nearest == sizes.argmax())
    return int(members[centres.squares[members].argmax()])
