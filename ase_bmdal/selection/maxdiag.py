"""MAXDIAG: the most informative structures, one by one."""

import numpy as np

from ase_bmdal.selection.distances import Floats, Indices, squared_norms


def maxdiag(pool: Floats, n: int) -> Indices:
    """Pick the largest diagonal entries of the kernel, argmax k(S, S) (paper, eq. 26).

    Of equal entries the lowest index comes first.

    Parameters
    ----------
    pool : [n_pool] or [n_pool, n_features]
        The diagonal of the kernel, or features whose squared norms are the diagonal.
    n
        Structures to pick.

    Returns
    -------
    array : [n]
        Indices into the pool, in the order picked.
    """
    diagonal = pool if pool.ndim == 1 else squared_norms(pool)
    return np.argsort(-diagonal, kind="stable")[:n]
