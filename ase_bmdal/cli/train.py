"""``ase-bmdal train``: a potential from labelled structures in a file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, TextIO

from ase_bmdal.cli.baseline import add_baseline_to, baseline_of
from ase_bmdal.cli.data import add_keys_to, add_model_to, expect_file, keys_of, read_labelled
from ase_bmdal.cli.errors import errors_text
from ase_bmdal.cli.quiet import load_potential
from ase_bmdal.common.terminal import StatusLines

if TYPE_CHECKING:
    from ase import Atoms

    from ase_bmdal.potential.fit import Epoch
    from ase_bmdal.structures.labels import Label


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
    parser.add_argument(
        "--epochs", type=int, help="how often each structure is used (default: 300, more of few)"
    )
    add_keys_to(parser)
    add_baseline_to(parser)
    parser.add_argument(
        "--atomic-energies",
        metavar="H=EV,C=EV",
        type=atomic_energies,
        help="energies of free atoms in eV, which decide what DATA leaves open",
    )
    add_model_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Train, write the model, print its errors."""
    expect_file(arguments.out)
    structures, labels = read_labelled(arguments.data, arguments)
    baseline, (valid, valid_labels) = baseline_of(arguments), _valid(arguments)
    load_potential()
    from ase_bmdal.potential.training import split, train
    from ase_bmdal.structures.labels import summary

    print(f"{arguments.data}: {summary(labels)}", flush=True)
    model = train(
        structures,
        valid=valid,
        cutoff=arguments.cutoff,
        epochs=arguments.epochs,
        seed=arguments.seed,
        baseline=baseline,
        **keys_of(arguments),
        atomic_energies=arguments.atomic_energies,
        on_epoch=Progress(sys.stderr),
    )
    model.save(arguments.out)
    known = {
        id(atoms): (label, place)
        for frames, found in ((structures, labels), (valid, valid_labels))
        if isinstance(frames, list)
        for place, (atoms, label) in enumerate(zip(frames, found, strict=True))
    }
    for name, frames in zip(
        ("training", "validation"), split(structures, valid, arguments.seed), strict=True
    ):
        if frames:
            of_frames, places = zip(*(known[id(atoms)] for atoms in frames), strict=True)
            print(f"\n{len(frames)} {name} structures\n\n{errors_text(model, frames, of_frames, places)}")
    print(f"\nModel: {arguments.out}")


def atomic_energies(text: str) -> dict[str, float]:
    """Read ``H=-13.6,C=-1030``.

    Raises
    ------
    ValueError
        If it is something else.
    """
    pairs = (part.partition("=") for part in text.split(","))
    return {symbol.strip(): float(energy) for symbol, _, energy in pairs}


def _valid(arguments: argparse.Namespace) -> tuple[list[Atoms] | float | None, list[Label]]:
    """What was said of validation, and the labels of it if it is a file."""
    if arguments.valid is None:
        return None, []
    try:
        return float(arguments.valid), []
    except ValueError:
        return read_labelled(arguments.valid, arguments)


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
