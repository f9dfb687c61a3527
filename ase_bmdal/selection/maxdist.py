"""MAXDIST: structures far from everything known."""

from ase_bmdal.selection.centres import NearestCentres, pick_greedily
from ase_bmdal.selection.distances import Floats, Indices


def maxdist(pool: Floats, n: int, train: Floats | None = None) -> Indices:
    """Pick what is farthest from its nearest known structure, argmax_S min_S' D(S, S') (paper, eq. 28).

    S' runs over the training set and the structures already picked. Without a training set the first pick is
    the largest k(S, S) = |φ(S)|². Of equal distances the lowest index comes first.

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
    return pick_greedily(_farthest, pool, n, train)


def _farthest(centres: NearestCentres) -> int:
    return int(centres.squares.argmax())
