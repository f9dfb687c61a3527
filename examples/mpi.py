"""The same on many ranks: the first one simulates, all others label.

Launch it as

    mpiexec -n 3 python -m ase_bmdal.labelling.mpi examples/mpi.py
"""

from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin

from ase_bmdal import OnTheFlyCalculator


def reference():
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


atoms = molecule("CH3CH2OH")
atoms.calc = OnTheFlyCalculator(
    reference,
    directory="ethanol-mpi",
    cutoff=5.0,
    batch_size=20,  # a few labels for each rank
    label_timeout=60,  # seconds
    max_labels=100,
    executor="mpi",
)
dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=500, friction=0.02 / units.fs, fixcm=False)
atoms.calc.run(dynamics, 2000)  # dynamics.run(2000) works too, but cannot go back
