"""Sixteen simulations of ethanol: one after the other, and in turns with their forces computed together.

Each script is counted whole, from its first import to its end. Learning is over, and nothing is refused, so that the
steps are the same; bounds are computed as ever. Forces of both ways differ by rounding, which grows in a simulation:
how far they are apart at the end is shown as well.

    python examples/benchmarks/together.py --walkers 16 --steps 1000
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from common import parser, row, table

SETTINGS = """
from ase.build import molecule
from ase_bmdal import OnTheFlyCalculator, UncertaintyLimits

def reference():
    from tblite.ase import TBLite
    return TBLite(method="GFN2-xTB", verbosity=0)

def calculator(folder):
    frames = [molecule("CH3CH2OH") for _ in range(50)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.08, seed=seed)
    limits = UncertaintyLimits(force_tolerance=1e6)
    return OnTheFlyCalculator(
        reference, folder, initial=frames, max_labels=50, epochs=200, uncertainty=limits, on_event=repr
    )
"""
SCRIPT = """
import json, sys, time
start = time.perf_counter()
import numpy as np
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from settings import calculator

folder, way, walkers, steps = *sys.argv[1:3], *map(int, sys.argv[3:])
calc = calculator(folder)
dyns = []
for number in range(walkers):
    atoms, rng = molecule("CH3CH2OH"), np.random.default_rng(number)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
    atoms.calc = calc.walker(f"walker {number}")
    dyns.append(
        Langevin(atoms, 0.5 * units.fs, temperature_K=300, friction=0.01 / units.fs, fixcm=False, rng=rng)
    )
if way == "together":
    calc.run(dyns, steps)
else:
    for dyn in dyns:
        calc.run(dyn, steps)
np.save("positions.npy", [dyn.atoms.positions for dyn in dyns])
assert all(dyn.nsteps == steps for dyn in dyns)
print(json.dumps(time.perf_counter() - start))
"""


def prepare(folder: Path) -> None:
    """A run that has learned a little of ethanol."""
    (folder / "settings.py").write_text(SETTINGS)
    sys.path.insert(0, str(folder))
    from settings import calculator

    atoms = molecule("CH3CH2OH")
    with calculator(folder / "run") as atoms.calc:
        atoms.get_forces()


def measure(folder: Path, way: str, walkers: int, steps: int) -> tuple[float, np.ndarray]:
    """Seconds that a script takes, and where its atoms are at the end."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        for name in ("settings.py", "run"):
            copy = shutil.copytree if (folder / name).is_dir() else shutil.copy
            copy(folder / name, Path(work) / name)
        command = [sys.executable, "-c", SCRIPT, "run", way, str(walkers), str(steps)]
        done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1]), np.load(Path(work) / "positions.npy")


def main() -> None:
    """Measure both in turns."""
    options = parser(__doc__)
    options.add_argument("--walkers", type=int, default=16)
    options.add_argument("--steps", type=int, default=1000, help="of each (%(default)s)")
    how = options.parse_args()
    seconds: dict[str, list[float]] = {"one after the other": [], "together": []}
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        for _ in range(how.repeats):
            ends = {}
            for way, taken in seconds.items():
                found, ends[way] = measure(Path(name), way, how.walkers, how.steps)
                taken.append(found)
            one, other = ends.values()
            print(f"largest difference of a coordinate at the end: {np.abs(one - other).max():.1e} Å")
    medians = {way: statistics.median(taken) for way, taken in seconds.items()}
    total = how.walkers * how.steps
    table("script", "s", "steps/s")
    for way, median in medians.items():
        row(way, median, total / median)
    print(f"ratio: {medians['one after the other'] / medians['together']:.2f}")


if __name__ == "__main__":
    main()
