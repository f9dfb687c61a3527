"""What a plain potential keeps of one with a baseline: aspirin, labels of MD17, GFN2-xTB.

    python examples/benchmarks/baseline/distillation.py DATA --out DIR

DATA is the folder with ``aspirin_pool.npz`` and ``aspirin_test.npz`` as `ase-bmdal benchmark` reads them. Writes one
JSON object to ``DIR/distillation.jsonl``; the run folder stays in DIR, and is taken up again.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ase import Atoms
from gfn2 import gfn2

from ase_bmdal import GMNNCalculator, OnTheFlyCalculator, distil
from ase_bmdal_experiments.data import KCAL_PER_MOL, read_frames
from ase_bmdal_experiments.loop import commit

N_TEST = 1000
LABELS = "md17"
CUTOFF = 4.0
CALLS = 200


def main() -> None:
    """Train on some labels with the baseline, distil, test both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--frames", type=int, default=3200)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--label-share", type=float, default=0.3)
    parser.add_argument("--temperature", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run = arguments.out / f"labels-{arguments.labels}-seed-{arguments.seed}"
    teach(arguments, run)
    test = read_frames(arguments.data / "aspirin_test.npz", LABELS)[:N_TEST]
    start = time.perf_counter()
    found = distil(
        run,
        baseline=gfn2,
        seed=arguments.seed,
        n_frames=arguments.frames,
        temperatures=(arguments.temperature,),
        epochs=arguments.epochs,
        label_share=arguments.label_share,
        on_progress=lambda text: print(f"\r{text}   ", end="", flush=True),
    )
    seconds = time.perf_counter() - start
    found.save(arguments.out / f"{run.name}.npz")
    print(f"\n{found}")
    result = {
        **{name: value for name, value in vars(arguments).items() if name not in ("data", "out")},
        "losses": {name: loss and asdict(loss) for name, loss in found.losses._asdict().items()},
        "teacher": errors(GMNNCalculator(run, baseline=gfn2), test),
        "student": errors(GMNNCalculator(found.potential, error_model=found.error_model), test),
        "seconds": seconds,
        "commit": commit(),
    }
    print(json.dumps(result, indent=1))
    with (arguments.out / "distillation.jsonl").open("a") as file:
        file.write(json.dumps(result) + "\n")


def teach(arguments: argparse.Namespace, run: Path) -> None:
    """A run that knows some labels, drawn at random."""
    frames = read_frames(arguments.data / "aspirin_pool.npz", LABELS)
    places = np.random.default_rng(arguments.seed).permutation(len(frames))[: arguments.labels]
    with OnTheFlyCalculator(
        gfn2,  # never asked: all labels are given
        run,
        initial=[frames[int(place)] for place in places],
        baseline=gfn2,
        cutoff=CUTOFF,
        max_labels=arguments.labels,
        seed=arguments.seed,
    ) as calc:
        atoms = frames[int(places[0])].copy()
        atoms.calc = calc
        atoms.get_forces()


def errors(calculator: GMNNCalculator, test: list[Atoms]) -> dict[str, float]:
    """Errors on the test frames in kcal/mol/Å, atoms within their bounds, and the time of a force call in a row."""
    found, bounds, times = [], [], []
    for frame in test:
        atoms = frame.copy()
        start = time.perf_counter()
        atoms.calc = calculator
        found.append(atoms.get_forces() - frame.get_forces())
        times.append(time.perf_counter() - start)
        bounds.append(calculator.results["forces_uncertainty"])
    all_errors = np.array(found)
    norms = np.linalg.norm(all_errors, axis=-1)
    return {
        "mae": float(np.abs(all_errors).mean() / KCAL_PER_MOL),
        "rmse": float(np.sqrt(np.square(all_errors).mean()) / KCAL_PER_MOL),
        "largest": float(norms.max()),
        "within_bounds": float((norms <= np.array(bounds)).mean()),
        "milliseconds": 1000 * float(np.median(times[:CALLS])),
    }


if __name__ == "__main__":
    main()
