"""``ase-bmdal select``: which structures of a pool to label next."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ase_bmdal.acquisition import DEFAULT
from ase_bmdal.cli.baseline import add_baseline_to, baseline_of
from ase_bmdal.cli.data import (
    add_keys_to,
    expect_writable,
    read_labelled,
    read_structures,
    write_structures,
)
from ase_bmdal.cli.quiet import load_potential

if TYPE_CHECKING:
    from ase import Atoms


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("select", help="which structures of a pool to label next")
    parser.add_argument("model", metavar="MODEL", help="model file, or run folder for its newest potential")
    parser.add_argument("--train", required=True, metavar="DATA", help="structures the model was trained on")
    parser.add_argument("--pool", required=True, metavar="DATA", help="structures to choose from")
    parser.add_argument(
        "--selection", default=DEFAULT, help="combination of the paper (default: %(default)s)"
    )
    parser.add_argument("--n", type=int, required=True, help="how many to choose")
    add_keys_to(parser)
    add_baseline_to(parser)
    parser.add_argument(
        "--out", metavar="FILE", help="write the chosen structures to it, in the format that its name says"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random projections (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print places in the pool, counted from 0, in the order chosen."""
    from ase_bmdal.acquisition.acquisition import Acquisition

    kernel = Acquisition.parse(arguments.selection).kernel
    if arguments.out is not None:
        expect_writable(arguments.out, [arguments.train, arguments.pool])
    train, pool = read_structures(arguments.train), read_structures(arguments.pool)
    if not 1 <= arguments.n <= len(pool):
        raise ValueError(f"--n: expected 1 to {len(pool)}, the size of the pool, got {arguments.n}")
    labelled = _labelled(arguments) if kernel.needs_labels else pool
    baseline = baseline_of(arguments)
    load_potential()
    from ase_bmdal.acquisition.select_batch import select_batch
    from ase_bmdal.learner.loading import load_model, read_potential

    if baseline or kernel.needs_labels:
        model = load_model(arguments.model, baseline=baseline)
    else:  # features are those of the network
        model = read_potential(arguments.model).potential
    how = {"selection": arguments.selection, "seed": arguments.seed}
    picks = select_batch(model, labelled, arguments.n, known=train, **how)
    print(*picks, sep="\n", flush=True)
    if arguments.out is not None:
        write_structures(arguments.out, [pool[index] for index in picks])
    if len(picks) < arguments.n:
        print(f"ase-bmdal: only {len(picks)} structures of the pool differ", file=sys.stderr)


def _labelled(arguments: argparse.Namespace) -> list[Atoms]:
    """The pool of a combination that compares with labels."""
    try:
        frames, labels = read_labelled(arguments.pool, arguments)
    except ValueError as error:
        raise ValueError(f"{arguments.selection} compares with labels on the whole pool: {error}") from None
    return [label.attach(atoms) for atoms, label in zip(frames, labels, strict=True)]
