"""Acetylacetone and ethanol, labelled by GFN2-xTB."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixInternals
from ase.md.langevin import Langevin
from ase.optimize import BFGS

from ase_bmdal.common.randomness import stream
from ase_bmdal.structures.labels import label_of

FRICTION = 0.02  # 1/fs
# Enol form of acetylacetone, before it is relaxed.
ACAC_SYMBOLS = "C3O2C2H8"
ACAC = [
    *((-1.22, 1.25, 0.0), (0.0, 1.95, 0.0), (1.22, 1.25, 0.0)),  # C1 C2 C3: the chain
    *((-1.25, 0.0, 0.0), (1.25, -0.05, 0.0)),  # O3 =O, O4 -O(H)
    *((-2.52, 2.0, 0.0), (2.52, 2.0, 0.0)),  # C5 C6: methyl
    *((0.3, -0.35, 0.0), (0.0, 3.04, 0.0)),  # H7 of the enol, H8
    *((-3.36, 1.30, 0.0), (-2.58, 2.64, 0.88), (-2.58, 2.64, -0.88)),
    *((3.36, 1.30, 0.0), (2.58, 2.64, 0.88), (2.58, 2.64, -0.88)),
]
CHAIN, CARBONYL, ENOL, METHYL, HYDROGEN = (0, 1, 2), 3, 4, 5, 7
SCAN = np.arange(0, 360, 10)  # degrees


def gfn2() -> Any:
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def relaxed(atoms: Atoms, fmax: float = 0.01, steps: int = 500) -> Atoms:
    """The same structure at the nearest minimum."""
    BFGS(atoms, logfile=None).run(fmax=fmax, steps=steps)
    return atoms


def ethanol() -> Atoms:
    return molecule("CH3CH2OH")


def acetylacetone() -> Atoms:
    """The enol form, at its minimum, with the calculator."""
    return relaxed(Atoms(ACAC_SYMBOLS, ACAC, calculator=gfn2()))


def with_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator) -> Atoms:
    """The structure with velocities of a temperature in K."""
    spread = np.sqrt(units.kB * temperature * atoms.get_masses()[:, None])
    atoms.set_momenta(spread * rng.standard_normal(atoms.positions.shape))
    return atoms


def langevin(atoms: Atoms, temperature: float, timestep: float, rng: np.random.Generator) -> Langevin:
    """Dynamics at a temperature in K with a time step in fs, from the velocities there are."""
    return Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=rng,
    )


def thermalised(atoms: Atoms, temperature: float, timestep: float, rng: np.random.Generator) -> Langevin:
    """Dynamics from new velocities."""
    return langevin(with_velocities(atoms, temperature, rng), temperature, timestep, rng)


def label(atoms: Atoms, calculator: Any = None) -> Atoms:
    """The structure with what its calculator, or this one, says of it."""
    atoms.calc = calculator or atoms.calc
    atoms.get_forces()
    if atoms.pbc.all():
        atoms.get_stress()
    return label_of(atoms).attach(atoms)


def trajectory(
    structure: Callable[[], Atoms],
    calculator: Callable[[], Any],
    temperature: float,
    n: int,
    name: str,
    *,
    timestep: float = 0.5,
    spacing: float = 20.0,
    equilibration: float = 1000.0,
) -> Iterator[Atoms]:
    """Frames of Langevin dynamics; times in fs; the name is the seed."""
    atoms = structure()
    atoms.calc = calculator()
    dyn = thermalised(atoms, temperature, timestep, stream(0, name))
    dyn.run(round(equilibration / timestep))
    for _ in range(n):
        dyn.run(round(spacing / timestep))
        yield label(atoms)


def temperatures(each: Sequence[float], n: int, name: str) -> Iterator[Atoms]:
    """Frames of ethanol at several temperatures in K, so many of each."""
    for temperature in each:
        yield from trajectory(ethanol, gfn2, temperature, n, f"{name} {temperature:g}")


def scan(rotate: Callable[[Atoms, float], None], dihedral: tuple[int, int, int, int]) -> Iterator[Atoms]:
    """Structures along a dihedral angle, the others relaxed where it is fixed."""
    start = acetylacetone()
    for angle in SCAN:
        atoms = start.copy()
        atoms.calc = start.calc
        rotate(atoms, float(angle))
        target = atoms.get_dihedral(*dihedral)
        atoms.set_constraint(FixInternals(dihedrals_deg=[[target, list(dihedral)]]))
        relaxed(atoms, fmax=0.05, steps=60)
        atoms.set_constraint()
        yield label(atoms)


def turn_hydroxyl(atoms: Atoms, angle: float) -> None:
    """The enol's hydrogen about C-O, out of its hydrogen bond."""
    atoms.rotate_dihedral(CHAIN[1], CHAIN[2], ENOL, HYDROGEN, angle, indices=[HYDROGEN])


def turn_acetyl(atoms: Atoms, angle: float) -> None:
    """The acetyl group about its C-C bond; the enol's hydrogen points away, so that nothing is in its way."""
    turn_hydroxyl(atoms, 180.0)
    group = [CARBONYL, METHYL, *range(9, 12)]
    atoms.rotate_dihedral(CHAIN[2], CHAIN[1], CHAIN[0], CARBONYL, angle, indices=group)


_OH = (CHAIN[1], CHAIN[2], ENOL, HYDROGEN)
_ACETYL = (CHAIN[2], CHAIN[1], CHAIN[0], CARBONYL)
MAKERS = {
    name: partial(trajectory, structure, gfn2, temperature, n, name)
    for name, structure, temperature, n in (
        ("ethanol_train", ethanol, 500.0, 100),
        ("ethanol_500", ethanol, 500.0, 200),
        ("ethanol_1000", ethanol, 1000.0, 200),
        ("acac_train", acetylacetone, 300.0, 500),
        ("acac_300", acetylacetone, 300.0, 300),
        ("acac_600", acetylacetone, 600.0, 300),
    )
} | {
    "acac_oh": partial(scan, turn_hydroxyl, _OH),
    "acac_acetyl": partial(scan, turn_acetyl, _ACETYL),
    "ethanol_pool": partial(trajectory, ethanol, gfn2, 500.0, 1000, "ethanol_pool"),
    "ethanol_mixed": partial(temperatures, (500.0, 1000.0), 300, "ethanol_mixed"),
}
