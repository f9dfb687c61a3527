"""Selection methods: arrays in, indices out. One file per method, one line in `METHODS`."""

from collections.abc import Callable

from numpy.typing import ArrayLike

from ase_bmdal.selection.arguments import checked_diagonal, checked_features, checked_size
from ase_bmdal.selection.distances import Floats, Indices
from ase_bmdal.selection.lcmd import lcmd
from ase_bmdal.selection.maxdet import maxdet
from ase_bmdal.selection.maxdiag import maxdiag
from ase_bmdal.selection.maxdist import maxdist

__all__ = ["METHODS", "select"]

Method = Callable[[Floats, int, Floats | None], Indices]

METHODS: dict[str, Method] = {"MAXDIAG": maxdiag, "MAXDET": maxdet, "MAXDIST": maxdist, "LCMD": lcmd}


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
    features = checked_diagonal(pool) if method == "MAXDIAG" else checked_features("pool", pool)
    n = checked_size(n, len(features))
    if train is not None:
        train = checked_features("train", train, features.shape[1] if features.ndim == 2 else None)
    return METHODS[method](features, n, train)
