"""The pool and the training set as a kernel sees them, and the picking of batches from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.acquisition.combination import Combination, pick
from ase_bmdal.common.randomness import stream
from ase_bmdal.features.gradient_features import gradient_features
from ase_bmdal.kernels import (
    absolute_error_energy,
    absolute_error_forces,
    ensemble_features,
    query_by_committee_energy,
    query_by_committee_forces,
    random_diagonal,
)
from ase_bmdal.potential.gmnn import Committee, Potential
from ase_bmdal.selection import select
from ase_bmdal.selection.maxdet import TooFewIndependentError
from ase_bmdal.structures.labels import Label, labels_of

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Candidates:
    """What a combination selects from.

    Attributes
    ----------
    combination
        Selection method and kernel.
    pool
        Base features [n_pool, n_features], or the diagonal kernel [n_pool].
    train
        Base features of the training set [n_train, n_features]; None for diagonal kernels. With an empty one, as of a
        given model whose training data are not known, a GP kernel is that of the prior.
    """

    combination: Combination
    pool: Floats
    train: Floats | None

    def pick(self, n: int, *, tried: Sequence[int] = (), labelled: Sequence[int] = ()) -> list[int]:
        """Pick the next structures.

        Parameters
        ----------
        n
            How many; fewer come back if the pool, or what is independent in it, holds no more.
        tried
            Places in the pool of structures picked before.
        labelled
            Those of them that belong to the training set by now; a failed calculation leaves no trace.
        """
        rest = np.setdiff1d(np.arange(len(self.pool)), np.asarray(tried, dtype=int))
        n = min(n, len(rest))
        if n == 0:
            return []
        train = self.train
        if train is not None and len(labelled):
            train = np.concatenate([train, self.pool[list(labelled)]])
        return [int(index) for index in rest[self._best(self.pool[rest], train, n)]]

    def _best(self, pool: Floats, train: Floats | None, n: int) -> NDArray[np.int64]:
        method = self.combination.method
        if method == "MAXDET":
            n = min(n, pool.shape[1])
        try:
            if self.combination.posterior and train is not None and len(train) == 0:
                return select(method, pool, n)  # the posterior of nothing is the prior
            return pick(self.combination, n, pool=pool, train=train)
        except TooFewIndependentError as error:
            return error.picks


def candidates(
    combination: Combination,
    model: Potential,
    pool: Sequence[Atoms],
    train: Sequence[Atoms],
    *,
    seed: int,
    draw: int,
) -> Candidates:
    """Evaluate a kernel on pool and training set.

    Parameters
    ----------
    combination
        Selection method and kernel.
    model
        Current potential; a committee for QBC.
    pool
        At least one structure; labelled for AE.
    train
        Structures the model was trained on.
    seed
        Of the run; fixes the random projections.
    draw
        Number of the round; gives RND other numbers in each.

    Raises
    ------
    ValueError
        If QBC has one network only, or AE meets a structure without a label.
    """
    if combination.feature is None:
        return Candidates(combination, _diagonal(combination, model, pool, seed, draw), None)

    def joined(structures: Sequence[Atoms]) -> Floats:
        return ensemble_features(
            [
                gradient_features(member, structures, combination.feature or "LL", seed=seed)
                for member in model.members
            ]
        )

    in_pool = joined(pool)
    known = joined(train) if len(train) else np.empty((0, in_pool.shape[1]), in_pool.dtype)
    return Candidates(combination, in_pool, known)


def _diagonal(
    combination: Combination, model: Potential, pool: Sequence[Atoms], seed: int, draw: int
) -> Floats:
    kernel = combination.kernel
    if kernel == "RND":
        return random_diagonal(len(pool), stream(seed, "random selection", draw))
    if kernel.startswith("AE"):
        return _absolute_errors(kernel, model.predict(pool), labels_of(pool))
    if not isinstance(model, Committee):
        raise ValueError(f"expected a committee of networks for {combination}, got a single one")
    each = model.predict_each(pool)
    if kernel == "QBC(E)":
        return query_by_committee_energy(np.array([[label.energy for label in labels] for labels in each]).T)
    return query_by_committee_forces(
        [np.stack([label.forces_for(kernel) for label in labels]) for labels in each]
    )


def _absolute_errors(kernel: str, predicted: Sequence[Label], labels: Sequence[Label]) -> Floats:
    if kernel == "AE(E)":
        return absolute_error_energy(
            *(np.array([each.energy for each in side]) for side in (labels, predicted))
        )
    return absolute_error_forces(
        *([each.forces_for(kernel) for each in side] for side in (labels, predicted))
    )
