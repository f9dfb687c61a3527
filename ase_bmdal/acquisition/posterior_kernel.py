"""GP(LL), GP(RP): posterior covariance of a Gaussian process that knows the training set (paper, eqs. 21-23)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase_bmdal.acquisition.feature_kernel import FeatureKernel
from ase_bmdal.acquisition.kernel import Floats
from ase_bmdal.kernels import GPPosterior

if TYPE_CHECKING:
    from ase_bmdal.features.gradient_features import FeatureMap


class PosteriorKernel(FeatureKernel):
    """GP; without a training set it is the prior, that is FEAT.

    Parameters
    ----------
    feature_map
        Feature map φ.
    """

    is_conditioned = True

    def __init__(self, feature_map: FeatureMap) -> None:
        super().__init__(feature_map)
        self.name = f"GP({feature_map})"

    def given(self, pool: Floats, known: Floats) -> tuple[Floats, Floats]:
        """Features of the posterior kernel; see `Kernel.given`."""
        if len(known) == 0:
            return pool, known
        posterior = GPPosterior(known)
        return posterior(pool), posterior(known)
