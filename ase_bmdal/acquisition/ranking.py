"""A pool and a training set as a kernel sees them, and the best of the pool, also once some are labelled or failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from ase_bmdal.acquisition.acquisition import Acquisition
from ase_bmdal.acquisition.kernel import Floats
from ase_bmdal.selection.maxdet import TooFewIndependentError

if TYPE_CHECKING:
    from ase_bmdal.potential.gmnn import Potential


@dataclass(frozen=True)
class Ranking:
    """What an acquisition selects from.

    Attributes
    ----------
    acquisition
        Selection method and kernel.
    pool : [n_pool, n_features] or [n_pool]
        Features of the pool; for a diagonal kernel its diagonal.
    known : [n_known, n_features]
        Features of the training set, which may be empty; None for diagonal kernels.
    """

    acquisition: Acquisition
    pool: Floats
    known: Floats | None

    def best(self, n: int, *, tried: Sequence[int] = (), labelled: Sequence[int] = ()) -> list[int]:
        """Pick the next structures.

        Parameters
        ----------
        n
            How many; fewer come back if the pool, or what is independent in it, holds no more.
        tried
            Indices into the pool of structures picked before.
        labelled
            Those of them that belong to the training set by now; a failed calculation leaves no trace.

        Returns
        -------
        list of int
            Indices into the pool, in the order picked.
        """
        rest = np.setdiff1d(np.arange(len(self.pool)), np.asarray(tried, dtype=int))
        n = min(n, len(rest))
        if n == 0:
            return []
        known = None if self.known is None else np.concatenate([self.known, self.pool[list(labelled)]])
        try:
            picks = self.acquisition.select(n, pool=self.pool[rest], known=known)
        except TooFewIndependentError as error:
            picks = error.picks
        return [int(index) for index in rest[picks]]


def rank(
    acquisition: Acquisition,
    potential: Potential,
    pool: Sequence[Atoms],
    known: Sequence[Atoms],
    *,
    seed: int,
    draw: int,
    features: Callable[[Sequence[Atoms]], Floats] | None = None,
) -> Ranking:
    """Evaluate a kernel on a pool and a training set.

    Parameters
    ----------
    acquisition
        Selection method and kernel.
    potential
        Current potential; a committee for QBC.
    pool
        At least one structure; labelled for AE.
    known
        Structures that the potential was trained on; may be empty.
    seed
        Of the run; fixes the random projections.
    draw
        Number of the round; gives RND other numbers in each.
    features
        Gives those of `known`, as from a store of them; None has the kernel compute them.

    Raises
    ------
    ValueError
        If QBC has one network only, or AE meets a structure without a label.
    """
    kernel = acquisition.kernel
    if kernel.needs_committee and len(potential.members) < 2:
        raise ValueError(f"expected a committee of networks for {acquisition}, got a single one")
    in_pool = kernel.evaluate(potential, pool, seed=seed, draw=draw)
    if kernel.is_diagonal:
        return Ranking(acquisition, in_pool, None)
    if not len(known):
        return Ranking(acquisition, in_pool, in_pool[:0])
    given = features(known) if features else kernel.evaluate(potential, known, seed=seed, draw=draw)
    return Ranking(acquisition, in_pool, given)
