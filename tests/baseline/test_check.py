"""What is no function of the structure is found out before a label is spent on it."""

import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from ase_bmdal.baseline.baseline import Baseline
from ase_bmdal.baseline.check import check_baseline
from ase_bmdal.common.errors import BaselineError
from tests.baseline.cheap import PAIRS, NotANumber, OfTheAxes, OfTheLastCall, OfTheOrder, WithoutStress
from tests.learner.runs import copper


@pytest.mark.parametrize("make", [EMT, PAIRS])
@pytest.mark.parametrize(
    "atoms", [copper(), Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]])], ids=["crystal", "molecule"]
)
def test_sound_ones(make, atoms):
    check_baseline(Baseline(make), atoms, needs_stress=True)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (OfTheOrder, "with its atoms in another order, but energies differ"),
        (OfTheLastCall, "after another structure, but energies differ"),
        (OfTheAxes, "when it is turned, but .* forces by up to"),
    ],
)
def test_unsound_ones(make, text):
    with pytest.raises(ValueError, match=f"baseline: expected the same result for the same structure {text}"):
        check_baseline(Baseline(make), copper(), needs_stress=True)


def test_a_stress_that_is_missing():
    with pytest.raises(ValueError, match=r"baseline: expected a stress for a periodic cell, got none"):
        check_baseline(Baseline(WithoutStress), copper(), needs_stress=True)
    check_baseline(Baseline(WithoutStress), copper(), needs_stress=False)


def test_one_that_fails():
    with pytest.raises(BaselineError, match="expected a finite forces"):
        check_baseline(Baseline(NotANumber), copper(), needs_stress=True)
