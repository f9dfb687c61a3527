"""Labels of a run in memory are those in the file, and getting one more reads no others."""

import contextlib
from concurrent.futures import Executor, Future

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import LabellingError, StoreError
from ase_bmdal.labelling import Labeller, LabelStore
from ase_bmdal.learner.events import LabelDone
from ase_bmdal.learner.labels import Labels
from tests.learner.runs import copper


class AtOnce(Executor):
    """All are done when the first outcome is asked for; then it loses so many."""

    def __init__(self, lost=0):
        self.lost = lost

    def submit(self, fn, /, task):
        future = Future()
        if int(task.scratch.name[-1]) < self.lost:
            future.set_exception(ConnectionError("worker lost"))
        else:
            future.set_result(fn(task))
        return future


class Counting(LabelStore):
    read_all = commits = 0

    def rows(self, status=None):
        self.read_all += 1
        return super().rows(status)

    def finish_all(self, records):
        self.commits += 1
        super().finish_all(records)


@pytest.fixture
def store(tmp_path):
    return Counting(tmp_path / "labels.db")


@pytest.fixture
def labels(store, tmp_path):
    with contextlib.ExitStack() as stack:

        def make(executor):
            labeller = stack.enter_context(Labeller(EMT, scratch=tmp_path / "scratch", executor=executor))
            return Labels(store, labeller, events.append)

        events = make.events = []
        yield make


def expect_as_in_the_file(labels, store):
    again = LabelStore(store.path).rows()
    assert [row.id for row in labels.rows] == [row.id for row in again]
    for row, other in zip(labels.rows, again, strict=True):
        assert row.atoms == other.atoms
        assert (row.status, row.round, row.source, row.seconds) == (
            other.status, other.round, other.source, other.seconds,
        )  # fmt: skip
        if row.status == "done":
            np.testing.assert_array_equal(row.atoms.get_forces(), other.atoms.get_forces())
        assert sorted(row.prediction) == sorted(other.prediction)
    assert [row.id for row in labels.done] == [row.id for row in again if row.status == "done"]


def test_all_that_are_done_are_one_commit_and_the_file_is_read_once(labels, store):
    made = labels(AtOnce())
    for number in range(3):
        assert all(made.label([copper(seed) for seed in range(5)], number, "pool"))
    made.predict({2: {"energy": 1.0}})
    assert (store.commits, store.read_all) == (3, 1)
    assert labels.events == [LabelDone(k, n, 5, 0) for k in range(3) for n in range(1, 6)]
    expect_as_in_the_file(made, store)


def test_what_an_executor_lost_is_pending(labels, store):
    made = labels(AtOnce(lost=2))
    with pytest.raises(LabellingError, match="stay pending"):
        made.label([copper(seed) for seed in range(5)], 0, "pool")
    assert [row.status for row in made.rows] == ["pending"] * 2 + ["done"] * 3
    expect_as_in_the_file(made, store)
    made = labels(AtOnce())
    assert made.finish_pending(None) == 0
    assert [row.status for row in made.rows] == ["done"] * 5
    expect_as_in_the_file(made, store)


def test_ctrl_c_while_labels_are_written_loses_none(labels, store, monkeypatch):
    made = labels(AtOnce())
    write, interrupts = LabelStore.finish_all, [KeyboardInterrupt]

    def interrupted(self, records):
        write(self, records)
        if interrupts:
            store.path.write_bytes(before)  # as if the commit had been rolled back
            raise interrupts.pop()

    monkeypatch.setattr(LabelStore, "finish_all", interrupted)
    add = store.add

    def note(*args, **others):
        nonlocal before
        ids = add(*args, **others)
        before = store.path.read_bytes()
        return ids

    before = b""
    monkeypatch.setattr(store, "add", note)
    with pytest.raises(KeyboardInterrupt):
        made.label([copper(), copper(1)], 0, "pool")
    expect_as_in_the_file(made, store)
    assert len(made.done) == 2


def test_a_label_that_cannot_be_written_is_pending(labels, store, monkeypatch):
    made = labels(AtOnce())

    def full(*args, **others):
        raise StoreError("no space left")

    monkeypatch.setattr(store, "finish_all", full)
    with pytest.raises(StoreError):
        made.label([copper()], 0, "pool")
    assert [row.status for row in made.rows] == ["pending"]
    expect_as_in_the_file(made, store)
