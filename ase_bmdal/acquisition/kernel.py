"""What an acquisition asks of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase_bmdal.features.gradient_features import FeatureMap
    from ase_bmdal.potential.gmnn import Potential

Floats = NDArray[np.floating[Any]]


class Kernel(Protocol):
    """A kernel of the paper (Section 3.1), with what it needs.

    Attributes
    ----------
    name
        As the paper writes it, for example ``"FEAT(RP)"``.
    feature_map
        Feature map that it is built on; None for a diagonal kernel.
    is_conditioned
        Whether it is conditioned on the training set by a Gaussian process.
    needs_committee
        Whether it compares several networks.
    needs_labels
        Whether the pool has to be labelled already, as it is in offline benchmarks only.
    """

    name: str
    feature_map: FeatureMap | None = None
    is_conditioned: bool = False
    needs_committee: bool = False
    needs_labels: bool = False

    @property
    def is_diagonal(self) -> bool:
        """Whether it is one number per structure, k(S, S') = u(S) δ_SS'."""
        return self.feature_map is None

    def evaluate(self, potential: Potential, structures: Sequence[Atoms], *, seed: int, draw: int) -> Floats:
        """Describe structures by the kernel.

        Parameters
        ----------
        potential
            With several members if the kernel needs a committee.
        structures
            At least one; with labels if the kernel needs them.
        seed
            Of the run; fixes the random projections.
        draw
            Number of the round; gives random numbers that differ from those of other rounds.

        Returns
        -------
        array : [n, n_features] or [n]
            Features, or the diagonal of a diagonal kernel.

        Raises
        ------
        ValueError
            If the kernel needs labels and a structure has none.
        """
        ...

    def given(self, pool: Floats, known: Floats) -> tuple[Floats, Floats]:
        """Features of the pool and of the training set, once the training set is known; here as they are.

        Parameters
        ----------
        pool : [n_pool, n_features]
            Features of the pool.
        known : [n_known, n_features]
            Features of the training set; may be empty.

        Returns
        -------
        tuple of arrays : [n_pool, n_features], [n_known, n_features]
            In the precision of the input.
        """
        return pool, known
