"""A campaign of thousands of labels: the real learner and the real queue, on simulated workers and a simulated clock.

Labels take 60 to 600 s (log-normal), 2 % fail, 1 % take ten times as long. Simulations are always ahead: the pool is
full whenever the loop looks. Trainings take as long on the clock as one thread needs by the default recipe for ethanol,
measured first; what they would give is made up. What the driver does besides training is real, and timed.

    python examples/benchmarks/campaign.py --labels 10000 --workers 10 100 1000 --out campaign.jsonl
"""

import argparse
import heapq
import itertools
import json
import resource
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from common import announce, row, table

from ase_bmdal import (
    BackgroundSettings,
    LabellingSettings,
    ModelSettings,
    TrainingSettings,
    UncertaintyLimits,
    train,
)
from ase_bmdal.labelling import Failure
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.outcome import ComputedLabel, Outcome
from ase_bmdal.learner.background import Background
from ase_bmdal.learner.learner import Learner, Request
from ase_bmdal.learner.loops import Blocking, Loop
from ase_bmdal.learner.pool import Frame
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.training import PotentialTrainer, TrainingJob, TrainingResult
from ase_bmdal.run.events import Cause, Reporter
from ase_bmdal.run.folder import RunFolder
from ase_bmdal_experiments.loop import commit

SHORTEST, LONGEST = 60.0, 600.0  # seconds, of nearly all labels
FAILING, SLOW, HOW_SLOW = 0.02, 0.01, 10.0
N_INITIAL = 20
SHOWN = (
    "loop",
    "workers",
    "hours",
    "hours_to_99_percent",
    "ideal_hours",
    "used",
    "trainings",
    "training_hours",
    "driver_ms_per_label",
    "memory_MiB",
)
TINY = ModelSettings(hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)


@dataclass
class Clock:
    """Simulated seconds."""

    now: float = 0.0


@dataclass
class Cluster(Executor):
    """Workers whose labels come when the clock says so."""

    clock: Clock
    n_workers: int
    rng: np.random.Generator
    busy: float = 0.0  # seconds of workers
    ends: list[float] = field(default_factory=list)  # of labels, failures among them
    running: list[tuple[float, int, Any, Future[Any], float]] = field(default_factory=list)
    waiting: deque[tuple[Any, Future[Any]]] = field(default_factory=deque)
    number: Any = field(default_factory=itertools.count)

    def submit(self, fn: Callable[..., Any], /, task: Any) -> Future[Any]:  # type: ignore[override]
        """Take a task; begin it if there is a worker."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.waiting.append((task, future))
        self._begin()
        return future

    def advance(self, until: float = np.inf) -> bool:
        """Go on to the next label, if that comes in time; says whether one came."""
        if not self.running or self.running[0][0] > until:
            return False
        end, _, task, future, seconds = heapq.heappop(self.running)
        self.clock.now = max(self.clock.now, end)
        self.ends.append(self.clock.now)
        self._begin()
        future.set_result(self._outcome(task.atoms, seconds))
        return True

    def _begin(self) -> None:
        while self.waiting and len(self.running) < self.n_workers:
            task, future = self.waiting.popleft()
            seconds = duration(self.rng)
            self.busy += seconds
            heapq.heappush(self.running, (self.clock.now + seconds, next(self.number), task, future, seconds))

    def _outcome(self, atoms: Atoms, seconds: float) -> Outcome:
        if self.rng.random() < FAILING:
            return Failure("RuntimeError", "the SCF did not converge")
        return label(atoms, seconds)


def duration(rng: np.random.Generator) -> float:
    """Seconds of a label: 95 % within the usual, and some far beyond."""
    middle, width = np.log(SHORTEST * LONGEST) / 2, np.log(LONGEST / SHORTEST) / 4
    slow = HOW_SLOW if rng.random() < SLOW else 1.0
    return float(slow * np.exp(rng.normal(middle, width)))


def label(atoms: Atoms, seconds: float) -> ComputedLabel:
    """Springs to the origin."""
    return ComputedLabel(
        energy=float(np.sum(atoms.positions**2)), forces=-2 * atoms.positions, seconds=seconds
    )


class Training:
    """Trainings that take as long on the clock as they would; they give the potential there was."""

    def __init__(self, clock: Clock, settings: LearnerSettings, costs: Mapping[int, float]) -> None:
        self.clock, self.settings, self.costs = clock, settings, costs
        self.seconds, self.number, self.in_vain = 0.0, 0, 0.0
        self._trainer = PotentialTrainer(settings, lambda event: None, train=self._train)
        self._job: TrainingJob | None = None
        self.end = np.inf

    def start(self, job: TrainingJob) -> None:
        """Begin one."""
        before = self.seconds
        with self.apart():
            self._job, self._result = job, self._trainer.described(self._trainer.carry_out(job), job)
        self.end = self.clock.now + self.seconds - before

    def poll(self) -> TrainingResult | None:
        """What it gave, once the clock says so."""
        if self._job is None or self.clock.now < self.end:
            return None
        self._job, self.end = None, np.inf
        return self._result

    def close(self) -> None:
        """Give it up."""
        self._job, self.end = None, np.inf

    def _train(self, structures: Sequence[Atoms], *, training: Any, **how: Any) -> Any:
        n = len(structures)
        cost = np.interp(training.batch_size_for(n), list(self.costs), list(self.costs.values()))
        self.seconds += float(cost) * n * training.epochs_for(n)
        self.number += 1
        return potential()

    def blocking(self, structures: Sequence[Atoms], **how: Any) -> Any:
        """For a loop that waits."""
        before = self.seconds
        found = self._train(structures, **how)
        self.clock.now += self.seconds - before
        return found

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What this process does in place of another, which does not count as the driver's."""
        start = time.perf_counter()
        yield
        self.in_vain += time.perf_counter() - start


@cache
def potential() -> Any:
    """What a training gives."""
    return train(
        [made(atoms, EMT()) for atoms in frames(np.random.default_rng(0), 4)], epochs=1, architecture=TINY
    )


def made(atoms: Atoms, calc: Any) -> Atoms:
    """With forces."""
    atoms.calc = calc
    atoms.get_forces()
    return atoms


def frames(rng: np.random.Generator, n: int) -> list[Atoms]:
    """What simulations have found."""
    found = []
    for _ in range(n):
        atoms = molecule("H2O")
        atoms.positions += rng.normal(scale=0.05, size=(3, 3))
        found.append(atoms)
    return found


def costs_of_training() -> dict[int, float]:
    """Seconds that one structure takes in one epoch, by the number of structures in a step; by the default recipe."""
    structures = []
    for seed in range(64):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        structures.append(made(atoms, EMT()))
    return {n: cost_of_training(structures, n) for n in (2, 4, 8, 16, 32)}


def cost_of_training(structures: Sequence[Atoms], batch_size: int) -> float:
    """Seconds that one of them takes in one epoch."""
    times = []
    for epochs in (5, 5, 45):  # the first compiles
        start = time.process_time()  # as much as one thread needs, whoever else is at work
        train(structures, training=TrainingSettings(epochs=epochs, batch_size=batch_size))
        times.append(time.process_time() - start)
    return (times[2] - times[1]) / 40 / len(structures)


class Waits(Blocking):
    """The blocking loop, which goes on with the clock where it waits."""

    cluster: Cluster
    trainings: Training

    def _finish_round(self) -> None:
        with self.trainings.apart():
            super()._finish_round()

    def _poll(self) -> dict[int, Outcome]:
        self.cluster.advance()
        return super()._poll()


def campaign(
    folder: Path, how: argparse.Namespace, kind: str, n_workers: int, costs: Mapping[int, float]
) -> dict[str, Any]:
    """One campaign to its end."""
    rng, clock = np.random.default_rng(how.seed), Clock()
    cluster = Cluster(clock, n_workers, rng)
    batch_size = max(10, n_workers // 10) if kind == "background" else n_workers
    settings = LearnerSettings(
        selection=how.selection,
        architecture=TINY,
        batch_size=batch_size,
        pool_size=2 * batch_size,
        max_labels=how.labels,
        uncertainty=UncertaintyLimits(enabled=False),
        labelling=LabellingSettings(quorum=0.9 if kind == "quorum" else None),
        background=BackgroundSettings(
            concurrent=kind == "background", most_in_flight=n_workers + batch_size, **how.background
        ),
        convergence=replace(LearnerSettings().convergence, force_mae=0.0),
    )
    trainings = Training(clock, settings, costs)
    potential()  # now, not in the time that is taken
    learner = Learner(RunFolder(folder), settings, train=trainings.blocking)
    first = learner.begin(frames(rng, N_INITIAL), Cause.INITIAL, "initial structures")
    learner.tell({task.id: label(task.atoms, 1.0) for task in first})
    learner.train()
    start_of_run, clock.now, trainings.seconds, trainings.number = time.perf_counter(), 0.0, 0.0, 0
    labeller = Labeller(EMT, scratch=folder / "scratch", executor=cluster)
    loop: Loop
    if kind == "background":
        loop = Background(learner, labeller, Reporter(None), trainings=trainings)
        without_waiting(loop, cluster, trainings, rng)
    else:
        loop = Waits(learner, labeller, Reporter(None))
        loop.cluster, loop.trainings = cluster, trainings
        while learner.is_learning:
            if loop.has_room:
                offer(learner, rng)
                loop.round(Request(Cause.POOL_FULL), learner.generation)
            else:
                loop.settle()
    driver = time.perf_counter() - start_of_run - trainings.in_vain
    n_labels = len(learner.dataset.done) - N_INITIAL
    loop.close()
    return {
        "loop": kind,
        "workers": n_workers,
        "labels": n_labels,
        "hours": clock.now / 3600,
        "hours_to_99_percent": cluster.ends[len(cluster.ends) * 99 // 100] / 3600,
        "ideal_hours": cluster.busy / n_workers / 3600,
        "used": cluster.busy / n_workers / clock.now,
        "trainings": trainings.number,
        "training_hours": trainings.seconds / 3600,
        "driver_ms_per_label": 1000 * driver / n_labels,
        "memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "selection": how.selection,
        "costs_of_training": costs,
        "commit": commit(),
    }


def without_waiting(
    loop: Background, cluster: Cluster, trainings: Training, rng: np.random.Generator
) -> None:
    """Force calls of a simulation, which go on with the clock where there is nothing to do."""
    atoms, learner = molecule("H2O"), loop.learner
    while learner.is_learning or trainings.end < np.inf:
        loop.prepare(atoms)
        if learner.is_learning and loop.has_room:
            offer(learner, rng)
            loop.request(Request(Cause.POOL_FULL), learner.generation)
        elif not cluster.advance(until=trainings.end) and trainings.end < np.inf:
            cluster.clock.now = max(cluster.clock.now, trainings.end)


def offer(learner: Learner, rng: np.random.Generator) -> None:
    """Fill the pool."""
    for atoms in frames(rng, learner.settings.pool_size):
        if not learner.pool_is_full:
            learner.offer(Frame(atoms))


def main() -> None:
    """Each loop with each number of workers; what is in the file is not done again."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--labels", type=int, default=10_000)
    options.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    options.add_argument("--loops", nargs="+", default=["blocking", "quorum", "background"])
    options.add_argument("--selection", default="LCMD + FEAT(LL)")
    options.add_argument(
        "--costs",
        type=_costs,
        help="seconds of a structure in an epoch by the size of a step, as JSON; measured if not given",
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path)
    options.add_argument("--background", type=json.loads, default={}, help="BackgroundSettings, as JSON")
    how = options.parse_args()
    announce("A campaign")
    costs = how.costs or costs_of_training()
    for n, seconds in costs.items():
        print(f"a structure takes {1000 * seconds:.2f} ms of training in an epoch of steps of {n}")
    table(*SHOWN)
    for n_workers, kind in itertools.product(how.workers, how.loops):
        with tempfile.TemporaryDirectory() as folder:
            found = campaign(Path(folder) / "run", how, kind, n_workers, costs)
        row(*_shown(found))
        if how.out:
            with how.out.open("a") as file:
                file.write(json.dumps(found) + "\n")


def _costs(text: str) -> dict[int, float]:
    return {int(n): float(seconds) for n, seconds in json.loads(text).items()}


def _shown(found: Mapping[str, Any]) -> list[Any]:
    return [value for name, value in found.items() if name in SHOWN]


if __name__ == "__main__":
    main()
