"""``ase-bmdal train``: a potential from labelled structures in a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ase_bmdal.cli.data import read_labelled
from ase_bmdal.cli.quiet import load_potential
from ase_bmdal.common.terminal import StatusLines

if TYPE_CHECKING:
    from ase import Atoms

    from ase_bmdal.potential.fit import Epoch


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("train", help="train a potential on labelled structures")
    parser.add_argument("data", metavar="DATA", help="labelled structures, in any file that ASE reads")
    parser.add_argument(
        "--valid",
        metavar="DATA|FRACTION",
        help="labelled structures that choose the best epoch, or the fraction of DATA to hold out for that "
        "(default: train on all, keep the last epoch)",
    )
    parser.add_argument("--cutoff", type=float, help="in Å (default: 5)")
    parser.add_argument("--epochs", type=int, help="how often each structure is used (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    parser.add_argument("--out", metavar="MODEL", type=Path, required=True, help="model file to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Train, write the model, print its errors."""
    if arguments.out.is_dir():
        raise ValueError(f"--out: expected the name of a file, got the folder {arguments.out}")
    structures, valid = read_labelled(arguments.data), _valid(arguments.valid)
    load_potential()
    from ase_bmdal.potential.training import split, train
    from ase_bmdal.report.errors import errors_of
    from ase_bmdal.report.tables import errors_table
    from ase_bmdal.structures.labels import labels_of

    train_set, valid_set = split(structures, valid, arguments.seed)
    model = train(
        train_set,
        valid=valid_set or None,
        cutoff=arguments.cutoff,
        epochs=arguments.epochs,
        seed=arguments.seed,
        on_epoch=Progress(sys.stderr),
    )
    model.save(arguments.out)
    for name, frames in (("training", train_set), ("validation", valid_set)):
        if frames:
            errors = errors_of(model.predict(frames), labels_of(frames))
            print(f"{len(frames)} {name} structures\n\n{errors_table(errors)}\n")
    print(f"Model: {arguments.out}")


def _valid(text: str | None) -> list[Atoms] | float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return read_labelled(text)


class Progress:
    """A status after every epoch.

    Parameters
    ----------
    stream
        Where it is shown, if it is a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._lines = StatusLines(stream)

    def __call__(self, epoch: Epoch) -> None:
        """Show an epoch."""
        valid = "" if epoch.valid_loss is None else f", validation {epoch.valid_loss:.4g}"
        text = f"epoch {epoch.number} of {epoch.of}, loss {epoch.train_loss:.4g}{valid}"
        self._lines.status("" if epoch.number == epoch.of else text)
