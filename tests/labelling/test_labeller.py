import contextlib
import functools
import importlib
import os
import platform
import signal
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_bmdal.common.errors import LabellingError, SimulationStopped
from ase_bmdal.labelling import ComputedLabel, Failure, Labeller, LabellingSettings, lease
from ase_bmdal.labelling.backends import resolve
from ase_bmdal.labelling.backends.in_process import InProcessExecutor
from ase_bmdal.labelling.backends.local import LocalExecutor
from ase_bmdal.labelling.outcome import Unseen
from tests.labelling.treacherous import Treacherous, alive, copper, expect, pids_in, wait_until


def label(labeller, structures):
    records = dict(labeller.label(structures))
    return [records[k] for k in range(len(structures))]


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
        (_makes_nothing, "TypeError", "expected an ASE calculator, got NoneType"),
    ],
)
def test_reference_that_makes_no_calculator(tmp_path, executor, reference, error_class, error_text):
    with Labeller(reference, scratch=tmp_path, executor=executor) as labeller:
        records = label(labeller, [copper(), copper()])
    assert {(r.error_class, r.error_text) for r in records} == {(error_class, error_text)}


class NoStress(EMT):
    implemented_properties = ("energy", "free_energy", "forces")

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results.pop("stress", None)


def test_forgotten_stress(tmp_path, executor):
    with Labeller(NoStress, scratch=tmp_path, executor=executor) as labeller:
        crystal, cluster = label(labeller, [copper(), molecule("H2O")])
    assert (crystal.error_class, type(cluster)) == ("Refused", ComputedLabel)
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
        assert [type(r) for _ in range(3) for r in label(labeller, [copper()])] == [ComputedLabel] * 3
        assert label(labeller, []) == []


def test_leaving_the_loop_ends_the_calculations(tmp_path):
    pids = tmp_path / "pids"
    structures = [copper("hang", pids=str(pids)), copper(), *(copper("hang") for _ in range(50))]
    with Labeller(Treacherous, scratch=tmp_path / "scratch", n_workers=2) as labeller:
        with contextlib.closing(labeller.label(structures)) as records:
            index, record = next(records)
            assert (index, type(record)) == (1, ComputedLabel)
            wait_until(lambda: pids_in(pids))
        wait_until(lambda: not any(map(alive, pids_in(pids))))
        assert type(label(labeller, [copper()])[0]) is ComputedLabel
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
    with pytest.raises(LabellingError, match="closed; structures without a label stay pending"):
        next(records)
    assert list((tmp_path / "scratch").iterdir()) == []
    labeller.close()
    with pytest.raises(LabellingError, match="closed"):
        next(labeller.label([copper()]))


class Losing(Executor):
    """Loses the first tasks that it gets, then works; takes no more than so many."""

    def __init__(self, loses, takes=100):
        self.loses, self.takes = loses, takes
        self.tasks = []

    def submit(self, fn, /, task):
        self.tasks.append(task)
        if len(self.tasks) > self.takes:
            raise BrokenExecutor("a worker died")
        future = Future()
        if len(self.tasks) <= self.loses:
            self.lose(future)
        else:
            future = InProcessExecutor().submit(fn, task)
        return future

    def lose(self, future):
        future.set_exception(ConnectionError("worker lost"))


class Cancelling(Losing):
    def lose(self, future):
        future.cancel()
        future.set_running_or_notify_cancel()


class Listing(Losing):
    """As executors that run a task on several ranks and hand back what each of them said."""

    def lose(self, future):
        future.set_result([Failure("Crashed", "gone")] * 2)


@pytest.mark.parametrize("kind", [Losing, Cancelling, Listing])
def test_what_an_executor_loses_says_nothing_of_the_structure(tmp_path, kind, caplog):
    executor = kind(loses=1)
    with Labeller(EMT, scratch=tmp_path, executor=executor) as labeller:
        assert [type(r) for r in label(labeller, [copper(), copper()])] == [ComputedLabel, ComputedLabel]
    assert [task.scratch.name[-1] for task in executor.tasks] == ["0", "1", "0"]
    assert "lost 1 structures, which are tried once more: " in caplog.text


@pytest.mark.parametrize(
    ("executor", "reason"),
    [
        (Losing(2), "structure 0 was lost twice: ConnectionError: worker lost"),
        (Cancelling(2), "lost twice: concurrent.futures._base.CancelledError"),
        (Listing(2), "expected one outcome of a label from the executor, got an object of class list"),
        (Losing(1, takes=2), "the executor takes no structures: .*BrokenExecutor: a worker died"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_lost_twice_ends_the_batch_but_no_label_is_lost(tmp_path, executor, reason):
    executor.tasks.clear()
    structures = [copper()] if executor.takes > 2 else [copper(), copper()]
    records = []
    with (
        Labeller(EMT, scratch=tmp_path, executor=executor) as labeller,
        pytest.raises(LabellingError, match=f"stay pending: .*{reason}"),
    ):
        records.extend(labeller.label(structures))
    assert [type(record) for _, record in records] == [ComputedLabel] * (len(structures) - 1)
    assert list(tmp_path.iterdir()) == []


def test_an_executor_that_breaks_hands_out_what_is_done_first(tmp_path):
    with Labeller(EMT, scratch=tmp_path, executor=Losing(0, takes=2)) as labeller:
        records = labeller.label([copper(), copper(), copper()])
        assert [type(next(records)[1]) for _ in range(2)] == [ComputedLabel, ComputedLabel]
        with pytest.raises(LabellingError, match="takes no structures"):
            next(records)


def test_a_task_that_an_engine_runs_again(tmp_path):
    class Repeating(Losing):
        def submit(self, fn, /, task):
            task.scratch.mkdir()  # by a worker that died, or is still at it
            return super().submit(lambda same: fn(same) and fn(same), task)

    with Labeller(Treacherous, scratch=tmp_path, executor=Repeating(0)) as labeller:
        sound, failed = label(labeller, [copper(), copper("fail")])
    assert (type(sound), failed.error_class) == (ComputedLabel, "RuntimeError")
    left = sorted(folder.name for folder in Path(failed.scratch).parent.iterdir())
    assert left == ["structure-00000", "structure-00001", "structure-00001-try-2", "structure-00001-try-3"]


def test_workers_know_before_an_executor_is_asked_to_cancel(tmp_path):
    asked = []

    class Stubborn(Future):
        def cancel(self):
            asked.append([folder.name for folder in tmp_path.rglob("running")])
            raise NotImplementedError("cancellation is not supported")

    class Waiting(Executor):
        def submit(self, fn, /, task):
            return (
                Stubborn()
                if asked or task.scratch.name.endswith("0")
                else InProcessExecutor().submit(fn, task)
            )

    with (
        Labeller(EMT, scratch=tmp_path, executor=Waiting()) as labeller,
        contextlib.closing(labeller.label([copper(), copper()])) as records,
    ):
        assert next(records)[0] == 1
    assert asked == [[]]


def test_workers_that_do_not_see_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "PAUSE", 0.0)

    class Elsewhere(Losing):
        def submit(self, fn, /, task):
            hidden = replace(task.lease, path=tmp_path / "not-mounted" / "running")
            return super().submit(fn, replace(task, lease=hidden))

    executor = Elsewhere(0)
    with (
        Labeller(EMT, scratch=tmp_path, executor=executor) as labeller,
        pytest.raises(
            LabellingError, match=f"worker on {platform.node()} does not see .*not-mounted: No such file"
        ),
    ):
        label(labeller, [copper()])
    assert len(executor.tasks) == 1


class Blind(Losing):
    """Its first workers do not see the folder of the batch."""

    def lose(self, future):
        future.set_exception(Unseen("one", "/run", "No such file"))


def test_what_comes_together_with_a_worker_that_does_not_see_the_folder(tmp_path):
    with Labeller(EMT, scratch=tmp_path, executor=Blind(1)) as labeller:
        flight = labeller.in_flight()
        flight.submit({0: copper(), 1: copper()})
        assert [(number, type(found)) for number, found in flight.poll().items()] == [(1, ComputedLabel)]
        assert not flight
        with pytest.raises(LabellingError, match="worker on one does not see /run: No such file"):
            flight.check()
        flight.check()


def test_what_was_lost_before_it_was_given_up_is_forgotten(tmp_path):
    with Labeller(EMT, scratch=tmp_path, executor=Losing(4)) as labeller:
        flight = labeller.in_flight()
        for _ in range(2):
            flight.submit({0: copper()})
            flight.poll()
            flight.close()
        flight.check()


def test_a_worker_that_cannot_work(tmp_path, monkeypatch):
    """A full disk, or a package that is missing there, is not the fault of the structure."""

    class OnAFullDisk(Losing):
        def submit(self, fn, /, task):
            return super().submit(fn, replace(task, scratch=task.scratch / "below" / "nothing"))

    with (
        Labeller(EMT, scratch=tmp_path, executor=OnAFullDisk(0)) as labeller,
        pytest.raises(LabellingError, match=f"cannot make the scratch folder .*{platform.node()}"),
    ):
        label(labeller, [copper()])


@pytest.mark.parametrize("executor", ["local", "in-process"])
def test_a_reference_that_a_worker_cannot_load(tmp_path, executor):
    with (
        Labeller(Unloadable(), scratch=tmp_path, executor=executor) as labeller,
        pytest.raises(
            LabellingError, match="cannot be loaded: ModuleNotFoundError: No module named 'licensed'"
        ),
    ):
        label(labeller, [copper()])
    assert list(tmp_path.iterdir()) == []


class Unloadable:
    def __call__(self):
        return EMT()

    def __reduce__(self):
        return importlib.import_module, ("licensed",)


def test_a_calculation_that_a_queue_ends_is_not_the_fault_of_the_structure(tmp_path):
    """At the end of its time SIGTERM goes to every process of a job, and the calculation may be gone first."""
    with (
        Labeller(Treacherous, scratch=tmp_path, n_workers=1) as labeller,
        pytest.raises(
            LabellingError, match=r"structure 0 was lost twice: the process .* was killed by SIGTERM"
        ),
    ):
        label(labeller, [copper("terminate")])


def test_a_process_that_was_killed_while_idle_is_replaced(tmp_path):
    pids = tmp_path / "pids"
    with Labeller(Treacherous, scratch=tmp_path / "scratch", n_workers=1) as labeller:
        label(labeller, [copper("note_pids", pids=str(pids))])
        (worker,) = pids_in(pids)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not alive(worker))
        assert type(label(labeller, [copper()])[0]) is ComputedLabel


def test_stop_hands_out_what_is_done(tmp_path):
    pids = tmp_path / "pids"
    with Labeller(Treacherous, scratch=tmp_path / "scratch", n_workers=2) as labeller:
        records = labeller.label([copper("hang", pids=str(pids)), copper()])
        assert next(records)[0] == 1
        wait_until(lambda: pids_in(pids))
        labeller.stop("the queue wants its nodes back")
        with pytest.raises(SimulationStopped, match="the queue wants"):
            next(records)
        wait_until(lambda: not any(map(alive, pids_in(pids))))
        with pytest.raises(SimulationStopped):
            next(labeller.label([copper()]))


def test_all_that_are_done_come_at_once(tmp_path):
    with Labeller(EMT, scratch=tmp_path, executor=Losing(0)) as labeller:
        waves = list(labeller.collect([copper()] * 20))
    assert [list(wave) for wave in waves] == [list(range(20))]


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
        resolve(choice, n_workers, LabellingSettings(timeout=timeout))


def test_reference_is_checked_at_once(tmp_path):
    with pytest.raises(TypeError, match="callable"):
        Labeller(EMT(), scratch=tmp_path)
    with pytest.raises(LabellingError, match="cannot be sent"):
        Labeller(functools.partial(EMT, guard=threading.Lock()), scratch=tmp_path)


@pytest.mark.parametrize(
    "make", [lambda: LocalExecutor([None, None]), InProcessExecutor], ids=["local", "in-process"]
)
def test_executors_keep_the_promises_of_futures(make):
    executor = make()
    assert list(executor.map(abs, [-1, -2])) == [1, 2]
    executor.shutdown()
    if isinstance(executor, LocalExecutor):
        with pytest.raises(ZeroDivisionError):
            broken = LocalExecutor([None])
            broken.submit(lambda: 1 / 0).result()
        broken.shutdown()
        with pytest.raises(RuntimeError, match="shut down"):
            executor.submit(abs, 1)


def test_what_was_given_up_may_be_handed_in_again(tmp_path):
    """As a run does in a notebook after Ctrl-C: one was being computed, the others had not begun."""
    pids = tmp_path / "pids"
    with ThreadPoolExecutor(1) as pool, Labeller(Treacherous, scratch=tmp_path, executor=pool) as labeller:
        flight, found = labeller.in_flight(), {}
        flight.submit({0: copper("hang", pids=str(pids)), 1: copper(), 2: copper()})
        wait_until(lambda: pids_in(pids))
        flight.close()
        flight.submit({0: copper(), 1: copper(), 2: copper()})
        wait_until(lambda: found.update(flight.poll(0.1)) or len(found) == 3, 30)
        assert not flight
    assert {type(outcome) for outcome in found.values()} == {ComputedLabel}
