"""Selection methods: arrays in, indices out. One file per method, one line in `METHODS`."""

from collections.abc import Callable
from typing import NamedTuple

from numpy.typing import ArrayLike

from ase_bmdal.selection.arguments import checked_diagonal, checked_features, checked_size
from ase_bmdal.selection.distances import Indices
from ase_bmdal.selection.lcmd import lcmd
from ase_bmdal.selection.maxdet import maxdet
from ase_bmdal.selection.maxdiag import maxdiag
from ase_bmdal.selection.maxdist import maxdist

__all__ = ["METHODS", "select"]


class Method(NamedTuple):
    """A selection method.

    Attributes
    ----------
    pick
        From checked features, the number of picks and, if it takes them, training features.
    takes_train
        Whether it measures distances to the training set.
    takes_diagonal
        Whether the diagonal of a kernel is enough.
    """

    pick: Callable[..., Indices]
    takes_train: bool = False
    takes_diagonal: bool = False


METHODS = {
    "MAXDIAG": Method(maxdiag, takes_diagonal=True),
    "MAXDET": Method(maxdet),
    "MAXDIST": Method(maxdist, takes_train=True),
    "LCMD": Method(lcmd, takes_train=True),
}


def select(method: str, pool: ArrayLike, n: int, *, train: ArrayLike | None = None) -> Indices:
    """Pick structures from a pool, one after the other, never the same one twice.

    Parameters
    ----------
    method
        Name of a method in `METHODS`.
    pool : [n_pool, n_features]
        Features of the pool; for MAXDIAG also [n_pool], the diagonal of the kernel. Only read; arrays of
        float32 and float64, memory-mapped ones too, are not copied.
    n
        Structures to pick.
    train : [n_train, n_features]
        Features of the training set, for methods that measure distances.

    Returns
    -------
    array : [n]
        Indices into the pool, in the order picked.

    Raises
    ------
    ValueError
        If the method is unknown, an array has the wrong shape or holds NaN or infinity, there are not `n`
        structures to pick, or the method cannot use training features and gets some.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    pick, takes_train, takes_diagonal = METHODS[method]
    features = checked_diagonal(pool) if takes_diagonal else checked_features("pool", pool)
    n = checked_size(n, len(features))
    if not takes_train:
        if train is not None:
            raise ValueError(
                f"{method}: expected no training features; the GP kernel conditions on them, got some"
            )
        return pick(features, n)
    return pick(features, n, None if train is None else checked_features("train", train, features.shape[1]))
