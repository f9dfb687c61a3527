"""``ase-bmdal report``: a run folder as tables and figures."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ase_bmdal.cli.data import require

FIGURE = "report.png"


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("report", help="a run folder, finished or not, as tables and figures")
    parser.add_argument(
        "run_folder", metavar="RUN", type=Path, help="run folder; figures are written into it"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the tables, write the figure."""
    from ase_bmdal.report.run import read_run
    from ase_bmdal.report.tables import report_text

    found = read_run(arguments.run_folder)
    print(report_text(found))
    sys.stdout.flush()
    require("matplotlib")
    from ase_bmdal.report.figures import learning_figure, save_figure

    path = arguments.run_folder / FIGURE
    save_figure(learning_figure(found), path)
    print(f"\nFigure: {path}")
