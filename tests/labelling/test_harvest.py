"""A finished label is a file until the driver has written it; what is left of an interrupted run is found again."""

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_bmdal.labelling import ComputedLabel, Failure, Labeller, LabellingSettings
from ase_bmdal.labelling.harvest import harvest
from ase_bmdal.labelling.kept import decode, keep, remove
from ase_bmdal.labelling.lease import RUNNING, Lease
from ase_bmdal.labelling.reference import Reference
from ase_bmdal.labelling.task import LabelTask
from ase_bmdal.structures.labels import Label
from tests.labelling.treacherous import Treacherous, copper, wait_until

EMTS = "EMT 1234"


def labeller(scratch, executor="in-process", identity=EMTS, reference=EMT, **settings):
    return Labeller(
        reference,
        scratch=scratch,
        executor=executor,
        identity=identity,
        settings=LabellingSettings(**settings),
    )


def content(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def rattled():
    """By numbers that are no places in a list."""
    return {number: copper(charge=0.1 * number) for number in (7, 12)}


@pytest.fixture
def left(tmp_path, rattled):
    """Files of finished labels that their driver has not written, which is gone."""
    with labeller(tmp_path) as gone:
        flight = gone.in_flight()
        flight.submit(rattled)
        found = {}
        while flight:
            found |= flight.poll()
    return found


def test_a_label_is_a_file_until_it_is_written(tmp_path, executor, rattled):
    with labeller(tmp_path, executor, reference=Treacherous) as open_one:
        flight, found = open_one.in_flight(), {}
        flight.submit(rattled | {3: copper("leave_files"), 20: copper("fail")})
        while flight:
            found |= flight.poll(0.1)
        kept = {Path(outcome.kept).name for outcome in found.values() if not isinstance(outcome, Failure)}
        assert kept == {f"structure-{number:05d}.npz" for number in (3, 7, 12)}
        (batch,) = tmp_path.iterdir()
        assert {path.name for path in batch.iterdir()} == kept | {"structure-00020"}
        flight.written(found)
        assert [path.name for path in batch.iterdir()] == ["structure-00020"]


def test_a_labeller_that_nobody_takes_over_from_keeps_no_files(tmp_path):
    with labeller(tmp_path, identity="") as open_one:
        assert dict(open_one.label([copper()]))[0].kept is None
    assert list(tmp_path.iterdir()) == []


def test_a_wave_is_written_once_the_next_is_asked_for(tmp_path):
    with labeller(tmp_path) as open_one:
        waves = open_one.collect([copper(), copper()])
        next(waves)
        assert len(content(tmp_path)) == 2  # one label, and the lease
        next(waves)
        assert len(content(tmp_path)) == 1
        assert list(waves) == []
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_is_found(tmp_path, rattled, left):
    with labeller(tmp_path) as later:
        found = later.harvest(rattled)
    assert found.keys() == left.keys() == rattled.keys()
    for number, label in found.items():
        assert (label.energy, label.kept) == (left[number].energy, left[number].kept)
        assert label.seconds == pytest.approx(left[number].seconds, abs=0.5)
        np.testing.assert_array_equal(label.forces, left[number].forces)
        np.testing.assert_array_equal(label.stress, left[number].stress)
        remove(label)
    assert list(tmp_path.iterdir()) == []


def harvested(folder, pending, identity=EMTS, **settings):
    return harvest(folder, pending, identity, LabellingSettings(**settings))


def of_another_charge(structures):
    return structures | {7: copper(charge=3.0)}


def moved_a_little(structures):
    other = structures[7].copy()
    other.positions[0, 0] = np.nextafter(other.positions[0, 0], 9.0)
    return structures | {7: other}


def with_moments(structures):
    other = structures[7].copy()
    other.set_initial_magnetic_moments([1.0] * 4)
    return structures | {7: other}


def not_pending(structures):
    return {12: structures[12]}


@pytest.mark.parametrize("change", [of_another_charge, moved_a_little, with_moments, not_pending])
def test_a_label_of_something_else_is_removed(tmp_path, rattled, left, change):
    assert harvested(tmp_path, change(rattled)).keys() == {12}
    assert [Path(name).name for name in content(tmp_path)] == ["structure-00012.npz"]


def test_labels_of_another_reference_are_removed(tmp_path, rattled, left):
    assert harvested(tmp_path, rattled, "EMT 5678") == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limits", [{"max_force": 1e-6}, {"closest_pair": 0.99}])
def test_labels_have_to_keep_the_limits_of_now(tmp_path, rattled, left, limits):
    assert harvested(tmp_path, rattled, **limits) == {}


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def damaged(path):
    path.write_bytes(path.read_bytes().replace(b"NUMPY", b"NUMPX"))


def of_another_program(path):
    np.savez(path, energies=[1.0])


def pickled(path):
    np.savez(path, number=np.array([{}], dtype=object))


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [half, empty, damaged, of_another_program, pickled, a_folder])
def test_what_is_no_label_is_passed_over(tmp_path, rattled, left, spoil, caplog):
    path = Path(left[7].kept)
    spoil(path)
    assert harvested(tmp_path, rattled).keys() == {12}
    assert path.exists()
    assert f"{path} is passed over" in caplog.text


def test_one_label_of_two_calculations(tmp_path, rattled, left):
    first = Path(left[7].kept)
    again = first.with_name("structure-00007-try-2.npz")
    again.write_bytes(first.read_bytes())
    assert harvested(tmp_path, rattled)[7].kept in (str(first), str(again))
    assert first.exists() != again.exists()


def test_workers_that_were_left_over_are_not_wanted_any_more(tmp_path):
    for name in ("batch-one", "batch-two", "something-else"):
        (tmp_path / name).mkdir()
        (tmp_path / name / RUNNING).touch()
    (tmp_path / "batch-two" / "structure-00001").mkdir()
    lease = Lease(path=tmp_path / "batch-two" / RUNNING, look=0.01)
    assert lease.why_unseen() == ""
    assert harvested(tmp_path, {}) == {}
    assert content(tmp_path) == [f"something-else/{RUNNING}"]
    assert not (tmp_path / "batch-one").exists()
    assert (tmp_path / "batch-two" / "structure-00001").is_dir()
    wait_until(lambda: not lease.is_wanted())


def test_a_folder_that_was_never_made(tmp_path):
    assert harvested(tmp_path / "scratch", {}) == {}


flights = []


class Ending(EMT):
    """Its batch is given up in the moment in which the calculation ends."""

    def calculate(self, *arguments):
        super().calculate(*arguments)
        flights.pop().close()


def test_a_label_that_comes_back_after_the_end(tmp_path, rattled):
    with labeller(tmp_path, reference=Ending) as ended:
        flight = ended.in_flight()
        flights.append(flight)
        flight.submit({7: rattled[7]})
        flight.poll()
    assert [Path(name).name for name in content(tmp_path)] == ["structure-00007.npz"]
    assert harvested(tmp_path, rattled).keys() == {7}


def test_with_a_baseline(tmp_path):
    made = Labeller(EMT, scratch=tmp_path, executor="in-process", baseline=Treacherous, identity=EMTS)
    with made:
        flight = made.in_flight()
        flight.submit({1: copper()})
        (outcome,) = flight.poll().values()
    baseline = harvested(tmp_path, {1: copper()})[1].baseline
    assert baseline.energy == outcome.baseline.energy
    np.testing.assert_array_equal(baseline.forces, outcome.baseline.forces)


def task(folder, atoms):
    return LabelTask(
        reference=Reference(b"", (), ""),
        atoms=atoms,
        settings=LabellingSettings(),
        scratch=folder,
        lease=Lease(path=folder.with_name(RUNNING)),
        owner="me",
        number=5,
        identity=EMTS,
    )


def test_all_that_a_label_depends_on(tmp_path):
    atoms = copper(charge=1, spin=0.1 + 0.2, note="é")
    atoms.pbc = (True, False, True)
    atoms.set_initial_magnetic_moments(np.arange(12.0).reshape(4, 3))
    atoms.set_initial_charges([0.1, 0.2, 0.3, 0.4])
    atoms.set_masses([1.0, 2.0, 3.0, 4.0])
    folder = tmp_path / "structure-00005"
    folder.mkdir()
    computed = ComputedLabel(1.5, np.ones((4, 3)), seconds=2.5, baseline=Label(-0.0))
    label = keep(computed, task(folder, atoms), folder)
    found = decode(Path(label.kept).read_bytes(), label.kept)
    assert found.is_of(atoms, EMTS)
    assert (found.number, found.label.energy, found.label.seconds) == (5, 1.5, 2.5)
    assert (found.label.stress, found.label.baseline.values) == (None, {"energy": 0.0})
    np.testing.assert_array_equal(found.atoms.get_masses(), atoms.get_masses())


def test_a_full_disk_costs_no_label(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with labeller(tmp_path) as open_one:
        assert dict(open_one.label([copper()]))[0].kept is None
    assert list(tmp_path.iterdir()) == []


def test_to_remove_twice(tmp_path, left):
    for _ in range(2):
        for label in left.values():
            remove(label)
    assert list(tmp_path.iterdir()) == []
