"""All learning curves of a benchmark, one after the other; goes on where it was stopped."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import ase_bmdal
from ase_bmdal import Acquisition, Epoch, Error, Potential, RunFolderError, read_model, save_model
from ase_bmdal_experiments.folder import Curve, Record, ResultsFolder
from ase_bmdal_experiments.frames import Frames
from ase_bmdal_experiments.settings import BenchmarkSettings
from ase_bmdal_experiments.split import make_split
from ase_bmdal_experiments.step import Stopwatch, Task, finish_step


@dataclass(frozen=True)
class Learning:
    """An epoch is over. `n_train` is the size of the training set."""

    method: str
    seed: int
    n_train: int
    epoch: int
    of: int


@dataclass(frozen=True)
class StepDone:
    """A step is on disk.

    Attributes
    ----------
    record
        What was written.
    done, of
        Steps of all curves that are finished, and how many there are.
    seconds_left
        Estimate for the rest.
    """

    record: Record
    done: int
    of: int
    seconds_left: float


Listener = Callable[[Learning | StepDone], None]


def run_benchmark(
    settings: BenchmarkSettings,
    data: Frames,
    test: Frames | None,
    combinations: Sequence[Acquisition],
    seeds: Sequence[int],
    out: Path,
    listener: Listener = lambda event: None,
) -> None:
    """Compute what is not there yet.

    Parameters
    ----------
    settings
        What all curves have in common.
    data
        Structures to split, and to learn from.
    test
        Structures to test with; None splits them from `data`.
    combinations, seeds
        One curve for each pair.
    out
        Folder of results.
    listener
        Called after each epoch and after each step.

    Raises
    ------
    ValueError
        If the sizes do not fit the data, or a method needs labels that it does not have.
    RunFolderError
        If the folder holds results of another setting.
    TrainingError
        As `train`.
    """
    if not combinations or not seeds:
        raise ValueError("expected at least one method and one seed, got none")
    check_labels(combinations, data, test, settings)
    n_test = None if test is None else len(test)
    splits = {seed: make_split(settings, len(data), n_test, seed) for seed in seeds}
    folder = ResultsFolder(out, settings)
    methods = list(dict.fromkeys(combinations))
    clock = _Clock(settings, [(each, folder.curve(each, seed)) for seed in splits for each in methods])
    for seed, split in splits.items():
        task = Task(settings, data, data if test is None else test, split, seed)
        for combination in methods:
            _run_curve(folder, task, combination, clock, listener)


def check_labels(
    combinations: Sequence[Acquisition], data: Frames, test: Frames | None, settings: BenchmarkSettings
) -> None:
    """Refuse methods that need labels which the data do not have.

    Raises
    ------
    ValueError
        Naming the method, or the file.
    """
    for name, frames in (("data", data), ("test file", test)):
        if frames is not None and (frames.forces is not None) != settings.forces:
            wanted = ("energies only", "forces")[settings.forces]
            raise ValueError(
                f"expected {wanted} in the {name}, got {('forces', 'energies only')[settings.forces]}"
            )
    for each in combinations:
        if each.kernel.name == "AE(F)" and not settings.forces:
            raise ValueError(f"{each} compares with forces: expected them in the data, got energies only")


def _run_curve(
    folder: ResultsFolder, task: Task, combination: Acquisition, clock: "_Clock", listener: Listener
) -> None:
    curve = folder.curve(combination, task.seed)
    with curve.lock():
        records = curve.read()
        for step in range(len(records), len(task.settings.sizes)):
            places = [*task.split.initial.tolist(), *(place for each in records for place in each["picked"])]
            if len(places) < task.settings.initial + step:
                raise Error(
                    f"{combination}, seed {task.seed}: found no structures to add after step {step - 1}"
                )
            clock.start()
            watch = Stopwatch()
            tell = partial(_tell, listener, str(combination), task.seed, len(places))
            model = _model(folder, task, combination, step, places, watch, tell)
            record = {
                "method": str(combination),
                "seed": task.seed,
                "step": step,
                **finish_step(task, combination, step, places, model, watch),
                "settings": folder.digest,
                "version": ase_bmdal.__version__,
                "commit": commit(),
            }
            curve.append(record)
            records.append(record)
            clock.stop(combination, len(places))
            listener(StepDone(record, clock.done, clock.of, clock.seconds_left))


def _model(
    folder: ResultsFolder,
    task: Task,
    combination: Acquisition,
    step: int,
    places: list[int],
    watch: Stopwatch,
    tell: Callable[[Epoch], None],
) -> Potential:
    """The potential of a step, trained unless it is kept already."""
    warm = task.settings.warm_epochs is not None
    path = folder.model(combination, task.seed, step)
    notes = {"settings": folder.digest, "step": step}
    if step == 0 or warm:
        found = _kept(path, notes)
        if found is not None:
            model, watch.seconds["training"] = found
            return model
    start = None
    if step > 0 and warm:
        before = folder.model(combination, task.seed, step - 1)
        found = _kept(before, {**notes, "step": step - 1})
        if found is None:
            raise RunFolderError(
                f"{combination}, seed {task.seed}: expected the potential of step {step - 1} in {before}, which "
                "the next one goes on from; without it the curve has to be computed anew in another folder"
            )
        start, _ = found
    with watch.timing("training"):
        model = task.train(places, step, combination.n_models, tell, start)
    if step == 0 or warm:
        save_model(path, model, {**notes, "seconds": watch.seconds["training"]})
    return model


def _kept(path: Path, notes: dict[str, Any]) -> tuple[Potential, float] | None:
    """A potential that was kept with these notes, and the seconds it was trained for."""
    if not path.exists():
        return None
    model, found, _ = read_model(path)
    return (model, found["seconds"]) if notes.items() <= found.items() else None


def _tell(listener: Listener, method: str, seed: int, n_train: int, epoch: Epoch) -> None:
    listener(Learning(method, seed, n_train, epoch.number, epoch.of))


class _Clock:
    """Time left, from the steps done so far: training takes longer the more structures and models there are."""

    def __init__(self, settings: BenchmarkSettings, curves: Sequence[tuple[Acquisition, Curve]]) -> None:
        sizes = settings.sizes
        self.of = len(sizes) * len(curves)
        self.done = 0
        self._work_left = 0.0
        for combination, curve in curves:
            n_done = len(curve.read())
            self.done += n_done
            self._work_left += sum(_work(combination, size) for size in sizes[n_done:])
        self._seconds = self._work = self._started = 0.0

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self, combination: Acquisition, size: int) -> None:
        work = _work(combination, size)
        self._seconds += time.perf_counter() - self._started
        self._work += work
        self._work_left -= work
        self.done += 1

    @property
    def seconds_left(self) -> float:
        return float(np.clip(self._work_left, 0, None)) * self._seconds / self._work


def _work(combination: Acquisition, size: int) -> float:
    return float(combination.n_models * size)


@cache
def commit() -> str | None:
    """Commit of this package, if it runs from its own repository."""
    home = Path(ase_bmdal.__file__).resolve().parent.parent
    if not (home / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(home), "rev-parse", "HEAD"]
        answer: Any = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return str(answer.stdout.strip())
