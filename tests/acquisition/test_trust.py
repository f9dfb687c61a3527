import math

import numpy as np
import pytest
from ase import Atoms
from pydantic import ValidationError

from ase_bmdal.acquisition.trust import Trigger, Trust
from ase_bmdal.potential.uncertainty import Raw, Uncertainty

KNOWN = Uncertainty(None, force_factor=2.0, energy_factor=1.0, probability=0.9)


def raw(largest, closest=1.0):
    return Raw(np.array([0.1 * largest, largest]), 1.0, closest)


def trigger(**settings):
    return Trigger(
        Trust(**{"refuse": 5.0, "cool_down": 2, "longest_cool_down": 5, **settings}), closest_pair=0.4, keep=3
    )


@pytest.mark.parametrize(
    ("largest", "verdict"),
    [(0.0, "trusted"), (0.5, "trusted"), (0.51, "doubtful"), (2.5, "doubtful"), (2.51, "refused")],
)
def test_verdicts_by_the_bound_of_the_worst_atom(largest, verdict):
    """The bound is twice the raw number, the tolerance 1 eV/Å."""
    watch = trigger()
    assert watch.judge(raw(largest), KNOWN, 1.0) == verdict
    assert ("atom 1" in watch.reason) == (verdict != "trusted")
    if verdict != "trusted":
        assert "probability 90%" in watch.reason


def test_what_is_no_number_is_refused():
    assert trigger().judge(raw(math.nan), KNOWN, 1.0) == "refused"


def test_while_it_can_learn_a_first_frame_is_not_refused():
    """There is nowhere to go back to."""
    watch = trigger()
    assert watch.judge(raw(99.0), KNOWN, 1.0, can_learn=True) == "doubtful"
    assert watch.judge(raw(math.nan), KNOWN, 1.0, can_learn=True) == "refused"
    watch.keep(Atoms("H"), "trusted")
    assert watch.judge(raw(99.0), KNOWN, 1.0, can_learn=True) == "refused"


def test_atoms_that_nearly_touch_are_refused_without_any_bounds():
    watch = trigger()
    assert watch.judge(raw(0.0, closest=0.39), None, None) == "refused"
    assert "0.39 times the sum of their covalent radii apart, at least 0.40 expected" in watch.reason


@pytest.mark.parametrize("uncertainty", [None, Uncertainty(None), KNOWN])
def test_without_bounds_or_tolerance_all_else_is_trusted(uncertainty):
    assert trigger().judge(raw(1e9), uncertainty, None) == "trusted"


def test_trust_can_be_turned_off():
    assert trigger(enabled=False).judge(raw(math.nan, closest=0.0), KNOWN, 1.0) == "trusted"


def test_a_doubtful_frame_is_due_unless_a_round_has_just_been():
    watch, frames = trigger(), [Atoms("H") for _ in range(8)]
    seen = []
    for frame in frames:
        verdict = watch.judge(raw(1.0), KNOWN, 1.0)
        watch.keep(frame, verdict)
        seen.append(watch.is_due(0))
        if watch.is_due(0):
            assert watch.urgent()[-1] is frame
            watch.round_done()
    assert seen == [True, False, False, True, False, False, True, False]


@pytest.mark.parametrize(("n_rounds", "calls"), [(0, 2), (1, 4), (2, 5), (60, 5)])
def test_the_cool_down_doubles_up_to_the_longest(n_rounds, calls):
    watch = trigger()
    watch.round_done()
    due = []
    for frame in [Atoms("H") for _ in range(8)]:
        watch.keep(frame, watch.judge(raw(1.0), KNOWN, 1.0))
        due.append(watch.is_due(n_rounds))
    assert due.index(True) == calls


def test_a_cool_down_beyond_the_longest_stays_as_it_is():
    assert Trust(cool_down=200).cool_down_after(0) == Trust(cool_down=200).cool_down_after(9) == 200


def test_the_newest_doubtful_frames_since_the_last_trusted_one_are_urgent():
    watch, frames = trigger(cool_down=100), [Atoms("H") for _ in range(6)]
    assert watch.urgent() == []
    for frame, largest in zip(frames, (0.1, 1.0, 0.1, 1.0, 1.0, 1.0), strict=True):
        watch.keep(frame, watch.judge(raw(largest), KNOWN, 1.0))
    assert [id(frame) for frame in watch.urgent()] == [id(frame) for frame in frames[3:]]
    watch.round_done()
    assert [id(frame) for frame in watch.urgent()] == [id(frames[2])]


@pytest.mark.parametrize(
    "wrong",
    [{"force_tolerance": 0.0}, {"refuse": 1.0}, {"probability": 1.0}, {"cool_down": -1}, {"tolerance": 1}],
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Trust(**wrong)
