"""Several simulations in turns on one learner: each as if it were alone, and none stands still for another."""

import os
import signal
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.mep import NEB
from ase.optimize import FIRE

from ase_bmdal import UncertaintyLimits
from ase_bmdal.common.errors import LabellingError, UntrustedError
from ase_bmdal.run.events import SimulationEnded
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from ase_bmdal.walkers.guard import Guard
from ase_bmdal.walkers.stop import Deadline
from ase_bmdal.walkers.together import MANY
from tests.calculator.test_simulations import Judge
from tests.calculator.test_trust import LONG, LOOSE, moving
from tests.learner.runs import Watched, copper, learning, walk


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """A calculator that has learned, and learns no more."""
    with learning(EMT, tmp_path_factory.mktemp("settled") / "run", uncertainty=LOOSE) as calc:
        walk(copper(), calc, 8)
    return calc


@pytest.fixture
def calc(watch, run):
    """One that learns only where it is told to."""
    with learning(
        watch.reference, run, uncertainty=LOOSE, convergence=LONG, pool_interval=1000
    ) as calculator:
        walk(copper(), calculator, 3)
        yield calculator


def hot(calc, number, repeat=1):
    """A simulation with a calculator and random numbers of its own."""
    atoms, rng = copper(number, repeat=repeat), np.random.default_rng(number)
    atoms.calc = calc.walker(f"walker {number}")
    return Langevin(
        atoms, 2 * units.fs, temperature_K=300 + number, friction=0.1 / units.fs, fixcm=False, rng=rng
    )


def ends_of(dyns):
    return [dyn.atoms.positions.copy() for dyn in dyns]


def numbers_of(failing, event, at):
    """An observer that does something at one step."""

    def look():
        if failing.nsteps == at:
            event()

    return look


@pytest.mark.parametrize("sizes", [(1, 2, 1), (1,) * MANY])
def test_each_goes_where_it_goes_alone(settled, sizes):
    """Also where they are of different sizes, and where they are two crews."""
    alone = [hot(settled, number, repeat) for number, repeat in enumerate(sizes)]
    assert all(settled.run(dyn, 25) for dyn in alone)
    together = [hot(settled, number, repeat) for number, repeat in enumerate(sizes)]
    assert settled.run(together, 25) == [True] * len(sizes)
    assert [dyn.nsteps for dyn in together] == [25] * len(sizes)
    for one, other in zip(ends_of(alone), ends_of(together), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("n", [3, MANY])
def test_the_same_twice_is_the_same_bit_by_bit(watch, tmp_path, n):
    found = []
    for name in ("one", "another"):
        with learning(watch.reference, tmp_path / name, uncertainty=LOOSE, max_rounds=2) as calc:
            dyns = [hot(calc, number) for number in range(n)]
            calc.run(dyns, 12)
            found.append((ends_of(dyns), calc.learner.generation))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1] > 2


def test_all_learn_from_what_each_has_found(watch, run):
    with learning(watch.reference, run, uncertainty=LOOSE, max_rounds=3) as calc:
        calc.run([hot(calc, number) for number in range(3)], 15)
    rows = LabelStore(run / "labels.db").rows()
    assert len({row.walker for row in rows if row.round}) > 1
    ends = [event for event in History.read(run).events if isinstance(event, SimulationEnded)]
    assert [(end.reason, end.steps) for end in ends] == [("all steps are done", 15)] * 3


def test_only_the_one_that_is_rejected_goes_back(calc):
    dyns = [hot(calc, number) for number in range(3)]
    judge = Judge(dyns[1].atoms.calc)
    judge.verdicts = ["accept"] * 8 + ["reject"]
    assert calc.run(dyns, 15) == [True] * 3
    assert [dyn.atoms.info.get("rewinds", 0) for dyn in dyns] == [0, 1, 0]
    assert [dyn.nsteps for dyn in dyns] == [15] * 3


@pytest.mark.parametrize("n", [3, MANY])
def test_the_others_go_on_when_one_cannot(calc, n):
    dyns = [hot(calc, number) for number in range(n)]
    judge = Judge(dyns[1].atoms.calc)
    judge.verdicts = ["accept"] * 5 + ["reject"] * 100
    with pytest.raises(UntrustedError, match="expected the simulation to get past") as caught:
        calc.run(dyns, 20)
    assert caught.value.__notes__ == ["of the simulations, counted from 0, 1 ended so"]
    assert all(dyn.nsteps == 20 for dyn in dyns if dyn is not dyns[1])


@pytest.mark.parametrize("error", [ValueError("a slip of the script"), KeyboardInterrupt()])
def test_what_is_not_of_one_simulation_ends_all(calc, run, error):
    dyns = [hot(calc, number) for number in range(3)]

    def fail():
        raise error

    dyns[1].attach(numbers_of(dyns[1], fail, at=5))
    with pytest.raises(type(error)):
        calc.run(dyns, 30)
    assert all(dyn.nsteps <= 6 for dyn in dyns)
    assert not any(isinstance(getattr(dyn.step, "__self__", None), Guard) for dyn in dyns)
    ends = [event for event in History.read(run).events if isinstance(event, SimulationEnded)]
    assert len(ends) == 3
    assert calc.run(dyns, 3) == [True] * 3


@pytest.mark.parametrize("n", [3, MANY])
def test_sigterm_ends_all_in_good_order(calc, run, n):
    dyns = [hot(calc, number) for number in range(n)]
    dyns[1].attach(numbers_of(dyns[1], partial(os.kill, os.getpid(), signal.SIGTERM), at=5))
    assert calc.run(dyns, 30) == [False] * n
    assert all(5 <= dyn.nsteps <= 6 for dyn in dyns)
    ends = [event for event in History.read(run).events if isinstance(event, SimulationEnded)]
    assert ["SIGTERM came" in end.reason for end in ends] == [True] * n


def test_an_error_before_the_first_force_call_of_some(calc):
    dyns = [hot(calc, number) for number in range(3)]
    dyns[0].atoms.positions[0] = np.nan
    with pytest.raises(ValueError, match="finite positions"):
        calc.run(dyns, 30)
    assert [dyn.nsteps for dyn in dyns[1:]] == [0, 0]


def test_relaxations_and_bands(settled):
    relaxed = copper(3, by=0.1)
    relaxed.calc = settled.walker("relaxation")
    images = [copper(0), *(copper(0) for _ in range(3)), copper(1)]
    for image in images:
        image.calc = settled.share()
    band = NEB(images, method="improvedtangent")
    band.interpolate()
    optimizers = [FIRE(relaxed, logfile=None), FIRE(band, logfile=None)]
    assert settled.run([*optimizers, hot(settled, 0)], 8, fmax=1e9) == [True, True, True]


def test_a_band_in_threads(settled):
    images = [copper(0), *(copper(0) for _ in range(3)), copper(1)]
    for image in images:
        image.calc = settled.share()
    band = NEB(images, method="improvedtangent", parallel=True)
    band.interpolate()
    assert settled.run([FIRE(band, logfile=None), hot(settled, 0)], 3)[1]


class Gated(Watched):
    """A reference that waits until a file is there."""

    def calculate(self, *what, **how):
        while (self.folder / "shut").exists():
            threading.Event().wait(0.01)
        super().calculate(*what, **how)


def test_one_that_waits_for_labels_does_not_stop_the_others(watch, run):
    reference = partial(Gated, str(watch.folder))
    shut = Path(watch.folder) / "shut"
    limits = UncertaintyLimits(probability=0.8, force_tolerance=1e6)
    with learning(
        reference,
        run,
        uncertainty=limits,
        convergence=LONG,
        pool_interval=1000,
        background=True,
        executor="local",
    ) as calc:
        walk(copper(), calc, 3)
        shut.touch()
        dyns = [hot(calc, number) for number in range(3)]
        judge = Judge(dyns[0].atoms.calc)
        judge.verdicts = ["accept"] * 3 + ["reject"]
        steps = []
        dyns[1].attach(numbers_of(dyns[1], lambda: steps.append(dyns[0].nsteps), at=20))
        dyns[1].attach(numbers_of(dyns[1], shut.unlink, at=20))
        assert calc.run(dyns, 25) == [True] * 3
        assert steps == [2]
        assert calc.learner.generation > 1


def test_when_the_time_is_up_labels_in_flight_are_for_the_next_start(watch, run):
    reference, shut = partial(Gated, str(watch.folder)), Path(watch.folder) / "shut"
    how = {"uncertainty": LOOSE, "convergence": LONG, "max_labels": 10, "executor": "local"}
    with learning(reference, run, background=True, **how) as calc:
        walk(copper(), calc, 3)
        shut.touch()
        dyn = hot(calc, 0)
        walker = dyn.atoms.calc._walker
        dyn.attach(numbers_of(dyn, lambda: setattr(walker, "deadline", Deadline(1e-9)), at=30))
        assert calc.run(dyn, 1000) is False
        assert dyn.nsteps == 30
    assert "is up" in History.read(run).simulations[-1].reason
    assert len(LabelStore(run / "labels.db").rows("pending")) == 6
    calls = watch.calls
    shut.unlink()
    with learning(reference, run, **how) as calc:
        walk(copper(), calc, 1)
    assert [row.status for row in LabelStore(run / "labels.db").rows()] == ["done"] * 10
    assert watch.calls == calls + 6


class TestRefused:
    def test_a_calculator_that_two_share(self, settled):
        one, other = hot(settled, 0), hot(settled, 1)
        other.atoms.calc = one.atoms.calc
        with pytest.raises(
            ValueError,
            match=r"a calculator of its own.*simulation 1, counted from 0, has that of simulation 0",
        ):
            settled.run([one, other], 1)

    def test_none_and_that_of_another_run(self, settled):
        atoms = copper()
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
        dyn = moving(atoms, EMT())
        with pytest.raises(ValueError, match=r"simulation 1, counted from 0, has another, or none"):
            settled.run([hot(settled, 0), dyn], 1)

    def test_a_single_one_with_another_calculator(self, settled):
        with pytest.raises(ValueError, match="this calculator, got one with EMT"):
            settled.run(moving(copper(), EMT()), 1)

    def test_no_simulation(self, settled):
        with pytest.raises(TypeError, match="expected an ASE dynamics or optimizer, got None"):
            settled.run(None, 1)

    def test_nothing(self, settled):
        with pytest.raises(ValueError, match="got an empty list"):
            settled.run([], 1)


def test_an_error_of_the_evaluation_reaches_those_who_asked(settled, monkeypatch):
    from ase_bmdal.potential.evaluator import Together

    def fail(self, asked):
        raise LabellingError("made up")

    monkeypatch.setattr(Together, "predict", fail)
    with pytest.raises(LabellingError, match="made up"):
        settled.run([hot(settled, 0), hot(settled, 1)], 3)
