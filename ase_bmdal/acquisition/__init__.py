"""What to label: kernels that ask a potential, acquisitions by name, and the best of a pool."""

from ase_bmdal.acquisition.acquisition import COMBINATIONS, Acquisition

__all__ = ["COMBINATIONS", "Acquisition"]
