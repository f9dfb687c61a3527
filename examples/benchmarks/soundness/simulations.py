"""Simulations with a plain potential and no trust: how many explode and when, and how total energies drift.

Several walkers of a molecule are simulated as one structure, far from each other. An explosion is a number that is
none, a molecule in parts, two atoms closer than half the sum of their covalent radii, five times the temperature, or a
force beyond 50 eV/Å. Potentials come from `accuracy.py`, or are trained now.
"""

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import model_path, trained
from ase import Atoms, units
from ase.data import covalent_radii
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from data import DATA, load, with_reference
from molecules import langevin, with_velocities
from recipes import add_arguments, recipe
from results import Record, append, commit, is_done, read
from scipy.sparse.csgraph import connected_components

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ase_bmdal import GMNNCalculator
from ase_bmdal.common.randomness import stream

APART = 200.0  # Å
AWAY = np.array([1.0, 0.0, 0.0])
CLOSEST = 0.5  # of the sum of covalent radii
CONNECTED = 1.6  # the same, beyond which two atoms do not hold a molecule together
HOTTEST = 5.0  # times the temperature wanted
STRONGEST = 50.0  # eV/Å
CHECK = 20  # steps


def why_exploded(atoms: Atoms, forces: np.ndarray, temperature: float) -> str:
    """What is wrong with a structure; empty if nothing is."""
    numbers = (atoms.positions, atoms.get_momenta(), forces)
    if not all(np.isfinite(each).all() for each in numbers):
        return "not a number"
    radii = covalent_radii[atoms.numbers]
    relative = atoms.get_all_distances(mic=bool(atoms.pbc.any())) / (radii[:, None] + radii)
    closest = relative[np.triu_indices(len(atoms), 1)].min()
    strongest, hottest = np.linalg.norm(forces, axis=1).max(), atoms.get_temperature()
    if closest < CLOSEST:
        return f"two atoms at {closest:.2f} times the sum of their covalent radii"
    if hottest > HOTTEST * temperature:
        return f"{hottest:.0f} K"
    if strongest > STRONGEST:
        return f"a force of {strongest:.0f} eV/Å"
    if not atoms.pbc.any() and connected_components(relative < CONNECTED)[0] > 1:
        return "a molecule in parts"
    return ""


class Walkers:
    """Copies of a structure, far from each other in one.

    Parameters
    ----------
    starts
        First frames; of a periodic structure only one.
    model
        Potential.

    Attributes
    ----------
    numbers
        Of those that are left.
    """

    def __init__(self, starts: Sequence[Atoms], model: Any) -> None:
        self.numbers = list(range(len(starts)))
        self._size, self._model = len(starts[0]), model
        self.atoms = Atoms(cell=starts[0].cell, pbc=starts[0].pbc)
        for place, start in enumerate(starts):
            self.atoms += Atoms(start.numbers, start.positions + APART * place * AWAY)
        self.atoms.calc = GMNNCalculator(model)

    def lose_exploded(self, temperature: float) -> dict[int, str]:
        """Take out walkers that have exploded; gives what is wrong with them."""
        forces = self._forces()
        whys = [why_exploded(self.atoms[part], forces[part], temperature) for part in self._parts()]
        lost = {number: why for number, why in zip(self.numbers, whys, strict=True) if why}
        gone = [part for part, why in zip(self._parts(), whys, strict=True) if why]
        if lost:
            del self.atoms[np.concatenate([np.arange(part.start, part.stop) for part in gone])]
        self.numbers = [number for number in self.numbers if number not in lost]
        return lost

    def _forces(self) -> np.ndarray:
        """Forces; not a number for walkers that are too absurd for any."""
        with suppress(Exception):
            return self.atoms.get_forces()
        forces = np.full_like(self.atoms.positions, np.nan)
        for part in self._parts():
            alone = self.atoms[part]
            alone.calc = GMNNCalculator(self._model)
            with suppress(Exception):
                forces[part] = alone.get_forces()
        return forces

    def _parts(self) -> list[slice]:
        return [slice(k * self._size, (k + 1) * self._size) for k in range(len(self.numbers))]


@dataclass(frozen=True)
class Ensemble:
    """How to simulate.

    Attributes
    ----------
    kind
        ``"Langevin"`` or ``"NVE"``.
    temperature
        K; that of the first velocities, too.
    ps
        How long.
    timestep
        fs.
    """

    kind: str
    temperature: float
    ps: float
    timestep: float

    def dynamics(self, atoms: Atoms, rng: np.random.Generator) -> MolecularDynamics:
        """Dynamics from the velocities there are."""
        if self.kind == "NVE":
            return VelocityVerlet(atoms, self.timestep * units.fs)
        return langevin(atoms, self.temperature, self.timestep, rng)


def simulate(walkers: Walkers, how: Ensemble, rng: np.random.Generator) -> Record:
    """Run all walkers until the end or their explosion; drift of the energy of all, meV per atom and ps."""
    n = len(walkers.numbers)
    with_velocities(walkers.atoms, how.temperature, rng)
    dyn, explosions, energies = how.dynamics(walkers.atoms, rng), [], []
    for step in range(CHECK, round(1000 * how.ps / how.timestep) + 1, CHECK):
        with suppress(Exception):  # the check that follows finds out why
            dyn.run(CHECK)
        time = step * how.timestep / 1000
        if lost := walkers.lose_exploded(how.temperature):
            explosions += [{"walker": number, "ps": time, "why": why} for number, why in lost.items()]
            dyn = how.dynamics(walkers.atoms, rng)
        if not walkers.numbers:
            break
        energies.append((time, walkers.atoms.get_total_energy() / len(walkers.atoms)))
    is_whole = how.kind == "NVE" and len(energies) > 1 and not explosions
    drift = 1e3 * float(np.polyfit(*np.transpose(energies), 1)[0]) if is_whole else None
    return {"walkers": n, "exploded": len(explosions), "explosions": explosions, "drift": drift}


def simulations(name: str, model: Any, seed: int, data: Path, length: Sequence[float]) -> list[Record]:
    """Langevin dynamics at the training temperature and at twice it, and dynamics of constant energy.

    Parameters
    ----------
    name
        Of the data.
    model
        Potential.
    seed
        Of first frames and velocities.
    data
        Folder.
    length
        Number of walkers; ps of Langevin dynamics, and at constant energy.
    """
    of, (n, ps, constant_ps) = DATA[name], length
    frames, found = load(of.inside[0], data), []
    for how in (
        Ensemble("Langevin", of.temperature, ps, of.timestep),
        Ensemble("Langevin", 2 * of.temperature, ps, of.timestep),
        Ensemble("NVE", of.temperature, constant_ps, of.timestep),
    ):
        rng = stream(seed, "simulations", name, how.kind, int(how.temperature))
        starts = [frames[int(index)] for index in rng.choice(len(frames), int(n))]
        groups = [[start] for start in starts] if starts[0].pbc.any() else [starts]
        parts = [simulate(Walkers(group, model), how, rng) for group in groups]
        found.append({"kind": how.kind, "temperature": how.temperature, "ps": how.ps} | _together(parts))
    return found


def _together(parts: Sequence[Record]) -> Record:
    """What became of several groups of walkers."""
    drifts = [abs(part["drift"]) for part in parts if part["drift"] is not None]
    return {
        "walkers": sum(part["walkers"] for part in parts),
        "exploded": sum(part["exploded"] for part in parts),
        "explosions": [each for part in parts for each in part["explosions"]],
        "drift": round(float(np.mean(drifts)), 5) if drifts else None,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    add_arguments(options)
    options.add_argument("--data", type=Path, required=True, help="folder of the data")
    options.add_argument("--work", type=Path, required=True, help="folder of the potentials")
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--sets", nargs="+", choices=with_reference(), default=["acac", "ethanol"])
    options.add_argument("--structures", type=int, help="train on so many at random instead of all")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--walkers", type=int, default=10, help="simulations of each kind (%(default)s)")
    options.add_argument("--ps", type=float, default=20.0, help="of each, ps (%(default)s)")
    options.add_argument("--nve-ps", type=float, default=5.0, help="at constant energy, ps (%(default)s)")
    wanted = options.parse_args()
    how, version = recipe(wanted.recipe, wanted.changes), commit()
    length = [wanted.walkers, wanted.ps, wanted.nve_ps]
    for seed in wanted.seeds:
        for name in wanted.sets:
            key = {
                "kind": "simulations",
                "recipe": how.name,
                "data": name,
                "n": wanted.structures,
                "seed": seed,
            }
            key |= {"commit": version, "length": length}
            if is_done(read(wanted.out), **key):
                continue
            path = model_path(wanted.work, how, name, wanted.structures, seed, version)
            model, _ = trained(how, name, wanted.structures, seed, wanted.data, path)
            found = simulations(name, model, seed, wanted.data, length)
            append(wanted.out, key | {"simulations": found})
            print(key, [(each["temperature"], each["exploded"]) for each in found], flush=True)


if __name__ == "__main__":
    main()
