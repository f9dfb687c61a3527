import contextlib
import functools
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling import Labeller, LabellingSettings
from ase_bmdal.labelling.executors import InProcessExecutor, LocalExecutor, resolve
from tests.labelling.treacherous import Treacherous, alive, copper, expect, pids_in, wait_until


def label(labeller, structures):
    records = dict(labeller.label(structures))
    return [records[k] for k in range(len(structures))]


@pytest.fixture(params=["local", "in-process", "threads"])
def executor(request):
    if request.param != "threads":
        yield request.param
    else:
        with ThreadPoolExecutor(2) as pool:
            yield pool


def test_labels_equal_those_of_the_calculator(tmp_path, executor):
    structures = [copper() for _ in range(3)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=k)
    with Labeller(EMT, scratch=tmp_path, executor=executor) as labeller:
        records = label(labeller, structures)
    for atoms, record in zip(structures, records, strict=True):
        atoms.calc = EMT()
        assert record.energy == atoms.get_potential_energy()
        np.testing.assert_array_equal(record.forces, atoms.get_forces())
        np.testing.assert_array_equal(record.stress, atoms.get_stress())
        assert record.seconds > 0
    assert list(tmp_path.iterdir()) == []


def test_failures_are_records(tmp_path, executor):
    actions = ["fail", None, "unpicklable", "sys_exit", "nan", None, "unprintable", "few_forces"]
    with Labeller(Treacherous, scratch=tmp_path, executor=executor) as labeller:
        records = label(labeller, [copper(action) for action in actions])
    expect(actions, records)
    assert records[0].error_text == "SCF did not converge \\udc80"
    assert "RuntimeError: SCF did not converge" in (Path(records[0].scratch) / "output.txt").read_text()


def _raises():
    raise OSError("no licence")


def _makes_nothing():
    return None


@pytest.mark.parametrize(
    ("reference", "error_class", "error_text"),
    [
        (_raises, "OSError", "no licence"),
        (_makes_nothing, "TypeError", "the reference must make an ASE calculator, got NoneType"),
    ],
)
def test_reference_that_makes_no_calculator(tmp_path, executor, reference, error_class, error_text):
    with Labeller(reference, scratch=tmp_path, executor=executor) as labeller:
        records = label(labeller, [copper(), copper()])
    assert {(r.status, r.error_class, r.error_text) for r in records} == {("failed", error_class, error_text)}


class NoStress(EMT):
    implemented_properties = ("energy", "free_energy", "forces")

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results.pop("stress", None)


def test_forgotten_stress(tmp_path, executor):
    with Labeller(NoStress, scratch=tmp_path, executor=executor) as labeller:
        crystal, cluster = label(labeller, [copper(), molecule("H2O")])
    assert (crystal.error_class, cluster.status) == ("Refused", "done")
    assert "LabellingSettings(stress=False)" in crystal.error_text
    settings = LabellingSettings(stress=False)
    with Labeller(NoStress, scratch=tmp_path, executor=executor, settings=settings) as labeller:
        assert label(labeller, [copper()])[0].stress is None


def _counted(path):
    with path.open("a") as file:
        file.write("made\n")
    return LennardJones()


def test_a_new_calculator_for_each_structure(tmp_path, executor):
    reference = functools.partial(_counted, tmp_path / "count")
    with Labeller(reference, scratch=tmp_path / "scratch", executor=executor) as labeller:
        label(labeller, [molecule("H2O"), molecule("CH4"), molecule("H2O")])
    assert (tmp_path / "count").read_text() == "made\n" * 3


def test_structures_are_left_alone(tmp_path):
    atoms = copper()
    atoms.calc = calculator = EMT()
    with Labeller(EMT, scratch=tmp_path, executor="in-process") as labeller:
        label(labeller, [atoms])
    assert atoms.calc is calculator
    assert calculator.atoms is None


def test_working_directory_comes_back(tmp_path):
    before = Path.cwd()
    with Labeller(Treacherous, scratch=tmp_path, executor="in-process") as labeller:
        label(labeller, [copper("leave_files"), copper("fail")])
    assert Path.cwd() == before


def test_labels_of_other_batches_can_follow(tmp_path):
    with Labeller(EMT, scratch=tmp_path, n_workers=1) as labeller:
        assert [r.status for _ in range(3) for r in label(labeller, [copper()])] == ["done"] * 3
        assert label(labeller, []) == []


def test_leaving_the_loop_ends_the_calculations(tmp_path):
    pids = tmp_path / "pids"
    structures = [copper("hang", pids=str(pids)), copper(), *(copper("hang") for _ in range(50))]
    with Labeller(Treacherous, scratch=tmp_path / "scratch", n_workers=2) as labeller:
        with contextlib.closing(labeller.label(structures)) as records:
            index, record = next(records)
            assert (index, record.status) == (1, "done")
            wait_until(lambda: pids_in(pids))
        wait_until(lambda: not any(map(alive, pids_in(pids))))
        assert label(labeller, [copper()])[0].status == "done"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_close_ends_what_is_running(tmp_path):
    pids = tmp_path / "pids"
    labeller = Labeller(Treacherous, scratch=tmp_path / "scratch", n_workers=2)
    records = labeller.label(
        [copper("hang_in_c", pids=str(pids)), copper(), *(copper("hang") for _ in range(50))]
    )
    assert next(records)[0] == 1
    wait_until(lambda: pids_in(pids))
    labeller.close()
    assert not any(map(alive, pids_in(pids)))
    assert {record.error_class for _, record in records} == {"Abandoned"}
    assert list((tmp_path / "scratch").iterdir()) == []
    labeller.close()
    with pytest.raises(LabellingError, match="closed"):
        next(labeller.label([copper()]))


class Broken(Executor):
    def __init__(self, healthy):
        self.healthy = healthy

    def submit(self, fn, /, *args, **kwargs):
        if self.healthy == 0:
            raise RuntimeError("cannot schedule new futures")
        self.healthy -= 1
        future = Future()
        future.set_exception(ConnectionError("worker lost"))
        return future


def test_broken_executor(tmp_path):
    with (
        Labeller(EMT, scratch=tmp_path, executor=Broken(0)) as labeller,
        pytest.raises(LabellingError, match="takes no structures: cannot schedule"),
    ):
        label(labeller, [copper()])
    with Labeller(EMT, scratch=tmp_path, executor=Broken(1)) as labeller:
        records = label(labeller, [copper(), copper()])
    assert [r.error_class for r in records] == ["ConnectionError", "RuntimeError"]
    assert list(tmp_path.iterdir()) == []


def test_cancelled_by_others(tmp_path):
    class Cancelling(Broken):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with Labeller(EMT, scratch=tmp_path, executor=Cancelling(1)) as labeller:
        assert label(labeller, [copper()])[0].error_class.endswith("CancelledError")


def test_scratch_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with (
        Labeller(EMT, scratch=tmp_path / "file", executor="in-process") as labeller,
        pytest.raises(LabellingError, match="scratch"),
    ):
        label(labeller, [copper()])


def test_executor_of_the_user_stays_open(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        with Labeller(EMT, scratch=tmp_path, executor=pool) as labeller:
            label(labeller, [copper()])
        assert pool.submit(int).result() == 0


@pytest.mark.parametrize(
    ("choice", "n_workers", "timeout", "message"),
    [
        ("nonsense", None, None, "executor must be"),
        (EMT, None, None, "executor must be"),
        ("in-process", None, 1.0, "cannot hold a time limit, got timeout=1"),
        ("in-process", 2, None, "n_workers"),
        ("local", 0, None, "n_workers must be at least 1"),
    ],
)
def test_wrong_choices(choice, n_workers, timeout, message):
    with pytest.raises(ValueError, match=message):
        resolve(choice, n_workers, timeout)


def test_reference_is_checked_at_once(tmp_path):
    with pytest.raises(TypeError, match="callable"):
        Labeller(EMT(), scratch=tmp_path)
    with pytest.raises(LabellingError, match="cannot be sent"):
        Labeller(functools.partial(EMT, guard=threading.Lock()), scratch=tmp_path)


@pytest.mark.parametrize("make", [lambda: LocalExecutor(2), InProcessExecutor], ids=["local", "in-process"])
def test_executors_keep_the_promises_of_futures(make):
    executor = make()
    assert list(executor.map(abs, [-1, -2])) == [1, 2]
    executor.shutdown()
    if isinstance(executor, LocalExecutor):
        with pytest.raises(ZeroDivisionError):
            broken = LocalExecutor(1)
            broken.submit(lambda: 1 / 0).result()
        broken.shutdown()
        with pytest.raises(RuntimeError, match="shut down"):
            executor.submit(abs, 1)
