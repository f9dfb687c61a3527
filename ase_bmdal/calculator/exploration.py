"""Frames of short simulations that a fixed potential drives, as far as it can be trusted."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from pydantic import PositiveFloat, PositiveInt

from ase_bmdal.common.errors import UntrustedError
from ase_bmdal.common.settings import settings
from ase_bmdal.structures.labels import label_of
from ase_bmdal.structures.structure_only import structure_only

log = logging.getLogger(__name__)

LIGHT = 5.0  # u: hydrogen, which needs a shorter time step than others
USELESS = 20  # beginnings in a row from which not one frame was to be had


@settings
class Exploration:
    """Short simulations from labelled structures.

    Attributes
    ----------
    n_frames
        Frames to collect, of all simulations together.
    temperatures
        K; each simulation has one of them. Empty for the mean of the labelled frames, by their momenta.
    spacing
        Steps from one frame to the next.
    length
        Frames of one simulation at most.
    timestep
        fs; None for 0.5 with hydrogen, and 2 without.
    friction
        Of Langevin dynamics, 1/fs.
    """

    n_frames: PositiveInt = 2000
    temperatures: tuple[PositiveFloat, ...] = ()
    spacing: PositiveInt = 5
    length: PositiveInt = 20
    timestep: PositiveFloat | None = None
    friction: PositiveFloat = 0.02


def explore(
    calculator: Calculator,
    starts: Sequence[Atoms],
    how: Exploration,
    rng: np.random.Generator,
    *,
    largest_bound: float = math.inf,
    on_frames: Callable[[int], object] = lambda n: None,
) -> list[Atoms]:
    """Simulate from structures that are known until there are enough frames.

    Parameters
    ----------
    calculator
        What drives the simulations, and labels their frames.
    starts
        Structures to begin from.
    how
        Further settings.
    rng
        Draws beginnings, temperatures, velocities and random forces.
    largest_bound
        Bound on a force error, eV/Å, with which a simulation ends; its frame is left out.
    on_frames
        Called with the number of frames after each simulation.

    Returns
    -------
    list of Atoms
        `how.n_frames` of them, with results of the calculator.

    Raises
    ------
    UntrustedError
        If simulations end at once wherever they begin.
    ValueError
        If no temperature is given, and the structures have no momenta.
    """
    temperatures = how.temperatures or (_temperature(starts),)
    frames: list[Atoms] = []
    useless = 0
    while len(frames) < how.n_frames:
        start = starts[int(rng.integers(len(starts)))]
        simulation = _simulation(start, calculator, float(rng.choice(temperatures)), how, rng)
        found = list(_trusted(simulation, how, largest_bound))
        frames += found
        useless = 0 if found else useless + 1
        if useless == USELESS:
            raise UntrustedError(
                f"{USELESS} simulations in a row ended at once: the potential is not trusted beside its labels at "
                f"{', '.join(f'{each:.0f}' for each in temperatures)} K"
            )
        on_frames(min(len(frames), how.n_frames))
    return frames[: how.n_frames]


def _simulation(
    start: Atoms, calculator: Calculator, kelvin: float, how: Exploration, rng: np.random.Generator
) -> Langevin:
    atoms = structure_only(start)
    atoms.calc = calculator
    spread = np.sqrt(kelvin * units.kB * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * rng.standard_normal(atoms.positions.shape))
    timestep = how.timestep or (0.5 if atoms.get_masses().min() < LIGHT else 2.0)
    return Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=kelvin,
        friction=how.friction / units.fs,
        fixcm=False,
        rng=rng,
    )


def _trusted(simulation: Langevin, how: Exploration, largest_bound: float) -> Iterator[Atoms]:
    atoms = simulation.atoms
    for _ in range(how.length):
        try:
            simulation.run(how.spacing)
            label = label_of(atoms)
        except UntrustedError as error:
            log.info("a simulation ends: %s", error)
            return
        bounds = atoms.calc.results.get("forces_uncertainty")
        if bounds is not None and not np.max(bounds) <= largest_bound:
            return
        yield label.attach(structure_only(atoms))


def _temperature(structures: Sequence[Atoms]) -> float:
    moving = [atoms.get_temperature() for atoms in structures if atoms.has("momenta")]
    if not moving:
        raise ValueError(
            "temperatures: expected some, as the labelled structures have no momenta to take one from, got none"
        )
    return float(np.mean(moving))
