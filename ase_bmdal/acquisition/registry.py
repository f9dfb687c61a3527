"""Every kernel by its name."""

from ase_bmdal.acquisition.absolute_error import AbsoluteErrorEnergy, AbsoluteErrorForces
from ase_bmdal.acquisition.feature_kernel import FeatureKernel
from ase_bmdal.acquisition.kernel import Kernel
from ase_bmdal.acquisition.posterior_kernel import PosteriorKernel
from ase_bmdal.acquisition.query_by_committee import QueryByCommitteeEnergy, QueryByCommitteeForces
from ase_bmdal.acquisition.random_kernel import RandomKernel

_ALL: tuple[Kernel, ...] = (
    RandomKernel(),
    AbsoluteErrorEnergy(),
    AbsoluteErrorForces(),
    QueryByCommitteeEnergy(),
    QueryByCommitteeForces(),
    PosteriorKernel("LL"),
    PosteriorKernel("RP"),
    FeatureKernel("LL"),
    FeatureKernel("RP"),
)
KERNELS = {kernel.name: kernel for kernel in _ALL}
