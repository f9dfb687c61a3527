"""The journal keeps every event, whatever a kill leaves of the last line."""

import json

import pytest

from ase_bmdal.common.errors import RunFolderError
from ase_bmdal.run import journal
from ase_bmdal.run.events import Cause, EpochDone, LearningEnded, Rewound, Round, SimulationEnded
from ase_bmdal.run.history import History


def a_round(number, labels=4, **others):
    return Round(
        round=number,
        labels=labels,
        failed=0,
        new_labels=3,
        pool=6,
        force_mae=0.1,
        force_rmse=0.2,
        energy_mae=None,
        select_seconds=0.1,
        label_seconds=0.2,
        train_seconds=0.3,
        **others,
    )


EVENTS = [
    a_round(0, cause=Cause.INITIAL),
    a_round(1, cause=Cause.BOUND_EXCEEDED, reason="the force on atom 3 …", walker="900 K"),
    Rewound(12, 10, "made up", 1),
    LearningEnded("the budget is spent", 7, 1, 0.1, 0.95),
    SimulationEnded("all steps are done", 100, 1, 7, 0.1, None),
]


def test_every_event_comes_back_as_it_was(tmp_path):
    for event in EVENTS:
        journal.append(tmp_path, event)
    journal.append(tmp_path, EpochDone(1, 2, 3, 0.1, None))  # progress is not kept
    assert journal.read(tmp_path) == EVENTS
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert all(line["time"].endswith("+00:00") for line in lines)


@pytest.mark.parametrize("left", range(0, 200, 7))
def test_a_torn_line_costs_that_line_only(tmp_path, left, caplog):
    journal.append(tmp_path, EVENTS[0])
    complete = (tmp_path / "journal.jsonl").read_bytes()
    journal.append(tmp_path, EVENTS[1])
    both = (tmp_path / "journal.jsonl").read_bytes()
    (tmp_path / "journal.jsonl").write_bytes(both[: len(complete) + left])
    journal.append(tmp_path, EVENTS[2])
    assert journal.read(tmp_path) == [EVENTS[0], EVENTS[2]]
    assert ("line 2 is unfinished" in caplog.text) == (left > 0)


def test_what_a_newer_version_has_written_is_passed_over(tmp_path):
    journal.append(tmp_path, EVENTS[0])
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"event": "Teleported", "to": "the moon"}\n')
        file.write(
            '{"event": "Rewound", "from_step": 2, "to_step": 1, "reason": "", "rewinds": 1, "new": 3}\n'
        )
    assert journal.read(tmp_path) == [EVENTS[0], Rewound(2, 1, "", 1)]


def test_a_cause_that_only_a_newer_version_knows_is_unknown(tmp_path):
    line = {"event": "Round", **vars(a_round(0)), "cause": "annealed"}
    (tmp_path / "journal.jsonl").write_text(json.dumps(line) + "\n")
    assert journal.read(tmp_path) == [a_round(0, cause=Cause.UNKNOWN)]


@pytest.mark.parametrize("line", ['{"event": "Round", "round": 1}', '{"event": ["Round"]}', "null"])
def test_a_line_that_lacks_something_costs_that_line_only(tmp_path, line, caplog):
    journal.append(tmp_path, EVENTS[0])
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(line + "\n")
    journal.append(tmp_path, EVENTS[1])
    assert journal.read(tmp_path) == EVENTS[:2]
    assert "line 2 is unfinished or damaged" in caplog.text


def test_a_run_from_before_there_were_journals_is_taken_up(tmp_path):
    line = {**vars(a_round(0, reason="first contact")), "cause": None}
    del line["cause"], line["walker"]
    (tmp_path / "rounds.jsonl").write_text(json.dumps(line) + "\n")
    journal.append(tmp_path, EVENTS[1])
    assert journal.read(tmp_path) == [a_round(0, reason="first contact"), EVENTS[1]]
    assert [each.cause for each in History.read(tmp_path).rounds] == [Cause.UNKNOWN, Cause.BOUND_EXCEEDED]


def test_a_journal_that_cannot_be_read(tmp_path):
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RunFolderError, match=r"cannot read .*journal.jsonl"):
        journal.read(tmp_path)


def test_a_run_without_events_has_an_empty_history(tmp_path):
    history = History.read(tmp_path)
    assert (history.events, history.rounds, history.end) == ((), [], None)


def test_a_round_that_was_done_again_counts_as_it_was_last():
    history = History((a_round(0), a_round(1, labels=7), EVENTS[2], a_round(1, labels=8), *EVENTS[3:]))
    assert [(each.round, each.labels) for each in history.rounds] == [(0, 4), (1, 8)]
    assert history.rewinds == [EVENTS[2]]
    assert history.simulations == [EVENTS[4]]
    assert history.end == EVENTS[3]


def test_rounds_are_counted_by_their_cause():
    rounds = (a_round(k, cause=cause) for k, cause in enumerate([Cause.INITIAL, *[Cause.POOL_FULL] * 2]))
    assert History(tuple(rounds)).rounds_by_cause() == {Cause.INITIAL: 1, Cause.POOL_FULL: 2}
