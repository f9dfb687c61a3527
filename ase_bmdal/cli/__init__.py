"""The command ``ase-bmdal``, and what commands of other packages need."""

from ase_bmdal.cli.baseline import add_baseline_to, baseline_of
from ase_bmdal.cli.data import require
from ase_bmdal.cli.program import main
from ase_bmdal.cli.quiet import load_potential

__all__ = ["main", "load_potential", "require", "add_baseline_to", "baseline_of"]
