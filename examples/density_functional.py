"""Ethanol learns a density functional, PBE by PySCF, as the difference to GFN2-xTB.

pip install pyscf tblite
"""

from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin

from ase_bmdal import OnTheFlyCalculator

atoms = molecule("CH3CH2OH")


def reference():
    from pyscf import gto
    from pyscf.pbc.tools.pyscf_ase import PySCF

    structure = list(zip(atoms.symbols, atoms.positions, strict=True))
    method = gto.M(atom=structure, basis="def2-svp", verbose=0).RKS(xc="pbe").density_fit()
    return PySCF(method=method)


def cheap():
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


atoms.calc = OnTheFlyCalculator(
    reference,
    directory="ethanol-pbe",
    baseline=cheap,
    cutoff=5.0,
    pool_interval=50,  # frames far apart: the baseline holds the simulation meanwhile
    max_labels=30,
    seed=0,
)
dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=500, friction=0.02 / units.fs, fixcm=False)
atoms.calc.run(dynamics, 4000)
