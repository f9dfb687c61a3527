"""Trust while a simulation runs: bounds, rounds at once, going back, stopping."""

import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from ase_bmdal import Convergence, GMNNCalculator, UncertaintyLimits
from ase_bmdal.common.errors import SimulationStopped, UntrustedError
from ase_bmdal.run.events import Rewound, Round, SimulationEnded
from ase_bmdal.run.history import History
from ase_bmdal.uncertainty.limits import Judgement
from tests.learner.runs import copper, learning, walk

LOOSE = UncertaintyLimits(probability=0.8, force_tolerance=1e6)
LONG = Convergence(rounds=50)
REJECTED = Judgement("reject", "made up")


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def rounds(run):
    return [vars(event) for event in History.read(run).rounds]


def moving(atoms, calc, **settings):
    """A simulation at room temperature."""
    atoms.calc = calc
    spread = np.sqrt(atoms.get_masses() * 300 * units.kB)[:, None]
    atoms.set_momenta(spread * np.random.default_rng(0).standard_normal((len(atoms), 3)))
    return VelocityVerlet(atoms, 1 * units.fs, **settings)


def test_bounds_come_with_first_contact_and_are_kept(watch, run):
    atoms = copper()
    with learning(watch.reference, run, uncertainty=LOOSE) as calc:
        walk(atoms, calc, 1)
        assert "forces_uncertainty" in calc.results
        walk(atoms, calc, 30)
        forces, energy = calc.results["forces_uncertainty"], calc.results["energy_uncertainty"]
        assert forces.shape == (4,)
        assert (forces > 0).all()
        assert energy > 0
        positions = calc.atoms.positions.copy()
    atoms.positions = positions
    atoms.calc = GMNNCalculator(run)
    atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.calc.results["forces_uncertainty"], forces, rtol=1e-4)
    again = learning(watch.reference, run, uncertainty=LOOSE)
    atoms.calc = again
    atoms.get_forces()
    np.testing.assert_allclose(again.results["forces_uncertainty"], forces, rtol=1e-4)
    covered = [line["coverage"] for line in rounds(run)]
    assert covered[0] is None
    assert all(0 <= each <= 1 for each in covered[1:])
    assert len(covered) > 2


def test_another_probability_takes_effect_on_restart(watch, run):
    with learning(watch.reference, run, uncertainty=LOOSE) as calc:
        walk(copper(), calc, 15)
        before = calc.learner.current.error_model
    again = learning(watch.reference, run, uncertainty=UncertaintyLimits(probability=0.5))
    atoms = copper()
    atoms.calc = again
    atoms.get_forces()
    after = again.learner.current.error_model
    assert (before.probability, after.probability) == (0.8, 0.5)
    assert after.force_factor < before.force_factor


def test_a_doubtful_frame_is_labelled_at_once(watch, run):
    strict = UncertaintyLimits(
        probability=0.8, force_tolerance=1e-9, refuse=1e12, cool_down=3, longest_cool_down=3
    )
    calc = learning(watch.reference, run, uncertainty=strict, pool_size=6)
    atoms = copper()
    walk(atoms, calc, 1)
    assert [line["new_labels"] for line in rounds(run)] == [4, 1]
    walk(atoms, calc, 4, seed=1)
    asked = calc.atoms.positions
    last = rounds(run)[-1]
    assert (last["round"], last["new_labels"]) == (2, 3)
    assert "the force on atom" in last["reason"]
    assert "more than the tolerance of 1e-09 eV/Å" in last["reason"]
    labelled = [row.atoms.positions for row in calc.learner.dataset.of_round(2)]
    assert any(np.allclose(each, asked) for each in labelled)
    walk(atoms, calc, 3, seed=2)
    assert len(rounds(run)) == 3  # it cools down


def test_a_frame_beyond_the_limit_gives_no_forces(watch, run):
    calc = learning(
        watch.reference,
        run,
        uncertainty=UncertaintyLimits(probability=0.8, force_tolerance=1e-9),
        max_rounds=1,
    )
    atoms = copper()
    with pytest.raises(UntrustedError, match=r"atom \d may be wrong by .* more than the limit of 5e-09 eV/Å"):
        walk(atoms, calc, 30)
    assert "forces" not in calc.results
    labels = watch.calls
    with pytest.raises(UntrustedError):
        atoms.get_forces()
    assert watch.calls == labels


def test_atoms_that_nearly_touch_give_no_forces(watch, run):
    calc = learning(watch.reference, run)
    atoms = copper()
    walk(atoms, calc, 1)
    atoms.positions[1] = atoms.positions[0] + [0, 0, 0.5]
    with pytest.raises(UntrustedError, match=r"0\.19 times the sum of their covalent radii apart"):
        atoms.get_forces()


def test_without_trust_nothing_is_refused_and_nothing_is_known(watch, run):
    calc = learning(watch.reference, run, uncertainty=UncertaintyLimits(enabled=False), max_rounds=1)
    atoms = copper()
    walk(atoms, calc, 10)
    assert calc.learner.current.error_model is None
    assert "forces_uncertainty" not in calc.results
    atoms.positions[1] = atoms.positions[0] + [0, 0, 0.5]
    atoms.get_forces()


class Refusing:
    """Makes a calculator refuse at some of its calls, as long as the potential has not changed."""

    def __init__(self, calc, at):
        self.calls, self.at, self.versions = 0, at, set()
        self.judge, self.learner = calc._walker.judge, calc.learner
        calc._walker.judge = self

    def __call__(self, *prediction, **how):
        self.calls += 1
        if self.calls >= self.at and self.learner.generation not in self.versions and len(self.versions) < 2:
            self.versions.add(self.learner.generation)
            return REJECTED
        return self.judge(*prediction, **how)


@pytest.mark.parametrize("kind", ["dynamics", "optimizer"])
def test_a_run_goes_back_learns_and_goes_on(watch, run, kind):
    events = []
    calc = learning(
        watch.reference, run, uncertainty=LOOSE, convergence=LONG, on_event=events.append, pool_size=50
    )
    atoms = copper(by=0.2)
    dyn = moving(atoms, calc) if kind == "dynamics" else FIRE(atoms, logfile=None)
    atoms.calc = calc
    seen = []
    dyn.attach(lambda: seen.append(dyn.nsteps))
    walk(atoms.copy(), calc, 1)
    labels = watch.calls
    Refusing(calc, at=14)
    calc.run(dyn, 20, **({} if kind == "dynamics" else {"fmax": 1e-9}))
    assert dyn.nsteps == 20
    went_back = [event for event in events if isinstance(event, Rewound)]
    assert [event.rewinds for event in went_back] == [1, 2]
    assert all(event.to_step < event.from_step and "made up" in event.reason for event in went_back)
    assert watch.calls > labels
    assert any("made up" in line["reason"] for line in rounds(run))
    assert atoms.info["rewinds"] == 2
    end = events[-1]
    assert isinstance(end, SimulationEnded)
    assert (end.reason, end.steps, end.rewinds) == ("all steps are done", 20, 2)
    assert seen[-1] == 20
    assert seen.count(14) <= 2


def test_a_run_that_does_not_get_further_ends_with_an_error(watch, run):
    events = []
    calc = learning(
        watch.reference,
        run,
        uncertainty=UncertaintyLimits(max_rewinds=2),
        on_event=events.append,
        pool_size=50,
    )
    dyn = moving(copper(), calc)
    dyn.run(3)
    calc._walker.judge = lambda *_, **how: REJECTED
    with pytest.raises(UntrustedError, match="went back 2 times"):
        calc.run(dyn, 10)
    assert isinstance(events[-1], SimulationEnded)
    assert "went back 2 times" in events[-1].reason
    assert str(run / "last_trusted.traj") in events[-1].reason


def test_a_prediction_that_is_no_number_is_gone_back_from(watch, run):
    """Before there are any bounds as well."""
    calc = learning(watch.reference, run, pool_size=50)
    dyn = moving(copper(), calc)
    dyn.run(3)
    predict, broken = calc._walker.predicting, []

    def once(*structure, **how):
        prediction = predict(*structure, **how)
        if broken:
            return prediction
        broken.append(True)
        return prediction._replace(label=replace(prediction.label, forces=np.full((4, 3), np.nan)))

    calc._walker.predicting = once
    calc.run(dyn, 5)
    assert dyn.nsteps == 8
    assert "is not a number" in rounds(run)[-1]["reason"]


def test_what_cannot_be_learned_is_not_tried(watch, run):
    calc = learning(watch.reference, run, max_rounds=0)
    dyn = moving(copper(), calc)
    dyn.run(3)
    calc._walker.judge = lambda *_, **how: REJECTED
    labels = watch.calls
    assert calc.run(dyn, 10) is False
    assert watch.calls == labels


def test_a_script_with_its_own_loop_goes_back_too(watch, run):
    calc = learning(watch.reference, run, uncertainty=LOOSE, convergence=LONG, pool_size=50)
    dyn = moving(copper(), calc)
    dyn.run(1)
    own = dyn.step
    with calc.guard(dyn) as guard:
        Refusing(calc, at=8)
        for _ in range(4):
            dyn.run(5)
        assert guard.rewinds == 2
        assert dyn.nsteps == 21
    assert dyn.step == own


def test_a_round_says_why(watch, run):
    events = []
    calc = learning(watch.reference, run, on_event=events.append)
    walk(copper(), calc, 6)
    assert [event.reason for event in events if isinstance(event, Round)] == [
        "initial structures",
        "the pool is full",
    ]


def test_wall_time(watch, run):
    events = []
    calc = learning(watch.reference, run, max_wall_time=1e-9, on_event=events.append)
    dyn = moving(copper(), calc)
    with pytest.raises(SimulationStopped, match=r"the time of 0 s is up; all labels are kept"):
        dyn.run(3)
    assert calc.run(dyn, 3) is False
    assert "is up" in events[-1].reason
    with pytest.raises(ValueError, match=r"max_wall_time\s+Input should be greater than 0"):
        learning(watch.reference, run.with_name("other"), max_wall_time=0)


def test_ctrl_c_ends_a_run_with_a_sentence(watch, run, capsys, monkeypatch):
    def interrupt():
        if dyn.nsteps == 4:
            raise KeyboardInterrupt

    events = []
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    calc = learning(watch.reference, run, on_event=events.append)
    dyn = moving(copper(), calc)
    dyn.attach(interrupt)
    sentence = (
        f"Interrupted after step 4: all labels and the newest potential are kept in {run}, and the same"
    )
    with pytest.raises(KeyboardInterrupt, match=sentence) as stop:
        calc.run(dyn, 100)
    assert (events[-1].reason, events[-1].steps) == ("interrupted", 4)
    sys.excepthook(stop.type, stop.value, stop.tb)
    assert capsys.readouterr().err == f"{stop.value}\n"
    assert stop.value._render_traceback_() == [str(stop.value)]  # what IPython asks for
    calc.run(dyn, 5)  # and on it goes, in a notebook
    assert dyn.nsteps == 9


def test_sigterm_ends_a_run_in_order(watch, run):
    events = []
    calc = learning(watch.reference, run, on_event=events.append)
    dyn = moving(copper(), calc)
    dyn.attach(lambda: dyn.nsteps == 4 and os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert calc.run(dyn, 100) is False
    assert dyn.nsteps in (4, 5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert "SIGTERM" in events[-1].reason
    assert calc.learner.generation > 0
