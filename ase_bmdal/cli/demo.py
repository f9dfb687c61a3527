"""``ase-bmdal demo``: ethanol at 500 K learns GFN2-xTB while it moves, and is put to the test."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_bmdal.acquisition import DEFAULT
from ase_bmdal.cli.data import require
from ase_bmdal.cli.quiet import load_potential

if TYPE_CHECKING:
    from ase import Atoms

    from ase_bmdal.potential.gmnn import Potential
    from ase_bmdal.potential.with_baseline import WithBaseline
    from ase_bmdal.report.errors import ForcePairs

MOLECULE = "CH3CH2OH"
METHOD = "GFN2-xTB"
BASELINE = "GFN1-xTB"
TEMPERATURE = 500  # K
TIMESTEP = 0.5  # fs
FRICTION = 0.02  # 1/fs
CUTOFF = 5.0  # Å
BATCH_SIZE = 10
POOL_SIZE = 1000  # spread over the simulation: conformers interchange once in a picosecond
POOL_INTERVAL = 1
STEPS = 5000
MAX_LABELS = 100
MAX_LABELS_WITH_BASELINE = 20  # of frames far apart: the baseline holds the simulation meanwhile
BATCH_SIZE_WITH_BASELINE = 5
POOL_INTERVAL_WITH_BASELINE = 100
FIRST_ACT, SECOND_ACT = Path("ethanol-demo"), Path("ethanol-demo-baseline")

TEST_FRAMES = 50
TEST_EQUILIBRATION = 1000  # steps
TEST_SPACING = 25  # steps
FIGURE = "learning.png"


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("demo", help="ethanol learns GFN2-xTB while it moves, in some minutes")
    parser.add_argument(
        "--directory",
        type=Path,
        default=FIRST_ACT,
        help=f"run folder (default: %(default)s, with a baseline {SECOND_ACT})",
    )
    parser.add_argument("--baseline", action="store_true", help=f"learn the difference to {BASELINE}")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    parser.add_argument("--selection", default=DEFAULT, help="combination (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the simulation (default: %(default)s)")
    parser.add_argument(
        "--max-labels",
        type=int,
        help=f"reference calculations (default: {MAX_LABELS}, with a baseline {MAX_LABELS_WITH_BASELINE})",
    )
    kept = (
        "Interrupted: all labels and the newest potential are kept in {directory}; the same command goes on."
    )
    parser.set_defaults(run=run, if_interrupted=kept)


def run(arguments: argparse.Namespace) -> None:
    """Simulate, test, draw."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # GFN2-xTB of nine atoms is slower on more
    if arguments.baseline and arguments.directory is FIRST_ACT:  # the default, not what was named
        arguments.directory = SECOND_ACT
    if arguments.max_labels is None:
        arguments.max_labels = MAX_LABELS_WITH_BASELINE if arguments.baseline else MAX_LABELS
    _check(arguments)
    start = time.perf_counter()
    print(
        f"{MOLECULE}, {arguments.steps} steps of {TIMESTEP} fs at {TEMPERATURE} K, reference {METHOD}"
        f"{f', baseline {BASELINE}' * arguments.baseline}, {arguments.selection}; run folder {arguments.directory}",
        flush=True,
    )
    if (arguments.directory / "labels.db").exists():
        print("This folder holds a run already: it is taken up where it ended.", flush=True)
    pairs, text = put_to_the_test(learn(arguments), arguments.seed)
    n_labels = draw(arguments.directory / FIGURE, pairs)
    print(text)
    print(f"{n_labels} labels, {time.perf_counter() - start:.0f} s; figure: {arguments.directory / FIGURE}")


def _check(arguments: argparse.Namespace) -> None:
    from ase_bmdal.acquisition.acquisition import Acquisition

    require("tblite", "matplotlib")
    Acquisition.parse(arguments.selection)
    for name in ("steps", "max_labels"):
        if getattr(arguments, name) < 1:
            option = name.replace("_", "-")
            raise ValueError(f"--{option}: expected at least 1, got {getattr(arguments, name)}")


def reference() -> Any:
    """The calculator that is learned."""
    from tblite.ase import TBLite

    return TBLite(method=METHOD, verbosity=0)


def baseline() -> Any:
    """The calculator that the difference is to."""
    from tblite.ase import TBLite

    return TBLite(method=BASELINE, verbosity=0)


def learn(arguments: argparse.Namespace) -> Potential | WithBaseline:
    """Run the simulation that learns; gives its last potential."""
    load_potential()
    from ase_bmdal.calculator.on_the_fly import OnTheFlyCalculator
    from ase_bmdal.learner.loading import load_model
    from ase_bmdal.report.console import Console

    cheap = baseline if arguments.baseline else None
    with OnTheFlyCalculator(
        reference,
        arguments.directory,
        baseline=cheap,
        cutoff=CUTOFF,
        selection=arguments.selection,
        batch_size=BATCH_SIZE_WITH_BASELINE if cheap else BATCH_SIZE,
        pool_size=POOL_SIZE,
        pool_interval=POOL_INTERVAL_WITH_BASELINE if cheap else POOL_INTERVAL,
        max_labels=arguments.max_labels,
        seed=arguments.seed,
        on_event=Console(sys.stdout),
    ) as calculator:
        calculator.run(dynamics(calculator, arguments.seed, "demo"), arguments.steps)
    return load_model(arguments.directory, baseline=cheap)


def dynamics(calculator: Any, seed: int, name: str) -> Any:
    """Langevin dynamics of the molecule at its temperature."""
    import numpy as np
    from ase import units
    from ase.build import molecule
    from ase.md.langevin import Langevin

    from ase_bmdal.common.randomness import stream

    atoms = molecule(MOLECULE)
    atoms.calc = calculator
    rng = stream(seed, name)
    spread = np.sqrt(TEMPERATURE * units.kB * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * rng.standard_normal(atoms.positions.shape))
    return Langevin(
        atoms,
        TIMESTEP * units.fs,
        temperature_K=TEMPERATURE,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=rng,
    )


def independent_frames(seed: int) -> list[Atoms]:
    """Labelled frames of a trajectory that the reference itself drives."""
    from ase_bmdal.structures.labels import label_of

    simulation = dynamics(reference(), seed, "independent trajectory")
    simulation.run(TEST_EQUILIBRATION)
    frames = []
    for _ in range(TEST_FRAMES):
        simulation.run(TEST_SPACING)
        frames.append(label_of(simulation.atoms).attach(simulation.atoms))
    return frames


def put_to_the_test(model: Potential | WithBaseline, seed: int) -> tuple[ForcePairs, str]:
    """Errors on the independent trajectory, as numbers and as a line of text."""
    from ase_bmdal.report.errors import errors_of, force_pairs
    from ase_bmdal.structures.labels import labels_of

    frames = independent_frames(seed)
    predicted, labels = model.predict(frames), labels_of(frames)
    errors = errors_of(predicted, labels)
    text = (
        f"On {len(frames)} frames of an independent trajectory driven by {METHOD}: "
        f"forces MAE {1000 * errors['forces'].mae:.0f}, RMSE {1000 * errors['forces'].rmse:.0f} meV/Å; "
        f"energy MAE {1000 * errors['energy_per_atom'].mae:.1f} meV/atom"
    )
    return force_pairs(predicted, labels), text


def draw(path: Path, pairs: ForcePairs) -> int:
    """Write the figure of the run folder it goes into; gives the number of its labels."""
    from ase_bmdal.report.figures import learning_figure, save_figure
    from ase_bmdal.report.run import read_run

    found = read_run(path.parent)
    title = f"{TEST_FRAMES} frames of an independent trajectory"
    save_figure(learning_figure(found, pairs, title), path)
    return len(found.of_status("done"))
