"""``ase-bmdal distil``: a plain, fast potential from a run with a baseline."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ase_bmdal.cli.baseline import add_baseline_to, baseline_of
from ase_bmdal.cli.data import add_model_to, expect_file
from ase_bmdal.cli.quiet import load_potential
from ase_bmdal.common.terminal import StatusLines

CHANGES = ("n_frames", "temperatures", "epochs", "folds")


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "distil", help="a plain potential from a run with a baseline, as fast as any"
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="run folder")
    add_baseline_to(parser)
    parser.add_argument(
        "--frames", dest="n_frames", type=int, metavar="N", help="frames to label (default: 2000)"
    )
    parser.add_argument(
        "--temperatures",
        type=float,
        nargs="+",
        metavar="T",
        help="of the simulations that they come from, K (default: that of the run)",
    )
    parser.add_argument("--epochs", type=int, help="of each training (default: 60)")
    parser.add_argument(
        "--folds",
        type=int,
        help="trainings with a part of the labels held out, to know the errors (default: 2)",
    )
    add_model_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Distil, write the model, say what was lost."""
    expect_file(arguments.out)
    baseline = baseline_of(arguments)
    load_potential()
    from ase_bmdal.calculator.distillation import distil

    given = {name: getattr(arguments, name) for name in CHANGES}
    lines = StatusLines(sys.stderr)
    found = distil(
        arguments.run_folder,
        baseline=baseline,
        seed=arguments.seed,
        on_progress=lines.status,
        **{name: value for name, value in given.items() if value is not None},
    )
    lines.status("")
    found.save(arguments.out)
    print(f"{found}\nModel: {arguments.out}")
