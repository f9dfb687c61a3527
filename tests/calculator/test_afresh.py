"""Optimizers with a memory, on a surface that changes under them as it does while a potential learns."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import (
    BFGS,
    FIRE,
    LBFGS,
    RFO,
    BFGSLineSearch,
    GoodOldQuasiNewton,
    LBFGSLineSearch,
    MDMin,
    ODE12r,
)
from ase.optimize.precon import PreconLBFGS
from ase.optimize.sciopt import OptimizerConvergenceError, SciPyFminBFGS, SciPyFminCG

from ase_bmdal.walkers.guard import guard

STEPWISE = (BFGS, LBFGS, RFO, BFGSLineSearch, LBFGSLineSearch, GoodOldQuasiNewton, FIRE, MDMin)
OPTIMIZERS = {kind.__name__: kind for kind in (*STEPWISE, SciPyFminBFGS, SciPyFminCG, ODE12r)}
OPTIMIZERS["PreconLBFGS"] = lambda atoms, **how: PreconLBFGS(atoms, precon=None, **how)


RNG = np.random.default_rng(0)
AXES = np.linalg.qr(RNG.standard_normal((12, 12)))[0]
STIFFNESS = (AXES * np.geomspace(2, 40, 12)) @ AXES.T  # eV/Å²
START = 0.2 * RNG.standard_normal((4, 3))


class Learning(Calculator):
    """Four atoms in a well that is another one after some calls: skewed at first, each 2 eV above the one before."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, rounds=()):
        super().__init__()
        self.rounds, self.calls, self.version = rounds, 0, 0
        self.told = lambda: None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        changed = self.calls in self.rounds
        self.version += changed
        left = len(self.rounds) - self.version
        stiffness = STIFFNESS + 3 * left * (-1) ** left * np.outer(AXES[0], AXES[0])
        u = self.atoms.positions.ravel()
        energy = u @ stiffness @ u / 2 + 5 * np.sum(u**4) - 2 * left
        forces = -(stiffness @ u + 20 * u**3).reshape(4, 3)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if changed:
            self.told()


def well(rounds):
    return Atoms("Cu4", START, calculator=Learning(rounds))


def relaxation(kind, rounds):
    """An optimizer that is guarded, on a surface that changes at some calls."""
    atoms = well(rounds)
    calc = atoms.calc
    dyn = kind(atoms, logfile=None)
    held = guard(dyn, recover=print, surface=lambda: calc.version)
    calc.told = held.surface_changed
    return dyn, held


@pytest.mark.filterwarnings("ignore:Armijo linesearch failed")  # said of the step that is done anew
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_ends_where_it_would_on_the_last_surface(name):
    dyn, held = relaxation(OPTIMIZERS[name], rounds=(3, 7, 8, 14))
    assert held.run(steps=150, fmax=0.03)
    assert dyn.atoms.calc.version == 4
    free = OPTIMIZERS[name](well(()), logfile=None)
    assert free.run(steps=150, fmax=0.03)
    assert dyn.atoms.get_potential_energy() == pytest.approx(free.atoms.get_potential_energy(), abs=5e-3)
    assert dyn.nsteps <= free.nsteps + 25


@pytest.mark.parametrize("kind", [LBFGSLineSearch, SciPyFminBFGS])
def test_without_a_guard_it_does_not(kind):
    """What a guard is for; if this fails, ASE has become better."""
    dyn = kind(well((3, 7, 8, 14)), logfile=None)
    with pytest.raises((RuntimeError, OptimizerConvergenceError)):
        dyn.run(steps=50, fmax=0.03)


def test_what_was_learned_unguarded_in_between_is_forgotten():
    dyn, held = relaxation(GoodOldQuasiNewton, rounds=(8,))
    held.run(steps=3, fmax=0.03)
    held.release()
    dyn.run(steps=5, fmax=0.03)
    calc = dyn.atoms.calc
    assert calc.version == 1
    held = guard(dyn, recover=print, surface=lambda: calc.version)
    assert held.run(steps=30, fmax=0.03)
    held.release()
    assert "hessian" in vars(dyn)


def test_settings_and_counts_stay():
    dyn, held = relaxation(BFGSLineSearch, rounds=(4,))
    held.run(steps=30, fmax=0.03)
    assert dyn.atoms.calc.version == 1
    assert dyn.force_calls == dyn.atoms.calc.calls - 1
    assert dyn.nsteps > 4


def test_a_failure_on_one_surface_goes_through():
    held = relaxation(BFGS, rounds=())[1]
    held._original = lambda: (_ for _ in ()).throw(RuntimeError("LineSearch failed!"))
    with pytest.raises(RuntimeError, match="LineSearch failed!"):
        held.run(steps=5)
