"""``ase-bmdal select``: which structures of a pool to label next."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase_bmdal.cli.data import read_structures
from ase_bmdal.cli.quiet import load_potential


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("select", help="which structures of a pool to label next")
    parser.add_argument("model", metavar="MODEL", help="model file, or run folder for its newest potential")
    parser.add_argument("--train", required=True, metavar="DATA", help="structures the model was trained on")
    parser.add_argument("--pool", required=True, metavar="DATA", help="structures to choose from")
    parser.add_argument(
        "--method", default="LCMD + FEAT(RP)", help="combination of the paper (default: %(default)s)"
    )
    parser.add_argument("--n", type=int, required=True, help="how many to choose")
    parser.add_argument("--seed", type=int, default=0, help="of random projections (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print places in the pool, counted from 0, in the order chosen."""
    from ase_bmdal.acquisition.combination import Combination

    combination = Combination.parse(arguments.method)
    train, pool = read_structures(arguments.train), read_structures(arguments.pool)
    if not 1 <= arguments.n <= len(pool):
        raise ValueError(f"--n: expected 1 to {len(pool)}, the size of the pool, got {arguments.n}")
    if combination.needs_labels:
        _expect_labels(pool, arguments)
    load_potential()
    from ase_bmdal.acquisition.candidates import candidates
    from ase_bmdal.calculator.gmnn import find_model

    model = find_model(Path(arguments.model))
    picks = candidates(combination, model, pool, train, seed=arguments.seed, draw=0).pick(arguments.n)
    print(*picks, sep="\n")
    if len(picks) < arguments.n:
        print(f"ase-bmdal: only {len(picks)} structures of the pool differ", file=sys.stderr)


def _expect_labels(pool: Sequence[Any], arguments: argparse.Namespace) -> None:
    from ase_bmdal.structures.labels import has_label

    for index, atoms in enumerate(pool):
        if not has_label(atoms):
            raise ValueError(
                f"{arguments.method} compares with labels: expected them on the whole pool, "
                f"{arguments.pool} has none on structure {index}"
            )
