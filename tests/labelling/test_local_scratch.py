"""Labels on a disk of the worker, which does not see the run folder."""

import contextlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.calculator import FileIOCalculator
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling import ComputedLabel, Failure, Labeller, LabellingSettings, lease
from ase_bmdal.labelling.backends.in_process import InProcessExecutor
from ase_bmdal.labelling.kept import local_prefix
from ase_bmdal.labelling.parcel import LARGEST, LEFT_OUT
from tests.labelling.treacherous import Treacherous, alive, copper, expect, pids_in, wait_until


class Elsewhere(ThreadPoolExecutor):
    """Workers that see nothing of the driver's disk."""

    def submit(self, fn, /, task):
        away = Path("/not-mounted")
        hidden = {
            "lease": replace(task.lease, path=away / task.lease.path.name),
            "scratch": away / task.scratch.name,
            "reference": replace(task.reference, folder=str(away)),
        }
        return super().submit(fn, replace(task, **hidden))


@pytest.fixture(params=["local", "in-process", "elsewhere"])
def executor(request, monkeypatch):
    monkeypatch.setattr(lease, "PAUSE", 0.0)
    if request.param != "elsewhere":
        yield request.param
    else:
        with Elsewhere(2) as pool:
            yield pool


@pytest.fixture
def disk(tmp_path):
    """Of the worker."""
    return tmp_path / "disk" / "of the worker"


@contextlib.contextmanager
def labelling(tmp_path, disk, executor, reference=Treacherous, **how):
    settings = LabellingSettings(local_scratch=str(disk))
    with Labeller(
        reference, scratch=tmp_path / "scratch", executor=executor, settings=settings, **how
    ) as labeller:
        yield labeller


def label(labeller, structures):
    found = dict(labeller.label(structures))
    return [found[k] for k in range(len(structures))]


class Large(EMT):
    """Fails with a file of so many bytes."""

    def calculate(self, atoms=None, *arguments):
        Path("wavefunction").write_bytes(np.random.default_rng(0).bytes(atoms.info["bytes"]))
        raise RuntimeError("no")


def test_labels_and_failures(tmp_path, disk, executor):
    actions = ["fail", None, "nan", "leave_files", "few_forces"]
    with labelling(tmp_path, disk, executor, identity="EMT") as labeller:
        outcomes = label(labeller, [copper(action) for action in actions])
    expect(actions, outcomes)
    assert list(disk.iterdir()) == []
    (batch,) = (tmp_path / "scratch").iterdir()
    assert {Path(each.scratch) for each in outcomes if isinstance(each, Failure)} == set(batch.iterdir())
    assert "SCF did not converge" in (Path(outcomes[0].scratch) / "output.txt").read_text()
    assert all(each.files == b"" for each in outcomes if isinstance(each, Failure))


def test_files_of_a_failure(tmp_path, disk, executor):
    with labelling(tmp_path, disk, executor, Large) as labeller:
        small, large = label(labeller, [copper(bytes=1000), copper(bytes=5_000_000)])
    assert (Path(small.scratch) / "wavefunction").stat().st_size == 1000
    assert {path.name for path in Path(large.scratch).iterdir()} >= {LEFT_OUT, "output.txt"}
    assert "wavefunction" in (Path(large.scratch) / LEFT_OUT).read_text()
    assert sum(path.stat().st_size for path in Path(large.scratch).iterdir()) < LARGEST
    assert list(disk.iterdir()) == []


def test_files_that_have_no_room_at_the_driver(tmp_path, disk, monkeypatch, caplog):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ase_bmdal.labelling.in_flight.unpack", full)
    with labelling(tmp_path, disk, "in-process") as labeller:
        (outcome,) = label(labeller, [copper("fail")])
    assert (outcome.error_class, outcome.scratch, outcome.files) == ("RuntimeError", None, b"")
    assert "cannot write the files of a failed calculation" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_folder_that_the_worker_names(tmp_path, disk, executor, monkeypatch):
    monkeypatch.setenv("DISK", str(disk))
    with labelling(tmp_path, "$DISK/labels", executor) as labeller:
        assert isinstance(label(labeller, [copper()])[0], ComputedLabel)
    assert list((disk / "labels").iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("$NOT_SET/labels", "expected an absolute path on the worker, got .NOT_SET/labels"),
        ("/dev/null/labels", "cannot make a scratch folder in /dev/null/labels: Not a directory"),
    ],
)
def test_a_folder_that_cannot_be_made(tmp_path, folder, reason):
    with (
        labelling(tmp_path, folder, "in-process") as labeller,
        pytest.raises(LabellingError, match=f"lost twice: .*{reason}"),
    ):
        label(labeller, [copper()])


def test_giving_up_where_the_lease_is_seen(tmp_path, disk):
    pids = tmp_path / "pids"
    with ThreadPoolExecutor(1) as pool, labelling(tmp_path, disk, pool) as labeller:
        with contextlib.closing(labeller.in_flight()) as flight:
            flight.submit({0: copper("hang", pids=str(pids))})
            wait_until(lambda: pids_in(pids))
        wait_until(lambda: not any(map(alive, pids_in(pids))))
        wait_until(lambda: list(disk.iterdir()) == [])


def test_without_a_lease_to_be_seen_a_label_is_wanted(tmp_path, disk, monkeypatch):
    """It is looked for once, and not before each label."""
    monkeypatch.setattr(lease, "PAUSE", 0.0)
    looks = []
    monkeypatch.setattr(lease.Lease, "stamp", lambda self: looks.append(1) or self.path.stat())

    class Hidden(InProcessExecutor):
        def submit(self, fn, /, task):
            hidden = replace(task.lease, path=Path("/not-mounted") / task.lease.path.parent.name)
            return super().submit(fn, replace(task, lease=hidden, isolated=False))

    with labelling(tmp_path, disk, Hidden()) as labeller:
        outcomes = label(labeller, [copper(), copper(), copper()])
    assert [type(each) for each in outcomes] == [ComputedLabel] * 3
    assert len(looks) == lease.FIRST_LOOKS


class NeedsAFile(EMT):
    def calculate(self, *arguments):
        Path("inputs/basis.txt").read_text()


class NeedsAProgram(FileIOCalculator):
    command = "bin/code"
    implemented_properties = ("energy", "forces")

    def __init__(self):
        super().__init__(command="bin/code")

    def calculate(self, *arguments):
        raise RuntimeError("exit status 127")


@pytest.mark.parametrize(
    ("reference", "path"), [(NeedsAFile, "inputs/basis.txt"), (NeedsAProgram, "bin/code")]
)
def test_relative_paths_lead_nowhere(tmp_path, disk, reference, path):
    with Elsewhere(1) as pool, labelling(tmp_path, disk, pool, reference) as labeller:
        (failure,) = label(labeller, [copper()])
    assert f"{path}': relative paths lead nowhere on " in failure.error_text
    assert "which does not see /not-mounted, from which the reference comes" in failure.error_text


STRUCTURES = {number: copper(charge=0.1 * number) for number in (7, 12)}


class TestHarvest:
    """What is finished is a file on the disk of the worker until it is known to be written."""

    @pytest.fixture
    def left(self, tmp_path, disk):
        """By a driver that was killed before it wrote anything."""
        with ThreadPoolExecutor(2) as pool, labelling(tmp_path, disk, pool, identity="EMT") as gone:
            flight, found = gone.in_flight(), {}
            flight.submit(STRUCTURES)
            while flight:
                found |= flight.poll(1.0)
        assert len(list(disk.iterdir())) == 2
        return found

    def test_by_the_next_driver(self, tmp_path, disk, left):
        with labelling(tmp_path, disk, "in-process", identity="EMT") as later:
            found = later.harvest(STRUCTURES)
            assert {number: label.energy for number, label in found.items()} == {
                number: label.energy for number, label in left.items()
            }
            later.in_flight().written(found)
        assert list(disk.iterdir()) == []

    def test_by_a_driver_that_calls_the_folder_otherwise(self, tmp_path, disk, left):
        (tmp_path / "link").symlink_to(tmp_path)
        with labelling(tmp_path / "link" / "link", disk, "in-process", identity="EMT") as later:
            assert later.harvest(STRUCTURES).keys() == {7, 12}

    def test_by_a_driver_that_asks_the_workers(self, tmp_path, disk, left):
        """Two of three see this disk, and none the driver's; one has something else on it."""
        with labelling(tmp_path, disk, "in-process", identity="EMT") as later:
            calls = lambda call: [call(), [("/away/other.npz", b"no label")], call()]  # noqa: E731
            later._backend = replace(later._backend, everywhere=calls)
            assert later.harvest(STRUCTURES).keys() == {7, 12}

    def test_workers_that_do_not_answer(self, tmp_path, disk, left, caplog):
        def lost(call):
            raise ConnectionError("no scheduler")

        with labelling(tmp_path, disk, "in-process", identity="EMT") as later:
            later._backend = replace(later._backend, everywhere=lost)
            assert later.harvest(STRUCTURES) == {}
        assert "on the disks of the workers: ConnectionError: no scheduler" in caplog.text

    @pytest.mark.parametrize(("folder", "identity"), [("scratch", "PBE"), ("another run", "EMT")])
    def test_labels_of_others_are_left_alone(self, tmp_path, disk, left, folder, identity):
        settings = LabellingSettings(local_scratch=str(disk))
        scratch = tmp_path / folder
        with Labeller(
            EMT, scratch=scratch, executor="in-process", settings=settings, identity=identity
        ) as other:
            assert other.harvest(STRUCTURES) == {}
            assert [type(each) for _, each in other.label([copper()])] == [ComputedLabel]
        assert len(list(disk.iterdir())) == 2

    def test_another_user_may_have_planted_them(self, tmp_path, disk, left, monkeypatch):
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        with labelling(tmp_path, disk, "in-process", identity="EMT") as later:
            assert later.harvest(STRUCTURES) == {}

    def test_links_and_what_vanishes(self, tmp_path, disk, left):
        link = disk / f"{local_prefix(tmp_path / 'scratch', 'EMT')}00001.npz"
        link.symlink_to("/nothing")
        with labelling(tmp_path, disk, "in-process", identity="EMT") as later:
            assert later.harvest(STRUCTURES).keys() == {7, 12}

    @pytest.mark.parametrize(("is_written", "numbers"), [(True, [30]), (False, [9, 12, 30])])
    def test_a_worker_removes_what_its_driver_cannot_see(self, tmp_path, disk, left, is_written, numbers):
        """As soon as it is known to be written."""
        with labelling(tmp_path, disk, "in-process", identity="EMT") as later:
            flight = later.in_flight()
            flight.submit({9: copper(), 30: copper()})
            (found,) = flight.poll().values()
            if is_written:
                flight.written({9: replace(found, kept=None)})
            flight.poll()
        assert sorted(int(path.stem[-5:]) for path in disk.iterdir()) == numbers
