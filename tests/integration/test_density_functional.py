"""A run on a real density functional: water, PBE by PySCF in a small basis."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet

from ase_bmdal import GMNNCalculator, UncertaintyLimits
from ase_bmdal.run.store import LabelStore
from tests.learner.runs import learning

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    ),  # files that PySCF leaves open
]


def pbe():
    from pyscf import gto
    from pyscf.pbc.tools.pyscf_ase import PySCF

    atoms = molecule("H2O")
    structure = list(zip(atoms.symbols, atoms.positions, strict=True))
    return PySCF(method=gto.M(atom=structure, basis="sto-3g", verbose=0).RKS(xc="pbe"))


def gfn2():
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def direct(atoms):
    """Energy and forces without any code of ours."""
    atoms.calc = pbe()
    return atoms.get_potential_energy(), atoms.get_forces()


def test_water_learns_while_it_moves(tmp_path, not_compiled):
    atoms = molecule("H2O")
    with learning(
        pbe,
        tmp_path / "water",
        baseline=gfn2,
        uncertainty=UncertaintyLimits(refuse=1e9),
        executor="local",
        batch_size=2,
        pool_size=4,
        max_labels=6,
    ) as calc:
        atoms.calc = calc
        assert calc.run(VelocityVerlet(atoms, 0.25 * units.fs), 6)
    done = LabelStore(tmp_path / "water" / "labels.db").rows("done")
    assert len(done) == 6
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # PySCF leaves files open
        for row, (energy, forces) in zip(
            done, pool.map(direct, [row.atoms.copy() for row in done]), strict=True
        ):
            assert row.atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)
            np.testing.assert_allclose(row.atoms.get_forces(), forces, atol=2e-3)
    atoms.calc = GMNNCalculator(tmp_path / "water", baseline=gfn2)
    assert np.isfinite(atoms.get_forces()).all()
