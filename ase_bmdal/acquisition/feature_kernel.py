"""FEAT(LL), FEAT(RP): inner products of gradient features, k(S, S') = φ(S)ᵀ φ(S') (paper, eqs. 14 and 19)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from ase_bmdal.acquisition.kernel import Floats, Kernel
from ase_bmdal.kernels import ensemble_features

if TYPE_CHECKING:
    from ase_bmdal.features.gradient_features import FeatureMap
    from ase_bmdal.potential.gmnn import Potential


class FeatureKernel(Kernel):
    """FEAT; of a committee it is the mean of the kernels of its members.

    Parameters
    ----------
    feature_map
        Feature map φ.
    """

    def __init__(self, feature_map: FeatureMap) -> None:
        self.feature_map: FeatureMap = feature_map
        self.name = f"FEAT({feature_map})"

    def evaluate(self, potential: Potential, structures: Sequence[Atoms], *, seed: int, draw: int) -> Floats:
        """Features by all members; see `Kernel.evaluate`."""
        from ase_bmdal.features.gradient_features import gradient_features

        return ensemble_features(
            [
                gradient_features(member, structures, self.feature_map, seed=seed)
                for member in potential.members
            ]
        )
