"""Labels that were finished, and not written, when a run was interrupted."""

from concurrent.futures import Executor, Future

import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_bmdal.labelling.backends.in_process import InProcessExecutor
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.learner.background import Background
from ase_bmdal.learner.learner import Request
from ase_bmdal.learner.loops import Blocking
from ase_bmdal.run import journal
from ase_bmdal.run.events import Arrived, Cause, Reporter, TakenOver
from ase_bmdal.run.store import LabelStore
from tests.learner.by_hand import frames, learner
from tests.learner.by_hand_background import TrainingsByHand
from tests.learner.runs import copper, learning

IDENTITY = "EMT 1"
pytestmark = pytest.mark.usefixtures("not_compiled")


class KilledError(BaseException):
    """What nobody catches, as nobody catches kill -9."""


class Deaf(Executor):
    """Has its tasks done, and never hears of it."""

    def submit(self, fn, /, task):
        fn(task)
        return Future()


class Counting(InProcessExecutor):
    """Notes what it is asked for."""

    def __init__(self):
        self.numbers = []

    def submit(self, fn, /, task):
        self.numbers.append(task.number)
        return super().submit(fn, task)


def labeller(folder, executor):
    return Labeller(EMT, scratch=folder / "scratch", executor=executor, identity=IDENTITY)


@pytest.fixture(params=[Blocking, Background])
def make_loop(request, tmp_path):
    """Makes a loop on the same folder, as another process would."""

    def made(executor, events=None, **settings):
        how = {"trainings": TrainingsByHand()} if request.param is Background else {}
        return request.param(
            learner(tmp_path, batch_size=3, **settings),
            labeller(tmp_path, executor),
            Reporter(events),
            **how,
        )

    return made


def left_by_a_kill(make_loop, folder):
    """A run whose driver was killed when three labels were finished that it had not heard of."""
    loop = make_loop(InProcessExecutor())
    loop.prepare(copper())
    for frame in frames(1):
        loop.learner.offer(frame)
    tasks = loop.learner.ask(Request(Cause.POOL_FULL))
    with labeller(folder, Deaf()) as gone:
        gone.in_flight().submit({task.id: task.atoms for task in tasks})
    loop.learner.close()
    return {task.id for task in tasks}


def take_up(loop):
    loop.prepare(copper())
    loop.gather()
    if isinstance(loop, Background):
        loop._take_in()


def rows(folder, status="done"):
    return {entry.id for entry in LabelStore(folder / "labels.db").rows(status)}


def test_finished_labels_are_taken_over(tmp_path, make_loop):
    ids = left_by_a_kill(make_loop, tmp_path)
    assert rows(tmp_path, "pending") == ids
    executor, events = Counting(), []
    loop = make_loop(executor, events.append)
    take_up(loop)
    loop.close()
    assert executor.numbers == []
    assert rows(tmp_path) >= ids
    assert list((tmp_path / "scratch").iterdir()) == []
    (event,) = [each for each in events if isinstance(each, TakenOver)]
    assert set(event.labels) == ids
    assert str(event) == "3 labels that had been finished when the run was interrupted are taken over"
    noted = journal.read(tmp_path)
    assert event in noted
    arrived = [each for each in noted if isinstance(each, Arrived)]
    assert isinstance(loop, Blocking) or ids in [set(each.labels) for each in arrived]


def test_what_is_not_there_is_computed(tmp_path, make_loop):
    ids = left_by_a_kill(make_loop, tmp_path)
    lost, damaged, sound = sorted((tmp_path / "scratch").glob("batch-*/*.npz"))
    lost.unlink()
    damaged.write_bytes(b"half of it")
    executor = Counting()
    loop = make_loop(executor)
    take_up(loop)
    loop.close()
    assert executor.numbers == sorted(ids)[:2]
    assert rows(tmp_path) >= ids
    assert not sound.exists()


def test_labels_beyond_a_budget_that_was_lowered_stay(tmp_path, make_loop):
    ids = left_by_a_kill(make_loop, tmp_path)
    for more in (1, 3):
        budget = len(rows(tmp_path) - ids) + more
        loop = make_loop(executor := Counting(), max_labels=budget)
        take_up(loop)
        loop.close()
        assert (executor.numbers, len(rows(tmp_path))) == ([], budget)
        assert len(list((tmp_path / "scratch").glob("batch-*/*.npz"))) == 3 - more


def test_a_kill_between_the_file_and_the_commit(tmp_path, make_loop, monkeypatch):
    ids = left_by_a_kill(make_loop, tmp_path)

    def killed(*arguments):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(LabelStore, "finish", killed)
        loop = make_loop(Counting())
        with pytest.raises(KilledError):
            take_up(loop)
        loop.learner.close()
    assert len(list((tmp_path / "scratch").glob("batch-*/*.npz"))) == 3
    executor = Counting()
    loop = make_loop(executor)
    take_up(loop)
    loop.close()
    assert (executor.numbers, rows(tmp_path) >= ids) == ([], True)


def test_a_kill_between_the_commit_and_the_removal(tmp_path, make_loop, monkeypatch):
    ids = left_by_a_kill(make_loop, tmp_path)

    def killed(*arguments):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("ase_bmdal.labelling.in_flight.remove", killed)
        loop = make_loop(Counting())
        with pytest.raises(KilledError):
            take_up(loop)
        loop.learner.close()
    before = [(entry.id, entry.seconds) for entry in LabelStore(tmp_path / "labels.db").rows("done")]
    assert {id for id, _ in before} >= ids
    assert len(list((tmp_path / "scratch").glob("batch-*/*.npz"))) == 3
    loop = make_loop(Counting())
    loop._take_over()
    loop.close()
    assert [(entry.id, entry.seconds) for entry in LabelStore(tmp_path / "labels.db").rows("done")] == before
    assert list((tmp_path / "scratch").iterdir()) == []


class Interrupted(InProcessExecutor):
    """Ctrl-C after so many labels."""

    def __init__(self, after):
        self.left = after

    def submit(self, fn, /, task):
        future = super().submit(fn, task)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return future


def test_ctrl_c_in_the_moment_in_which_a_label_was_finished(tmp_path):
    """In a notebook, where the same calculator goes on."""
    executor = Interrupted(2)
    loop = Blocking(learner(tmp_path), labeller(tmp_path, executor), Reporter(None))
    with pytest.raises(KeyboardInterrupt):
        loop.prepare(copper())
    assert rows(tmp_path) == set()
    loop.prepare(copper())
    loop.close()
    assert len(rows(tmp_path)) == 4
    assert executor.left == 2 - 4
    assert list((tmp_path / "scratch").iterdir()) == []


class TestAnotherReference:
    """Of labels that were finished and not written: a run with none that are written may begin otherwise."""

    @pytest.fixture
    def left(self, tmp_path, monkeypatch):
        def killed(*arguments):
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(LabelStore, "finish", killed)
            calc = learning(EMT, tmp_path / "run")
            with pytest.raises(KilledError):
                calc.get_forces(copper())
            calc.close()
        return tmp_path / "run"

    def taken_over(self, left, reference):
        events = []
        calc = learning(reference, left, on_event=events.append)
        calc.get_forces(copper())
        calc.close()
        (done,) = {each.labels for each in events if isinstance(each, TakenOver)} or [()]
        return len(done)

    def test_is_asked(self, left):
        assert self.taken_over(left, LennardJones) == 0

    def test_the_same_is_not(self, left):
        assert self.taken_over(left, EMT) == 1

    def test_nor_is_it_with_another_baseline(self, left):
        events = []
        calc = learning(EMT, left, baseline=LennardJones, on_event=events.append)
        calc.get_forces(copper())
        calc.close()
        assert not any(isinstance(each, TakenOver) for each in events)
