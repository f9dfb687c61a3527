"""Kernel transformations: features in, features out; and the kernels that are diagonal."""

from ase_bmdal.kernels.diagonal import (
    absolute_error_energy,
    absolute_error_forces,
    query_by_committee_energy,
    query_by_committee_forces,
    random_diagonal,
)
from ase_bmdal.kernels.ensemble import ensemble_features
from ase_bmdal.kernels.gp_posterior import GPPosterior

__all__ = [
    "GPPosterior",
    "ensemble_features",
    "absolute_error_energy",
    "absolute_error_forces",
    "query_by_committee_energy",
    "query_by_committee_forces",
    "random_diagonal",
]
