"""Silicon by Tersoff's potential; copper and a compound of copper and gold by effective medium theory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, diamond100, fcc100
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.spacegroup import crystal
from molecules import label, trajectory

from ase_bmdal.common.randomness import stream

N_TRAINING = 40
STRAIN = 0.03  # linear, of the cells that are trained on
RATTLE = 0.05  # Å
CU3AU = 3.715  # Å
SUPERCELLS = [
    (2, 1, 1),
    (2, 2, 1),
    (2, 2, 2),
    (3, 2, 2),
    (3, 3, 2),
    (3, 3, 3),
    (4, 3, 3),
    (4, 4, 3),
    (6, 3, 3),
]
DEFECTIVE = 0.5
LARGEST_RATTLE = 0.2  # Å
VOLUMES = np.linspace(0.75, 1.15, 41)  # relative
# Tersoff, Phys. Rev. B 39, 5566 (1989).
SILICON = TersoffParameters(
    m=3,
    gamma=1.0,
    lambda3=0.0,
    c=100390.0,
    d=16.217,
    h=-0.59825,
    n=0.78734,
    beta=1.1e-6,
    lambda2=1.73222,
    B=471.18,
    R=2.85,
    D=0.15,
    lambda1=2.4799,
    A=1830.8,
)


def tersoff() -> Any:
    return Tersoff({("Si", "Si", "Si"): SILICON})


def emt() -> Any:
    return EMT()


def silicon() -> Atoms:
    return bulk("Si", a=5.432, cubic=True) * 2


def copper() -> Atoms:
    return bulk("Cu", a=3.59, cubic=True) * 2


def silicon_cell() -> Atoms:
    return bulk("Si", a=5.432, cubic=True)


def copper_cell() -> Atoms:
    return bulk("Cu", a=3.59, cubic=True)


def silicon_surface() -> Atoms:
    return diamond100("Si", (2, 2, 8), a=5.432, vacuum=8.0, periodic=False)


def copper_surface() -> Atoms:
    return fcc100("Cu", (2, 2, 6), a=3.59, vacuum=8.0, periodic=False)


def without_an_atom(structure: Callable[[], Atoms]) -> Atoms:
    atoms = structure()
    del atoms[0]
    return atoms


def strain(atoms: Atoms, volume: float, shear: float, rng: np.random.Generator) -> None:
    """Bring a crystal to a relative volume, with random strains that keep it."""
    deviator = rng.uniform(-shear, shear, (3, 3))
    deviator = (deviator + deviator.T) / 2
    deviator -= np.eye(3) * np.trace(deviator) / 3
    deformation = np.eye(3) + deviator
    deformation *= (volume / np.linalg.det(deformation)) ** (1 / 3)
    atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)


@dataclass(frozen=True)
class Solid:
    """An element.

    Attributes
    ----------
    structure, cell, surface
        Make the crystal that is simulated, its cubic cell, and a slab.
    reference
        Makes the calculator.
    spacing
        Of frames of a simulation, fs.
    """

    structure: Callable[[], Atoms]
    cell: Callable[[], Atoms]
    surface: Callable[[], Atoms]
    reference: Callable[[], Any]
    spacing: float

    def simulated(
        self, structure: Callable[[], Atoms], temperature: float, n: int, name: str
    ) -> Iterator[Atoms]:
        """Frames of a simulation; the name is the seed."""
        how = {"timestep": 2.0, "spacing": self.spacing, "equilibration": 10 * self.spacing}
        return trajectory(structure, self.reference, temperature, n, name, **how)

    def strained_cells(self, name: str) -> Iterator[Atoms]:
        """Frames of 600 K in cells strained by up to 3 %, two of each."""
        rng = stream(0, name)
        how = {"timestep": 2.0, "spacing": self.spacing, "equilibration": 3 * self.spacing}
        for index in range(N_TRAINING // 2):
            atoms = self.structure()
            strain(atoms, 1 + rng.uniform(-3, 3) * STRAIN, STRAIN, rng)
            yield from trajectory(atoms.copy, self.reference, 600.0, 2, f"{name} {index}", **how)

    def volumes(self, name: str) -> Iterator[Atoms]:
        """From a compression by a quarter to a stretch by 15 %, rattled a little."""
        rng = stream(0, name)
        for volume in VOLUMES:
            atoms = self.cell()
            strain(atoms, float(volume), 0.0, rng)
            atoms.rattle(RATTLE, rng=rng)
            yield label(atoms, self.reference())

    def files(self, name: str) -> dict[str, Callable[[], Iterator[Atoms]]]:
        """What makes each file."""
        vacancy = partial(without_an_atom, self.structure)
        return {
            f"{name}_train": partial(self.strained_cells, f"{name}_train"),
            f"{name}_600": partial(self.strained_cells, f"{name}_600"),
            f"{name}_1200": partial(self.simulated, self.structure, 1200.0, 40, f"{name}_1200"),
            f"{name}_volumes": partial(self.volumes, f"{name}_volumes"),
            f"{name}_vacancy": partial(self.simulated, vacancy, 600.0, 30, f"{name}_vacancy"),
            f"{name}_surface": partial(self.simulated, self.surface, 600.0, 30, f"{name}_surface"),
        }


def compound(volume: float, n: int, name: str) -> Iterator[Atoms]:
    """Cu3Au in cells of 8 to 216 atoms: strained, sheared, rattled, with vacancies and antisites.

    Parameters
    ----------
    volume
        Largest change of it, relative.
    n
        How many.
    name
        The seed.
    """
    rng = stream(0, name)
    for _ in range(n):
        atoms = (
            crystal(("Au", "Cu"), [(0, 0, 0), (0.5, 0.5, 0)], spacegroup=221, cellpar=[CU3AU] * 3 + [90] * 3)
            * SUPERCELLS[rng.integers(len(SUPERCELLS))]
        )
        atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        strain(atoms, 1 + rng.uniform(-volume, volume), volume / 3, rng)
        if rng.random() < DEFECTIVE:
            disturb(atoms, rng)
        atoms.rattle(rng.uniform(0.01, LARGEST_RATTLE), rng=rng)
        yield label(atoms, emt())


def disturb(atoms: Atoms, rng: np.random.Generator) -> None:
    """One or two vacancies, or as many antisites."""
    sites = rng.permutation(len(atoms))[: rng.integers(1, 3)]
    if rng.random() < 0.5:
        del atoms[sites]
    else:
        atoms.numbers[sites] = np.where(atoms.numbers[sites] == 29, 79, 29)


MAKERS = (
    {
        "compound_train": partial(compound, 0.24, 40, "compound_train"),
        "compound_pool": partial(compound, 0.24, 400, "compound_pool"),
        "compound_test": partial(compound, 0.24, 160, "compound_test"),
        "compound_strained": partial(compound, 0.35, 40, "compound_strained"),
    }
    | Solid(copper, copper_cell, copper_surface, emt, 100.0).files("copper")
    | Solid(silicon, silicon_cell, silicon_surface, tersoff, 50.0).files("silicon")
)
