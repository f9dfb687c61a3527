"""Recipes by name."""

from dataclasses import replace

from ase_bmdal import ModelSettings, TrainingSettings
from ase_bmdal_experiments.settings import PAPER, PAPER_ARCHITECTURE, PAPER_ENERGY_ONLY, recipe


def test_recipes():
    assert recipe("default", cutoff=3.0, forces=True) == (ModelSettings(cutoff=3.0), TrainingSettings())
    paper = replace(PAPER_ARCHITECTURE, cutoff=3.0)
    assert recipe("paper", cutoff=3.0, forces=True) == (paper, PAPER)
    assert recipe("paper", cutoff=3.0, forces=False) == (paper, PAPER_ENERGY_ONLY)


def test_the_paper_has_360_invariants():
    assert PAPER_ARCHITECTURE.widths == (360, 512, 512, 1)
