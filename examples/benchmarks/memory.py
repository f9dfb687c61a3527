"""Memory of this process over a long run that learns, copper at 300 K with EMT as the reference."""

import argparse
import tempfile
from pathlib import Path

from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from common import TEMPERATURE, announce, memory, row, table

from ase_bmdal import Convergence, OnTheFlyCalculator, Retraining
from ase_bmdal.run.events import Event, Round


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=100_000, help="of the run (%(default)s)")
    options.add_argument("--every", type=int, default=10_000, help="steps between readings (%(default)s)")
    options.add_argument("--epochs", type=int, default=100, help="of a training from scratch (%(default)s)")
    options.add_argument("--labels", type=int, default=200, help="after which it only predicts (%(default)s)")
    wanted = options.parse_args()
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    labels = [0]

    def count(event: Event) -> None:
        if isinstance(event, Round):
            labels.append(event.labels)

    announce("Memory of a long run")
    table("steps", "labels", "resident, MiB")
    with (
        tempfile.TemporaryDirectory() as folder,
        OnTheFlyCalculator(
            EMT,
            Path(folder) / "run",
            cutoff=5.0,
            epochs=wanted.epochs,
            retraining=Retraining(epochs=max(1, wanted.epochs // 10)),
            pool_size=100,
            pool_interval=max(1, wanted.steps // 4000),
            max_labels=wanted.labels,
            convergence=Convergence(force_mae=0.0),
            on_event=count,
        ) as atoms.calc,
    ):
        simulation = Langevin(
            atoms, 2 * units.fs, temperature_K=TEMPERATURE, friction=0.01 / units.fs, fixcm=False
        )
        for _ in range(wanted.steps // wanted.every):
            simulation.run(wanted.every)
            row(simulation.nsteps, labels[-1], memory("VmRSS"))


if __name__ == "__main__":
    main()
