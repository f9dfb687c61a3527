"""Diamond at 600 K and no pressure: the cell moves, so the potential learns stresses as well."""

import sys

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.nose_hoover_chain import IsotropicMTKNPT

from ase_bmdal import InitialData, OnTheFlyCalculator


def reference():
    from tblite.ase import TBLite

    return TBLite(method="GFN1-xTB", verbosity=0)


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000

atoms = bulk("C", "diamond", a=3.64, cubic=True)
velocities = np.random.default_rng(0).standard_normal((len(atoms), 3))
atoms.set_momenta(velocities * np.sqrt(600 * units.kB * atoms.get_masses()[:, None]))
atoms.calc = OnTheFlyCalculator(
    reference,
    directory="diamond",
    cutoff=5.0,
    initial_data=InitialData(n_structures=20, strain=0.03),
    label_timeout=60,  # seconds
    max_labels=60,
)

simulation = IsotropicMTKNPT(
    atoms, 0.5 * units.fs, temperature_K=600, pressure_au=0.0, tdamp=100 * units.fs, pdamp=1000 * units.fs
)
atoms.calc.run(simulation, steps)
print(f"{atoms.get_volume() / len(atoms):.2f} Å³ per atom, {atoms.get_temperature():.0f} K")
