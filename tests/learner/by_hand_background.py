"""A background loop whose labels and trainings come when the test says so."""

from concurrent.futures import Executor, Future

from ase.calculators.emt import EMT

from ase_bmdal.labelling import Failure
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.outcome import ComputedLabel
from ase_bmdal.learner.background import Background
from ase_bmdal.learner.training import Training, TrainingResult
from ase_bmdal.run.events import Cause, Reporter
from tests.learner.by_hand import label, learner, potential
from tests.learner.runs import copper


class ByHand(Executor):
    """Takes tasks; the test says what each of them comes to, in any order."""

    def __init__(self):
        self.tasks = []  # of all that were handed in
        self._futures = {}

    def submit(self, fn, /, task):
        self.tasks.append(task)
        future = self._futures[len(self.tasks) - 1] = Future()
        future.set_running_or_notify_cancel()
        return future

    @property
    def open(self):
        """Places of the tasks that have no outcome."""
        return sorted(self._futures)

    def give(self, *places):
        for place in places or self.open:
            found = label(self.tasks[place])
            self._futures.pop(place).set_result(ComputedLabel(found.energy, found.forces, seconds=1.0))

    def fail(self, *places):
        for place in places:
            self._futures.pop(place).set_result(Failure("RuntimeError", "no"))

    def lose(self, place):
        self._futures.pop(place).set_exception(ConnectionError("worker lost"))


class TrainingsByHand:
    """Trainings end when the test says so."""

    def __init__(self):
        self.jobs, self.outcome, self.is_at_once = [], None, False

    def start(self, job):
        self.jobs.append(job)
        if self.is_at_once:
            self.end()

    def end(self, error=None):
        job = self.jobs[-1]
        ids = [entry.id for entry in job.entries]
        notes = {"label_ids": ids, "seed": 0, "final": job.final, "n_scratch": len(ids)}
        found = potential(ids, seed=0)
        self.outcome = error or TrainingResult(job.number, found, None, None, Training("warm", ""), notes)

    def poll(self):
        outcome, self.outcome = self.outcome, None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self):
        self.outcome = None


def background(folder, *, replay=None, **settings):
    """A loop, its executor and its trainings; the initial labels are there."""
    made = learner(folder, **settings)
    executor, trainings = ByHand(), TrainingsByHand()
    if not made.dataset.entries:
        tasks = made.begin([copper(k) for k in range(4)], Cause.INITIAL, "initial structures")
        made.tell({task.id: label(task) for task in tasks})
        made.train()
    labeller = Labeller(EMT, scratch=folder / "scratch", executor=executor)
    loop = Background(made, labeller, Reporter(None), trainings=trainings, replay=replay)
    return loop, executor, trainings
