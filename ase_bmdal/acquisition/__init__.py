"""When to learn and what: the combinations of selection method and kernel."""

from ase_bmdal.acquisition.combination import COMBINATIONS, Combination, pick

__all__ = ["Combination", "COMBINATIONS", "pick"]
