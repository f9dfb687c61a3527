"""Labels of a run in memory are those in the file, and getting one more reads no others."""

import numpy as np
import pytest

from ase_bmdal.common.errors import StoreError
from ase_bmdal.labelling import ComputedLabel, Failure
from ase_bmdal.run.dataset import Dataset
from ase_bmdal.run.events import Cause
from ase_bmdal.run.store import LabelStore
from tests.learner.runs import copper, labelled


class Counting(LabelStore):
    read_all = commits = 0

    def rows(self, status=None):
        self.read_all += 1
        return super().rows(status)

    def finish(self, records):
        self.commits += 1
        return super().finish(records)


@pytest.fixture
def store(tmp_path):
    return Counting(tmp_path / "labels.db")


@pytest.fixture
def dataset(store):
    return Dataset(store)


def added(dataset, n, number=0):
    structures = [copper(seed) for seed in range(n)]
    return [entry.id for entry in dataset.add(structures, round=number, source="pool", cause=Cause.POOL_FULL)]


def label(seed=0):
    atoms = labelled(seed + 1)[seed]
    return ComputedLabel(energy=atoms.get_potential_energy(), forces=atoms.get_forces(), seconds=2.0)


def expect_as_in_the_file(dataset, store):
    again = LabelStore(store.path).rows()
    assert [row.id for row in dataset.entries] == [row.id for row in again]
    for row, other in zip(dataset.entries, again, strict=True):
        assert row.atoms == other.atoms
        assert (row.status, row.round, row.source, row.seconds) == (
            other.status, other.round, other.source, other.seconds,
        )  # fmt: skip
        if row.status == "done":
            np.testing.assert_array_equal(row.atoms.get_forces(), other.atoms.get_forces())
        assert sorted(row.prediction) == sorted(other.prediction)
    assert [row.id for row in dataset.done] == [row.id for row in again if row.status == "done"]


def test_all_that_are_done_are_one_commit_and_the_file_is_read_once(dataset, store):
    for number in range(3):
        dataset.finish({id: label(k) for k, id in enumerate(added(dataset, 5, number))})
    dataset.record_predictions({2: {"energy": 1.0}})
    assert (store.commits, store.read_all) == (3, 1)
    expect_as_in_the_file(dataset, store)


def test_counts_are_those_of_the_entries(dataset):
    assert (dataset.next_round, dataset.n_rounds, dataset.n_failed) == (0, 0, 0)
    first, second = added(dataset, 4), added(dataset, 3, number=1)
    failure = Failure("RuntimeError", "no")
    dataset.finish({first[0]: label(), second[0]: failure})
    assert (len(dataset.done), len(dataset.pending), dataset.n_failed) == (1, 5, 1)
    assert (dataset.next_round, dataset.n_rounds) == (2, 1)
    assert [entry.id for entry in dataset.of_round(1)] == second
    assert (dataset.status(first[0]), dataset.status(second[0])) == ("done", "failed")


def test_an_entry_knows_why_and_in_which_simulation(dataset, store):
    dataset.add([copper()], round=1, source="pool", cause=Cause.BOUND_EXCEEDED, walkers=["900 K"])
    added(dataset, 1)
    found = LabelStore(store.path).rows()
    assert [(entry.cause, entry.walker) for entry in found] == [
        (Cause.BOUND_EXCEEDED, "900 K"),
        (Cause.POOL_FULL, ""),
    ]


@pytest.mark.parametrize("is_rolled_back", [True, False])
def test_ctrl_c_while_labels_are_written_loses_none(dataset, store, monkeypatch, is_rolled_back):
    write, interrupts = LabelStore.finish, [KeyboardInterrupt]
    ids = added(dataset, 2)
    before = store.path.read_bytes()

    def interrupted(self, records):
        written = write(self, records)
        if interrupts:
            if is_rolled_back:
                store.path.write_bytes(before)
            raise interrupts.pop()
        return written

    monkeypatch.setattr(LabelStore, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset.finish({id: label(k) for k, id in enumerate(ids)})
    expect_as_in_the_file(dataset, store)
    assert len(dataset.done) == 2


def test_a_label_that_cannot_be_written_is_pending(dataset, store, monkeypatch):
    def full(*args, **others):
        raise StoreError("no space left")

    ids = added(dataset, 1)
    monkeypatch.setattr(store, "finish", full)
    with pytest.raises(StoreError):
        dataset.finish({ids[0]: label()})
    assert [entry.status for entry in dataset.entries] == ["pending"]
    expect_as_in_the_file(dataset, store)
