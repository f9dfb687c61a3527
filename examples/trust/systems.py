"""The simulations of the campaign, what is learned in them, and what counts as exploded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.data import covalent_radii
from ase.io import read, write
from ase.md.langevin import Langevin

from ase_bmdal.common.randomness import stream
from ase_bmdal.structures.labels import label_of

FRICTION = 0.02  # 1/fs
CLOSEST = 0.5  # of the sum of covalent radii: an explosion if two atoms are closer
LONGEST = 2.0  # the same of a bond of a molecule: an explosion if it is longer
HOTTEST = 5.0  # times the temperature of the thermostat: an explosion if the atoms are hotter
BONDED = 1.25  # times the sum of covalent radii: atoms of the first frame that are closer are bonded
TEST_FRAMES = 50


class ExplodedError(Exception):
    """The simulation has left physics."""


@dataclass(frozen=True)
class System:
    """A simulation.

    Attributes
    ----------
    name
        Of the system.
    structure, reference
        Make the first frame and the calculator that is learned.
    timestep
        fs.
    temperatures
        Of the thermostat at the start and at the end, K; linear in between.
    steps
        Of the simulation.
    """

    name: str
    structure: Callable[[], Atoms]
    reference: Callable[[], Any]
    timestep: float
    temperatures: tuple[float, float]
    steps: int

    def temperature(self, step: int) -> float:
        """Of the thermostat, K."""
        start, end = self.temperatures
        return start + (end - start) * min(1.0, step / self.steps)

    def dynamics(self, calculator: Any, seed: int, name: str) -> Langevin:
        """Langevin dynamics from the first frame, at its first temperature."""
        atoms, rng = self.structure(), stream(seed, name)
        spread = np.sqrt(units.kB * self.temperatures[0] * atoms.get_masses()[:, None])
        atoms.set_momenta(spread * rng.standard_normal(atoms.positions.shape))
        atoms.calc = calculator
        dyn = Langevin(
            atoms,
            self.timestep * units.fs,
            temperature_K=self.temperatures[0],
            friction=FRICTION / units.fs,
            fixcm=False,
            rng=rng,
        )
        if self.temperatures[0] != self.temperatures[1]:
            dyn.attach(lambda: dyn.set_temperature(temperature_K=self.temperature(dyn.nsteps)))
        return dyn

    def test_frames(self, folder: Path) -> list[Atoms]:
        """Labelled frames of the same simulation driven by the reference, computed once."""
        path = folder / f"{self.name}-test.extxyz"
        if not path.exists():
            frames: list[Atoms] = []
            dyn = self.dynamics(self.reference(), 0, "independent trajectory")
            for _ in range(TEST_FRAMES):
                dyn.run(max(1, self.steps // TEST_FRAMES))
                frames.append(label_of(dyn.atoms).attach(dyn.atoms))
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".unfinished.extxyz")
            write(unfinished, frames)
            unfinished.rename(path)
        return read(path, index=":")


class Watch:
    """Looks at a simulation after each step, and ends it when it has exploded."""

    def __init__(self, system: System, dyn: Langevin) -> None:
        self._system, self._dyn = system, dyn
        numbers = dyn.atoms.numbers
        self._sums = covalent_radii[numbers][:, None] + covalent_radii[numbers][None]
        distances = self._distances()
        self._bonds = (distances < BONDED * self._sums) & ~dyn.atoms.pbc.all()

    def _distances(self) -> np.ndarray:
        atoms = self._dyn.atoms
        distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
        np.fill_diagonal(distances, np.inf)
        return distances

    def __call__(self) -> None:
        """Raise an error if the simulation has exploded."""
        atoms = self._dyn.atoms
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.get_momenta()).all()):
            raise ExplodedError("a position or momentum is not a number")
        hottest = HOTTEST * self._system.temperature(self._dyn.nsteps)
        if atoms.get_temperature() > hottest:
            raise ExplodedError(f"{atoms.get_temperature():.0f} K, more than {hottest:.0f} K")
        relative = self._distances() / self._sums
        if relative.min() < CLOSEST:
            raise ExplodedError(
                f"two atoms are {relative.min():.2f} times the sum of their covalent radii apart"
            )
        bonds = relative[self._bonds]
        if bonds.size and bonds.max() > LONGEST:
            raise ExplodedError(f"a bond is {bonds.max():.1f} times the sum of the covalent radii long")


def gfn2() -> Any:
    """Of ethanol."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def gfn1() -> Any:
    """Of silicon; at 300 K electrons of molten silicon are often not converged."""
    from tblite.ase import TBLite

    return TBLite(method="GFN1-xTB", electronic_temperature=3000.0, verbosity=0)


def ethanol() -> Atoms:
    return molecule("CH3CH2OH")


def silicon() -> Atoms:
    return bulk("Si", cubic=True)


SYSTEMS = (
    System("ethanol-300", ethanol, gfn2, 0.5, (300.0, 300.0), 2000),
    System("ethanol-500", ethanol, gfn2, 0.5, (500.0, 500.0), 2000),
    System("ethanol-800", ethanol, gfn2, 0.5, (800.0, 800.0), 2000),
    System("silicon", silicon, gfn1, 2.0, (300.0, 3000.0), 1000),
)
