"""``ase-bmdal evaluate``: errors of a potential on labelled structures."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ase_bmdal.cli.data import read_labelled
from ase_bmdal.cli.quiet import load_potential


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("evaluate", help="errors of a potential on labelled structures")
    parser.add_argument("model", metavar="MODEL", help="model file, or run folder for its newest potential")
    parser.add_argument("data", metavar="DATA", help="labelled structures, in any file that ASE reads")
    parser.add_argument("--json", action="store_true", help="machine-readable, in eV, eV/Å and eV/Å³")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the errors."""
    structures = read_labelled(arguments.data)
    load_potential()
    from ase_bmdal.calculator.gmnn import find_model
    from ase_bmdal.report.errors import errors_of
    from ase_bmdal.report.tables import errors_table
    from ase_bmdal.structures.labels import labels_of

    errors = errors_of(find_model(Path(arguments.model)).predict(structures), labels_of(structures))
    if arguments.json:
        content = {name: asdict(deviation) for name, deviation in errors.items()}
        print(json.dumps({"structures": len(structures), **content}))
    else:
        print(f"{len(structures)} structures\n\n{errors_table(errors)}")
