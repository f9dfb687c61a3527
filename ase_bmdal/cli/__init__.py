"""The command ``ase-bmdal``."""

from ase_bmdal.cli.program import main

__all__ = ["main"]
