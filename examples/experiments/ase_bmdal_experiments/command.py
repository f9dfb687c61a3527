"""``ase-bmdal benchmark``: the learning curves of the paper, offline, on labelled data."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ase_bmdal.cli import add_baseline_to, baseline_of, load_potential, require
from ase_bmdal.common.terminal import StatusLines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase_bmdal import Acquisition
    from ase_bmdal_experiments.frames import Frames
    from ase_bmdal_experiments.loop import Learning, StepDone

SIZES = {
    "initial": "size of the first training set",
    "final": "size of the last training set",
    "batch": "structures added at each step",
    "valid": "structures that choose the best epoch (default: 200)",
    "pool": "limit on the pool (default: all that is left)",
    "test": "limit on the test set (default: the whole test file, or all that is left)",
}


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "benchmark", help="learning curves of the selection methods on labelled data"
    )
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(inner.add_parser("run", help="compute learning curves; goes on where it was stopped"))
    plot = inner.add_parser("plot", help="figures of finished or running benchmarks")
    plot.add_argument(
        "folders", metavar="DIR", type=Path, nargs="+", help="results; several for several batch sizes"
    )
    plot.add_argument("--out", type=Path, help="folder of the figures (default: the first DIR)")
    plot.set_defaults(run=run_plot)
    table = inner.add_parser("table", help="results as Markdown tables")
    table.add_argument("folder", metavar="DIR", type=Path, help="results")
    table.add_argument(
        "--sizes", type=int, nargs="+", default=(), help="of training sets to show (default: all)"
    )
    table.set_defaults(run=run_table)
    for each in (plot, table):
        each.add_argument(
            "--unit", choices=("kcal", "meV"), default="kcal", help="of energy (default: %(default)s)"
        )


def _add_run(parser: Any) -> None:
    parser.add_argument(
        "data", metavar="DATA", type=Path, nargs="?", help="labelled structures, .npz or any of ASE"
    )
    parser.add_argument(
        "test_data", metavar="TEST", type=Path, nargs="?", help="test set (default: split from DATA)"
    )
    parser.add_argument("--experiment", metavar="NAME", help="take everything not given from this experiment")
    parser.add_argument(
        "--data-folder", metavar="DIR", type=Path, help="where the files of the experiment are"
    )
    parser.add_argument("--labels", help="md17, rmd17, or names of arrays: ENERGIES,FORCES")
    parser.add_argument("--energy-only", action="store_true", help="leave forces out")
    parser.add_argument("--cutoff", type=float, help="in Å")
    for name, text in SIZES.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=text)
    parser.add_argument("--selection", nargs="+", metavar="NAME", help='such as "LCMD + FEAT(RP)", or all')
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="(default: 0)")
    parser.add_argument("--recipe", choices=("default", "paper"), help="how potentials are trained")
    parser.add_argument("--epochs", type=int, help="overrides those of the recipe")
    parser.add_argument(
        "--warm-epochs",
        type=int,
        metavar="N",
        help="train every potential but the first for so long, from the one before (default: from scratch)",
    )
    parser.add_argument("--minibatch", type=int, help="overrides that of the recipe")
    add_baseline_to(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of results")
    kept = "Interrupted: all finished steps are kept in {out}; the same command goes on."
    parser.set_defaults(run=run_curves, if_interrupted=kept)


def run_curves(arguments: argparse.Namespace) -> None:
    """Compute what is not there yet."""
    data_file, test_file = _take_experiment(arguments)
    load_potential()
    from ase_bmdal_experiments.data import fingerprint, read_frames
    from ase_bmdal_experiments.settings import BenchmarkSettings, recipe
    from ase_bmdal_experiments.split import make_split

    data = _frames(read_frames(data_file, arguments.labels), arguments)
    test = None if test_file is None else _frames(read_frames(test_file, arguments.labels), arguments)
    baseline = baseline_of(arguments)
    has_forces = data.forces is not None
    combinations = _combinations(arguments.selection, has_forces)
    architecture, training = recipe(arguments.recipe or "default", cutoff=arguments.cutoff, forces=has_forces)
    changes = {"epochs": arguments.epochs, "batch_size": arguments.minibatch}
    training = replace(training, **{name: value for name, value in changes.items() if value is not None})
    sizes = {name: value for name in SIZES if (value := getattr(arguments, name)) is not None}
    settings = BenchmarkSettings(
        data=f"{data_file.name} {fingerprint(data_file)}",
        test_data=None if test_file is None else f"{test_file.name} {fingerprint(test_file)}",
        labels=arguments.labels,
        forces=has_forces,
        architecture=architecture,
        training=training,
        warm_epochs=arguments.warm_epochs,
        baseline=tuple(arguments.baseline or ()),
        **sizes,
    )
    from ase_bmdal_experiments.loop import run_benchmark

    seeds = arguments.seeds or [0]
    if baseline is not None:
        make_split(settings, len(data), None if test is None else len(test), seeds[0])
        data = _subtracted(data, baseline, arguments.out / "baseline.npz")
        test = None if test is None else _subtracted(test, baseline, arguments.out / "baseline-test.npz")
    run_benchmark(settings, data, test, combinations, seeds, arguments.out, Progress(sys.stdout))
    print(f"Results: {arguments.out}")


def _take_experiment(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """Fill in what was not given; names of the data file and of the test file."""
    from ase_bmdal_experiments.experiments import experiment

    if arguments.experiment is not None:
        chosen = experiment(arguments.experiment)
        if arguments.data is None and arguments.data_folder is None:
            raise ValueError(f"--data: expected the folder of {chosen.data} and {chosen.test_data}, got none")
        if arguments.data is None:
            arguments.data = arguments.data_folder / chosen.data
            arguments.test_data = arguments.data_folder / chosen.test_data
        for name in ("labels", "cutoff", "selection", "seeds", "recipe", "warm_epochs", *SIZES):
            if getattr(arguments, name) is None:
                setattr(arguments, name, getattr(chosen, name))
    needed = ("data", "cutoff", "initial", "final", "batch", "selection")
    missing = [name for name in needed if getattr(arguments, name) is None]
    if missing:
        raise ValueError(f"expected {', '.join(missing)} or an --experiment, got none")
    return arguments.data, arguments.test_data


def _frames(frames: Frames, arguments: argparse.Namespace) -> Frames:
    return replace(frames, forces=None) if arguments.energy_only else frames


def _subtracted(frames: Frames, baseline: Sequence[Callable[[], Any]], path: Path) -> Frames:
    from ase_bmdal import Baseline
    from ase_bmdal_experiments.subtract import subtracted

    lines = StatusLines(sys.stdout)
    return subtracted(
        frames,
        Baseline(baseline),
        path,
        lambda done, of: lines.status("" if done == of else f"baseline: {done} of {of} structures"),
    )


def _combinations(names: Sequence[str], has_forces: bool) -> list[Acquisition]:
    """Combinations by name; ``all`` are those that the data have labels for."""
    from ase_bmdal import COMBINATIONS, Acquisition

    if [name.lower() for name in names] == ["all"]:
        names = [name for name in COMBINATIONS if has_forces or name != "MAXDIAG + AE(F)"]
    return [Acquisition.parse(name) for name in names]


def run_plot(arguments: argparse.Namespace) -> None:
    """Write the figures."""
    require("matplotlib")
    from ase_bmdal_experiments.curves import read_results
    from ase_bmdal_experiments.figures import write_figures

    folders = [read_results(path) for path in arguments.folders]
    for path in write_figures(folders, arguments.out or arguments.folders[0], arguments.unit):
        print(path)


def run_table(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    from ase_bmdal_experiments.curves import read_results
    from ase_bmdal_experiments.tables import results_text

    print(results_text(read_results(arguments.folder), arguments.unit, arguments.sizes))


class Progress:
    """A line for each step, and at a terminal one that is overwritten after every epoch.

    Parameters
    ----------
    stream
        Where it is shown.
    """

    def __init__(self, stream: TextIO) -> None:
        self._lines = StatusLines(stream)
        self._left = ""

    def __call__(self, event: Learning | StepDone) -> None:
        """Show an event."""
        from ase_bmdal_experiments.loop import StepDone

        if isinstance(event, StepDone):
            self._left = f", {duration(event.seconds_left)} left"
            self._lines.line(f"{_step_text(event)}{self._left}")
        else:
            text = f"{event.method}, seed {event.seed}, {event.n_train} structures: epoch {event.epoch} of {event.of}"
            self._lines.status(f"{text}{self._left}")


def _step_text(event: StepDone) -> str:
    record = event.record
    quantity, unit = ("forces", "meV/Å") if "forces" in record["errors"] else ("energy", "meV")
    errors = record["errors"][quantity]
    return (
        f"[{event.done}/{event.of}] {record['method']}, seed {record['seed']}, {record['n_train']} structures: "
        f"{quantity} MAE {1000 * errors['mae']:.1f}, RMSE {1000 * errors['rmse']:.1f}, "
        f"MAXE {1000 * errors['maxe']:.0f} {unit}; {sum(record['seconds'].values()):.0f} s"
    )


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 40 s, 12 min, 3 h 5 min."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
