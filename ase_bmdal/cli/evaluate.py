"""``ase-bmdal evaluate``: errors of a potential on labelled structures."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from ase_bmdal.cli.baseline import add_baseline_to, baseline_of
from ase_bmdal.cli.data import add_keys_to, read_labelled
from ase_bmdal.cli.errors import errors_text
from ase_bmdal.cli.quiet import load_potential


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("evaluate", help="errors of a potential on labelled structures")
    parser.add_argument("model", metavar="MODEL", help="model file, or run folder for its newest potential")
    parser.add_argument("data", metavar="DATA", help="labelled structures, in any file that ASE reads")
    add_keys_to(parser)
    add_baseline_to(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable, in eV, eV/Å and eV/Å³")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the errors."""
    structures, labels = read_labelled(arguments.data, arguments)
    baseline = baseline_of(arguments)
    load_potential()
    from ase_bmdal.learner.loading import load_model
    from ase_bmdal.report.errors import errors_of
    from ase_bmdal.structures.labels import summary

    model = load_model(arguments.model, baseline=baseline)
    if arguments.json:
        errors = errors_of(model.predict(structures), labels)
        content = {name: asdict(deviation) for name, deviation in errors.items()}
        print(json.dumps({"structures": len(structures), "labels": summary(labels), **content}))
    else:
        print(f"{summary(labels)}\n\n{errors_text(model, structures, labels, range(len(structures)))}")
