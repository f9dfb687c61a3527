"""Labels while simulations run: time to so many labels, and steps simulated by then, blocking and in the background.

The reference is EMT with a nap, so that the workers do not need the cores: a stand-in for a code on another machine.

    python examples/benchmarks/background.py --labels 60 --nap 5 --workers 4
"""

import argparse
import itertools
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from ase_bmdal import Convergence, OnTheFlyCalculator, Round


class Napping(EMT):  # type: ignore[misc]
    """EMT that takes its time."""

    def __init__(self, nap: float) -> None:
        super().__init__()
        self.nap = nap

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Compute, after a nap."""
        time.sleep(self.nap)
        super().calculate(atoms, properties, system_changes)


def measure(
    folder: Path, pool: ThreadPoolExecutor, how: argparse.Namespace, n_walkers: int, **settings: Any
) -> dict[str, float]:
    """Run simulations in turns until there are enough labels."""
    trainings: list[Round] = []
    calc = OnTheFlyCalculator(
        partial(Napping, how.nap),
        folder,
        executor=pool,
        max_labels=how.labels,
        epochs=how.epochs,
        convergence=Convergence(force_mae=0.0),
        on_event=lambda event: trainings.append(event) if isinstance(event, Round) else None,
        **settings,
    )
    dyns = [simulation(calc, how.temperature, number) for number in range(n_walkers)]
    start = time.perf_counter()
    with calc:
        while calc.learner.is_learning:
            calc.run(dyns, 10)
        seconds = time.perf_counter() - start
        calc.settle()
    return {
        "seconds": seconds,
        "steps": sum(dyn.nsteps for dyn in dyns),
        "labels": how.labels,
        "trainings": len(trainings),
        "training_seconds": sum(each.train_seconds for each in trainings),
        "waited_for_labels": sum(each.label_seconds for each in trainings),
    }


def simulation(calc: OnTheFlyCalculator, kelvin: float, number: int) -> Langevin:
    """Copper with silver, with a calculator and random numbers of its own."""
    atoms, rng = bulk("Cu", cubic=True) * (2, 2, 2), np.random.default_rng(number)
    atoms.symbols[::4] = "Ag"
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=rng)
    atoms.calc = calc.walker(f"walker {number}")
    friction = 0.01 / units.fs
    return Langevin(atoms, 2 * units.fs, temperature_K=kelvin, friction=friction, fixcm=False, rng=rng)


def main() -> None:
    """Measure both, and print a line of JSON for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--labels", type=int, default=60)
    options.add_argument("--nap", type=float, default=5.0, help="seconds for a label")
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--epochs", type=int, default=100, help="of a training from scratch")
    options.add_argument("--temperature", type=float, default=600.0, help="K")
    options.add_argument("--walkers", type=int, nargs="+", default=[1, 4], help="simulations at once")
    options.add_argument("--lead", type=int, default=1000, help="see BackgroundSettings")
    how = options.parse_args()
    ways: dict[str, dict[str, Any]] = {
        "blocking": {},
        "background": {"background": True, "lead": how.lead},
    }
    for n_walkers, (name, settings) in itertools.product(how.walkers, ways.items()):
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(how.workers) as pool:
            found = measure(Path(folder) / "run", pool, how, n_walkers, **settings)
        print(json.dumps({"loop": name, "walkers": n_walkers, **found}), flush=True)


if __name__ == "__main__":
    main()
