"""Ethanol learns GFN2-xTB while it moves. Start it again, and it goes on with what it has learned."""

from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin

from ase_bmdal import OnTheFlyCalculator


def reference():  # any function that makes an ASE calculator
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


atoms = molecule("CH3CH2OH")
atoms.calc = OnTheFlyCalculator(
    reference,
    directory="ethanol",
    cutoff=5.0,
    selection="MAXDET + GP(LL)",
    batch_size=10,
    pool_size=200,
    max_labels=100,
    seed=0,
)
dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=500, friction=0.02 / units.fs, fixcm=False)
atoms.calc.run(dynamics, 5000)  # dynamics.run(5000) works too, but cannot go back
