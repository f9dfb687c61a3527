"""A stand-in for ``pw.x`` of Quantum ESPRESSO: reads its input, writes what ASE reads of its output, by EMT."""

import sys

from ase.calculators.emt import EMT
from ase.io import read
from ase.units import Bohr, Ry

NUMBERS = "{:16.10f} {:16.10f} {:16.10f}"


def output(atoms):
    """Lines as ``pw.x`` would print them, in units of Bohr and Ry."""
    positions = [NUMBERS.format(*each) for each in atoms.positions / Bohr]
    forces = [NUMBERS.format(*each) for each in atoms.get_forces() * Bohr / Ry]
    stress = [NUMBERS.format(*each) for each in -atoms.get_stress(voigt=False) * Bohr**3 / Ry]
    return [
        "Program PWSCF",
        f"number of atoms/cell = {len(atoms)}",
        "number of atomic types = 1",
        "celldm(1)= 1.0",
        "crystal axes: (cart. coord. in units of alat)",
        *(f"a({k}) = ( {NUMBERS.format(*axis)} )" for k, axis in enumerate(atoms.cell / Bohr, 1)),
        "site n. atom positions (alat units)",
        *(f"{k} Al tau({k:4}) = ( {each} )" for k, each in enumerate(positions, 1)),
        f"!    total energy = {atoms.get_potential_energy() / Ry:.10f} Ry",
        "Forces acting on atoms (cartesian axes, Ry/au):",
        "",
        *(f"atom {k} type 1 force = {each}" for k, each in enumerate(forces, 1)),
        "total   stress  (Ry/bohr**3)",
        *stress,
    ]


if __name__ == "__main__":
    structure = read(sys.argv[sys.argv.index("-in") + 1], format="espresso-in")
    structure.calc = EMT()
    print("\n".join(output(structure)))
