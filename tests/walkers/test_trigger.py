import pytest
from ase import Atoms

from ase_bmdal.uncertainty.limits import UncertaintyLimits
from ase_bmdal.walkers.trigger import Trigger


def trigger(**settings):
    return Trigger(UncertaintyLimits(**{"cool_down": 2, "longest_cool_down": 5, **settings}), keep=3)


def test_a_doubtful_frame_is_due_unless_a_round_has_just_been():
    watch, seen = trigger(), []
    for frame in [Atoms("H") for _ in range(8)]:
        watch.note(frame, "label")
        seen.append(watch.is_due(0))
        if watch.is_due(0):
            assert watch.required()[-1] is frame
            watch.round_done()
    assert seen == [True, False, False, True, False, False, True, False]


@pytest.mark.parametrize(("n_rounds", "calls"), [(0, 2), (1, 4), (2, 5), (60, 5)])
def test_the_later_the_round_the_longer_it_waits(n_rounds, calls):
    watch = trigger()
    watch.round_done()
    due = []
    for frame in [Atoms("H") for _ in range(8)]:
        watch.note(frame, "label")
        due.append(watch.is_due(n_rounds))
    assert due.index(True) == calls


def test_the_newest_doubtful_frames_since_the_last_accepted_one_are_required():
    watch, frames = trigger(cool_down=100), [Atoms("H") for _ in range(6)]
    assert watch.required() == []
    for frame, verdict in zip(frames, ("accept", "label", "accept", "label", "label", "label"), strict=True):
        watch.note(frame, verdict)
    assert [id(frame) for frame in watch.required()] == [id(frame) for frame in frames[3:]]
    watch.round_done()
    assert [id(frame) for frame in watch.required()] == [id(frames[2])]


def test_a_rejected_frame_is_not_remembered():
    watch = trigger()
    watch.note(Atoms("H"), "reject")
    assert watch.required() == []


def test_twins_wait_together_and_doubt_by_themselves():
    one, frames = trigger(), [Atoms("H"), Atoms("H")]
    other = one.twin()
    one.note(frames[0], "label")
    other.note(frames[1], "label")
    one.round_done()
    assert not one.doubtful
    assert list(other.doubtful) == [frames[1]]
    assert not other.is_due(0)
    assert other.required()[0] is frames[1]
