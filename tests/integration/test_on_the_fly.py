"""Whatever calls a calculator: dynamics, relaxation, NEB, Monte Carlo; and a real reference."""

from functools import partial

import numpy as np
import pytest
from ase import units
from ase.build import add_adsorbate, fcc100, molecule
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.cluster import Octahedron
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS
from ase.optimize.basin import BasinHopping

from ase_bmdal import (
    GMNNCalculator,
    InitialData,
    ModelSettings,
    OnTheFlyCalculator,
    Retraining,
    UncertaintyLimits,
)
from ase_bmdal.common.errors import BatchFailedError
from ase_bmdal.run.store import LabelStore
from tests.labelling.treacherous import Treacherous
from tests.learner.runs import copper, learning

pytestmark = pytest.mark.integration
FS = units.fs


class NoStress(EMT):
    implemented_properties = ("energy", "forces")

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        del self.results["stress"]


@pytest.fixture
def calc(tmp_path):
    """Of a potential of one epoch, whose forces are handed out however wrong they may be."""
    unafraid = UncertaintyLimits(refuse=1e9)
    with learning(EMT, tmp_path / "run", max_rounds=2, uncertainty=unafraid) as calculator:
        yield calculator


def warm(atoms, kelvin=300):
    speeds = np.sqrt(kelvin * units.kB / atoms.get_masses())[:, None]
    atoms.set_velocities(speeds * np.random.default_rng(0).standard_normal((len(atoms), 3)))


def expect_it_learned(calc, atoms):
    assert calc.learner.reason_to_finish == "the budget of 2 rounds is spent"
    assert len(LabelStore(calc.learner.directory / "labels.db").rows("done")) == 4 + 3 + 3
    atoms.calc, known = GMNNCalculator(calc.learner.directory), atoms.get_forces()
    atoms.calc = calc
    np.testing.assert_allclose(atoms.get_forces(), known, atol=1e-5)


DYNAMICS = {
    "VelocityVerlet": VelocityVerlet,
    "Langevin": partial(Langevin, temperature_K=300, friction=0.01 / FS, fixcm=False),
    "Bussi": partial(Bussi, temperature_K=300, taut=100 * FS),
    "NoseHooverChainNVT": partial(NoseHooverChainNVT, temperature_K=300, tdamp=100 * FS),
    "NPT": partial(IsotropicMTKNPT, temperature_K=300, pressure_au=0.0, tdamp=100 * FS, pdamp=1000 * FS),
}


@pytest.mark.parametrize("name", DYNAMICS)
def test_dynamics(calc, name):
    atoms = copper()
    atoms.calc = calc
    warm(atoms)
    DYNAMICS[name](atoms, timestep=2 * FS).run(20)
    expect_it_learned(calc, atoms)


def test_relaxation_of_positions_and_cell(calc):
    atoms = copper(by=0.1)
    atoms.calc = calc
    for _ in range(3):
        atoms.rattle(0.1, rng=np.random.default_rng(1))
        BFGS(atoms, logfile=None).run(fmax=1e-3, steps=6)
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=3)
    expect_it_learned(calc, atoms)
    np.testing.assert_allclose(
        atoms.get_forces()[:1], calculate_numerical_forces(atoms, 2e-3, [0]), atol=5e-3
    )
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, 2e-3), atol=2e-3)


@pytest.mark.usefixtures("not_compiled")
def test_neb_in_threads(calc):
    slab = fcc100("Cu", (2, 2, 2), vacuum=6)
    add_adsorbate(slab, "Cu", 1.7, "hollow")
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 1))
    images = [slab.copy() for _ in range(5)]
    images[-1].positions[-1, 0] += slab.cell[0, 0] / 2
    neb = NEB(images, parallel=True, method="improvedtangent")
    neb.interpolate(apply_constraint=False)
    for image in images:
        image.calc = calc.share()
    BFGS(neb, logfile=None, maxstep=0.03).run(fmax=1e-3, steps=8)
    expect_it_learned(calc, images[2])


@pytest.mark.usefixtures("not_compiled")
def test_basin_hopping(calc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes its minima
    np.random.seed(0)  # noqa: NPY002 - what it draws its steps with
    atoms = Octahedron("Cu", 2)
    atoms.calc = calc
    hopping = BasinHopping(atoms, optimizer=BFGS, dr=0.1, fmax=0.5, logfile=None, optimizer_logfile=None)
    hopping.run(3)
    for _ in range(10):
        if calc.learner.is_learning:
            hopping.run(2)
    expect_it_learned(calc, atoms)


@pytest.mark.usefixtures("not_compiled")
def test_monte_carlo(calc):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calc
    rng, temperature = np.random.default_rng(0), 300 * units.kB
    energy = atoms.get_potential_energy()
    for _ in range(20):
        before = atoms.get_positions()
        atoms.positions += 0.03 * rng.standard_normal(before.shape)
        new = atoms.get_potential_energy()
        if rng.random() > np.exp(min(0, (energy - new) / temperature)):
            atoms.positions = before
        else:
            energy = new
    expect_it_learned(calc, atoms)


def no_calculator():
    raise RuntimeError("the licence server is down")


BAD_REFERENCES = {
    "raises at once": (no_calculator, None, "RuntimeError: the licence server is down"),
    "hangs": (Treacherous, "hang", r"TimedOut: no result within 2 s"),
    "crashes": (Treacherous, "segfault", "Crashed: the process of the calculation was killed by SIGSEGV"),
    "gives no number": (Treacherous, "nan", "Refused: forces are not finite"),
    "forgets the stress": (NoStress, None, "Refused: the reference gives no stress for a periodic cell"),
}


@pytest.mark.parametrize("name", BAD_REFERENCES)
def test_a_bad_reference_is_explained(tmp_path, name):
    reference, action, message = BAD_REFERENCES[name]
    atoms = copper()
    atoms.info["do"] = action
    settings = {"executor": "local", "label_timeout": 2, "initial_data": InitialData(n_structures=2)}
    with learning(reference, tmp_path / "run", **settings) as calc:
        atoms.calc = calc
        with pytest.raises(BatchFailedError, match=rf"all 2 [\s\S]*{message}"):
            atoms.get_forces()
    rows = LabelStore(tmp_path / "run" / "labels.db").rows()
    assert [row.status for row in rows] == ["failed"] * 2
    assert all(row.seconds > 0 for row in rows)


def test_water_learned_from_xtb(tmp_path):
    tblite = pytest.importorskip("tblite.ase")
    reference = partial(tblite.TBLite, method="GFN2-xTB", verbosity=0)
    atoms = molecule("H2O")
    with OnTheFlyCalculator(
        reference,
        tmp_path / "run",
        batch_size=5,
        pool_size=20,
        max_rounds=2,
        epochs=150,
        architecture=ModelSettings(hidden=(32, 32), n_gaussians=6, n_radial=3, cutoff=3.5),
        retraining=Retraining(epochs=100),
        initial_data=InitialData(n_structures=6),
    ) as calc:
        atoms.calc = calc
        warm(atoms)
        dynamics = Langevin(
            atoms, 0.5 * FS, temperature_K=300, friction=0.01 / FS, fixcm=False, rng=np.random.default_rng(1)
        )
        dynamics.run(60)
        assert not calc.learner.is_learning
        errors, scale = [], []
        for _ in range(5):
            dynamics.run(10)
            frame = atoms.copy()
            frame.calc = reference()
            errors.append(atoms.get_forces() - frame.get_forces())
            scale.append(frame.get_forces())
    assert np.abs(errors).mean() < 0.2 * np.abs(scale).mean()
