import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from ase_bmdal.potential.uncertainty import Uncertainty
from ase_bmdal.uncertainty.error_model import ErrorModel
from ase_bmdal.uncertainty.limits import ACCEPTED, UncertaintyLimits, collision, judge

KNOWN = ErrorModel(None, force_factor=2.0, energy_factor=1.0, probability=0.9)
LIMITS = UncertaintyLimits(refuse=5.0, probability=0.9)


def bounds(largest, error_model=KNOWN):
    """Twice the deviations; that of atom 1 is the largest."""
    return error_model.bounds(Uncertainty(np.array([0.1 * largest, largest]), 1.0, 1.0))


@pytest.mark.parametrize(
    ("largest", "verdict"),
    [(0.0, "accept"), (0.5, "accept"), (0.51, "label"), (2.5, "label"), (2.51, "reject")],
)
def test_verdicts_by_the_bound_of_the_worst_atom(largest, verdict):
    """The tolerance is 1 eV/Å."""
    found = judge(bounds(largest), 1.0, LIMITS)
    assert found.verdict == verdict
    assert ("atom 1" in found.reason) == (verdict != "accept")
    if verdict != "accept":
        assert "probability 90%" in found.reason


def test_what_is_no_number_is_rejected():
    assert judge(bounds(math.nan), 1.0, LIMITS).verdict == "reject"


def test_where_there_is_nothing_to_go_back_to_a_large_bound_is_no_reason_to_reject():
    assert judge(bounds(99.0), 1.0, LIMITS, must_answer=True).verdict == "label"
    assert judge(bounds(math.nan), 1.0, LIMITS, must_answer=True).verdict == "reject"
    assert judge(bounds(99.0), 1.0, LIMITS).verdict == "reject"


def test_atoms_that_nearly_touch_are_rejected():
    found = collision(0.39, 0.4)
    assert found.verdict == "reject"
    assert "0.39 times the sum of their covalent radii apart, at least 0.40 expected" in found.reason
    assert collision(0.4, 0.4) == ACCEPTED


def test_without_bounds_or_tolerance_all_is_accepted():
    assert bounds(1e9, ErrorModel(None)) is None
    assert judge(None, 1.0, LIMITS) == ACCEPTED
    assert judge(bounds(1e9), None, LIMITS) == ACCEPTED


@pytest.mark.parametrize(("n_rounds", "calls"), [(0, 2), (1, 4), (2, 5), (60, 5)])
def test_the_cool_down_doubles_up_to_the_longest(n_rounds, calls):
    assert replace(LIMITS, cool_down=2, longest_cool_down=5).cool_down_after(n_rounds) == calls


def test_a_cool_down_beyond_the_longest_stays_as_it_is():
    long = UncertaintyLimits(cool_down=200)
    assert long.cool_down_after(0) == long.cool_down_after(9) == 200


@pytest.mark.parametrize(
    "wrong",
    [{"force_tolerance": 0.0}, {"refuse": 1.0}, {"probability": 1.0}, {"cool_down": -1}, {"tolerance": 1}],
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        UncertaintyLimits(**wrong)
