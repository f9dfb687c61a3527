"""A real density functional that everybody can install: PBE/def2-SVP of ethanol by PySCF; baseline GFN2-xTB.

    python examples/benchmarks/baseline/pbe.py --out DIR [--no-baseline] [--labels 30] [--seed 0]

A simulation at 500 K learns while it moves. Its potential is tested on 100 frames of an independent trajectory of
GFN2-xTB with labels of PBE, which are made first (half an hour on one core) and kept in ``DIR/test.xyz``. Writes one
JSON object to ``DIR/pbe.jsonl``; run folders stay in DIR, and are taken up again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from gfn2 import gfn2

from ase_bmdal import GMNNCalculator, OnTheFlyCalculator
from ase_bmdal_experiments.loop import commit

TEMPERATURE = 500.0  # K
N_TEST, EVERY = 100, 200  # frames, and steps between two of them
STEPS = 4000
INTERVAL = 50  # steps between two frames of the pool: labels far apart are worth more
CUTOFF = 5.0


def pbe() -> Any:
    """PBE/def2-SVP with density fitting, for ethanol."""
    from pyscf import gto
    from pyscf.pbc.tools.pyscf_ase import PySCF

    atoms = molecule("CH3CH2OH")
    structure = list(zip(atoms.symbols, atoms.positions, strict=True))
    method = gto.M(atom=structure, basis="def2-svp", verbose=0).RKS(xc="pbe").density_fit()
    return PySCF(method=method)


def dynamics(atoms: Atoms, seed: int) -> Langevin:
    """A simulation from rest at the equilibrium of another method."""
    rng = np.random.default_rng(seed)
    thermalize_momenta(atoms, temperature_K=TEMPERATURE, rng=rng)
    return Langevin(
        atoms, 0.5 * units.fs, temperature_K=TEMPERATURE, friction=0.02 / units.fs, fixcm=False, rng=rng
    )


def test_frames(path: Path) -> list[Atoms]:
    """Frames of GFN2-xTB with labels of PBE; those that are there are kept."""
    done = read(path, ":") if path.exists() else []
    if len(done) == N_TEST:
        return done
    atoms, calc = molecule("CH3CH2OH"), pbe()
    atoms.calc = gfn2()
    dyn = dynamics(atoms, seed=1000)
    dyn.run(5 * EVERY)
    for number in range(N_TEST):
        dyn.run(EVERY)
        if number >= len(done):
            frame = atoms.copy()
            frame.calc = calc
            results = {"energy": frame.get_potential_energy(), "forces": frame.get_forces()}
            frame.calc = SinglePointCalculator(frame, **results)
            write(path, frame, append=True)
            done.append(frame)
            print(f"\r{number + 1} of {N_TEST} test frames", end="", flush=True)
    return done


def main() -> None:
    """Learn while a simulation runs, and test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-baseline", action="store_true")
    how = parser.parse_args()
    how.out.mkdir(parents=True, exist_ok=True)
    test = test_frames(how.out / "test.xyz")
    baseline = None if how.no_baseline else gfn2
    run = how.out / f"{'plain' if how.no_baseline else 'difference'}-{how.labels}-seed-{how.seed}"
    start, atoms = time.perf_counter(), molecule("CH3CH2OH")
    with OnTheFlyCalculator(
        pbe,
        run,
        baseline=baseline,
        cutoff=CUTOFF,
        pool_interval=INTERVAL,
        max_labels=how.labels,
        seed=how.seed,
    ) as calc:
        atoms.calc = calc
        dyn = dynamics(atoms, how.seed)
        calc.run(dyn, STEPS)
    found = {
        "labels": how.labels,
        "seed": how.seed,
        "baseline": "GFN2-xTB" if baseline else None,
        "steps": dyn.nsteps,
        "rewinds": atoms.info.get("rewinds", 0),
        **errors(GMNNCalculator(run, baseline=baseline), test),
        "seconds": time.perf_counter() - start,
        "commit": commit(),
    }
    print(json.dumps(found, indent=1))
    with (how.out / "pbe.jsonl").open("a") as file:
        file.write(json.dumps(found) + "\n")


def errors(calc: GMNNCalculator, test: list[Atoms]) -> dict[str, float]:
    """Of forces, eV/Å; `largest` is the largest of an atom."""
    deviations = []
    for frame in test:
        atoms = frame.copy()
        atoms.calc = calc
        deviations.append(atoms.get_forces() - frame.get_forces())
    found = np.stack(deviations)
    return {
        "mae": float(np.abs(found).mean()),
        "rmse": float(np.sqrt((found**2).mean())),
        "largest": float(np.linalg.norm(found, axis=-1).max()),
    }


if __name__ == "__main__":
    main()
