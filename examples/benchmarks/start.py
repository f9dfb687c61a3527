"""Seconds until something happens: the import, the command line, a label worker at its first calculation."""

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from common import announce, parser, row, seconds_of, table

from ase_bmdal.labelling import Failure, Labeller

PROGRAM = Path(sys.executable).with_name("ase-bmdal")
COMMANDS = {
    "Python alone": (sys.executable, "-c", ""),
    "import ase_bmdal": (sys.executable, "-c", "import ase_bmdal"),
    "ase-bmdal --help": (PROGRAM, "--help"),
}


def xtb() -> Calculator:
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def until_first_step(reference: Callable[[], Any]) -> float:
    """Seconds of the first label less those of the second: process, imports, calculator."""
    atoms = molecule("CH3CH2OH")
    with (
        tempfile.TemporaryDirectory() as folder,
        Labeller(reference, scratch=Path(folder), n_workers=1) as labeller,
    ):
        first, second = (seconds_of(lambda: _label(labeller, atoms)) for _ in range(2))
    return first - second


def _label(labeller: Labeller, atoms: Any) -> None:
    ((_, outcome),) = labeller.label([atoms])
    if isinstance(outcome, Failure):
        raise RuntimeError(f"no label: {outcome}")


def main() -> None:
    wanted = parser(__doc__).parse_args()
    things = {name: partial(_run, command) for name, command in COMMANDS.items()}
    things["label worker until its first step, EMT"] = partial(until_first_step, EMT)
    if importlib.util.find_spec("tblite"):
        things["label worker until its first step, GFN2-xTB"] = partial(until_first_step, xtb)
    announce("Start")
    table("what", "s")
    for name, thing in things.items():
        row(name, statistics.median(thing() for _ in range(wanted.repeats)))


def _run(command: tuple[Any, ...]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
