"""Which structures to label next, without a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from ase_bmdal.acquisition import DEFAULT
from ase_bmdal.acquisition.acquisition import Acquisition
from ase_bmdal.acquisition.ranking import rank

if TYPE_CHECKING:
    from ase_bmdal.potential.gmnn import Potential
    from ase_bmdal.potential.with_baseline import WithBaseline


def select_batch(
    model: Potential | WithBaseline,
    pool: Sequence[Atoms],
    n: int,
    *,
    known: Sequence[Atoms] = (),
    selection: str = DEFAULT,
    seed: int = 0,
) -> list[int]:
    """Choose the structures of a pool that are worth a label most.

    Parameters
    ----------
    model
        Trained potential, as `train` and `load_model` give it; a committee for QBC. Of a committee, features of all
        members count.
    pool
        Structures to choose from; labelled for AE(E) and AE(F), which are for tests of other selections.
    n
        Structures to choose.
    known
        Structures that are labelled already, from which the batch is to differ. Diagonal kernels (RND, AE, QBC) do
        without. If there are none, distances are to the zero of the feature space, and GP is the prior.
    selection
        One of `COMBINATIONS`, whatever its spaces and its case.
    seed
        Seed of random projections and random numbers: same seed, same choice.

    Returns
    -------
    list of int
        Indices into the pool, in the order chosen, none twice. MAXDET may give fewer than `n`, if no more are
        linearly independent.

    Raises
    ------
    ValueError
        If the selection is unknown, the pool has not `n` structures, QBC gets a single network, or AE a structure
        without a label.
    UnknownElementError
        If the model does not know an element of a structure.

    References
    ----------
    V. Zaverkin, D. Holzmüller, I. Steinwart, J. Kästner, Digital Discovery 2022, 1, 605, Section 3.

    Examples
    --------
    The structures of a trajectory to label next, beyond those that are labelled already::

        model = train(labelled, cutoff=5.0)
        for index in select_batch(model, frames, 10, known=labelled):
            write(f"{index}.xyz", frames[index])
    """
    from ase_bmdal.potential.with_baseline import WithBaseline

    acquisition = Acquisition.parse(selection)
    if not 1 <= n <= len(pool):
        raise ValueError(f"n: expected 1 to {len(pool)}, the size of the pool, got {n}")
    if isinstance(model, WithBaseline):
        pool = model.differences(pool) if acquisition.kernel.needs_labels else pool
        model = model.network
    return rank(acquisition, model, pool, known, seed=seed, draw=0).best(n)
