"""What asks for forces without going step by step, several simulations on one learner, and the end of learning."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms
from ase.io import read
from ase.mep import NEB
from ase.optimize import FIRE, LBFGSLineSearch
from ase.optimize.basin import BasinHopping
from ase.optimize.sciopt import SciPyFminBFGS

from ase_bmdal import Convergence, UncertaintyLimits
from ase_bmdal.calculator.on_the_fly import OnTheFlyCalculator
from ase_bmdal.common.errors import UntrustedError
from ase_bmdal.run.events import LearningEnded, SimulationEnded
from ase_bmdal.run.history import History
from ase_bmdal.uncertainty.limits import Judgement
from ase_bmdal.walkers.snapshot import calculators
from tests.calculator.test_trust import LONG, LOOSE, moving
from tests.learner.runs import copper, learning, walk

ENDS_AT_ONCE = Convergence(force_mae=1e3, rounds=1)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def rounds(run):
    return [vars(event) for event in History.read(run).rounds]


class Judge:
    """Makes a calculator say of some frames what it likes, of all others that they are trusted.

    `verdicts` are of the next calls, each once.
    """

    def __init__(self, calc):
        self.verdicts = []
        calc._walker.judge = self

    def __call__(self, *prediction, **how):
        verdict = self.verdicts.pop(0) if self.verdicts else "accept"
        return Judgement(verdict, "" if verdict == "accept" else "made up")


@pytest.fixture
def calc(watch, run):
    with learning(
        watch.reference, run, uncertainty=LOOSE, convergence=LONG, pool_interval=1000
    ) as calculator:
        walk(copper(), calculator, 3)
        yield calculator


@pytest.fixture
def judge(calc):
    return Judge(calc)


class TestNobodyCanGoBack:
    def test_a_refused_frame_is_labelled_learned_and_answered(self, calc, judge, watch, run):
        atoms = copper(7)
        atoms.calc = calc
        judge.verdicts = ["reject"]
        version = calc.learner.generation
        assert atoms.get_forces().shape == (4, 3)
        assert calc.learner.generation == version + 1
        assert rounds(run)[-1]["reason"] == "made up"
        labelled = calc.learner.dataset.of_round(1)[0].atoms
        np.testing.assert_allclose(labelled.positions, atoms.positions)

    def test_what_is_still_bad_then_is_refused(self, calc, judge, watch):
        atoms = copper(7)
        atoms.calc = calc
        judge.verdicts = ["reject", "reject"]
        with pytest.raises(UntrustedError, match="made up; it has just been asked for a label"):
            atoms.get_forces()
        assert "forces" not in calc.results

    def test_what_makes_no_sense_is_not_labelled(self, calc, watch):
        atoms = copper()
        atoms.calc = calc
        atoms.positions[1] = atoms.positions[0] + [0, 0, 0.5]
        calls = watch.calls
        with pytest.raises(
            UntrustedError, match=r"no reference could make sense of it \(Cu0–Cu1 are .* a rejection"
        ):
            atoms.get_forces()
        assert watch.calls == calls
        atoms.positions[1] = copper().positions[1]
        atoms.get_forces()

    def test_a_first_frame_beyond_the_limit_is_learned_under_a_guard_too(self, calc, judge):
        dyn = moving(copper(), calc)
        judge.verdicts = ["reject"]
        version = calc.learner.generation
        assert calc.run(dyn, 2)
        assert calc.learner.generation == version + 1
        assert "rewinds" not in dyn.atoms.info

    def test_basin_hopping(self, calc, judge):
        atoms = copper()
        atoms.calc = calc
        judge.verdicts = ["accept"] * 6 + ["reject", "accept"] * 2
        version = calc.learner.generation
        hop = BasinHopping(
            atoms,
            optimizer=lambda atoms, logfile: FIRE(atoms, logfile=None),
            fmax=1e9,
            dr=0.05,
            logfile=None,
            trajectory=None,
            local_minima_trajectory=None,
        )
        hop.run(8)
        assert calc.learner.generation == version + 2

    @pytest.mark.parametrize("kind", [SciPyFminBFGS, LBFGSLineSearch])
    def test_an_optimizer_starts_afresh_after_a_round(self, watch, run, kind):
        calc = learning(watch.reference, run, uncertainty=LOOSE, convergence=LONG, max_rounds=2)
        atoms = copper(by=0.1)
        atoms.calc = calc
        dyn = kind(atoms, logfile=None)
        calc.run(dyn, 6, fmax=1e-9)
        assert calc.learner.generation >= 2
        assert dyn.nsteps == 6


@pytest.mark.usefixtures("not_compiled")  # each composition has shapes of its own
class TestComposition:
    def test_it_may_differ_within_a_run_and_between_its_starts(self, watch, run):
        with learning(watch.reference, run) as calc:
            walk(copper(), calc, 2)
            walk(copper()[:3], calc, 2)
        calls = watch.calls
        with learning(watch.reference, run) as calc:
            walk(copper()[:2], calc, 2)
            assert watch.calls == calls
            gold = copper()
            gold.numbers[0] = 79
            walk(gold, calc, 1)
        assert watch.calls == calls + 4


class TestConvergence:
    @pytest.fixture
    def settled(self, watch, run):
        self.events = []
        limits = UncertaintyLimits(probability=0.8, force_tolerance=1e6, cool_down=0)
        settings = {"uncertainty": limits, "convergence": ENDS_AT_ONCE, "on_event": self.events.append}
        with learning(watch.reference, run, max_labels=9, **settings) as calc:
            walk(copper(), calc, 7)
            assert not calc.learner.is_learning
            yield calc

    @pytest.mark.parametrize("verdict", ["label", "reject"])
    def test_a_frame_beyond_the_tolerance_starts_it_again(self, settled, run, verdict):
        judge, atoms = Judge(settled), copper(7)
        labels = rounds(run)[-1]["labels"]
        walk(copper(6), settled, 3)
        judge.verdicts = [verdict]
        walk(atoms, settled, 1)
        assert (
            rounds(run)[-1]["labels"] == labels + 2 == 9
        )  # with a batch of what was seen since, within the budget
        assert rounds(run)[-1]["reason"] == "learning starts again: made up"
        assert [type(event) for event in self.events].count(LearningEnded) == 2

    def test_within_the_budget(self, settled, run, watch):
        judge = Judge(settled)
        judge.verdicts = ["label", "accept"] * 10
        walk(copper(7), settled, 20)
        assert rounds(run)[-1]["labels"] == 9
        assert settled.learner.reason_to_finish == "the budget of 9 labels is spent"
        judge.verdicts = ["reject"]
        calls = watch.calls
        with pytest.raises(UntrustedError, match="the budget of 9 labels is spent"):
            walk(copper(8), settled, 1)
        assert watch.calls == calls

    @pytest.mark.usefixtures("not_compiled")
    def test_a_new_element_starts_it_again(self, settled, run):
        gold = copper()
        gold.numbers[0] = 79
        walk(gold, settled, 1)
        assert 79 in settled.learner.potential.elements


class TestSpentBudget:
    @pytest.fixture
    def spent(self, watch, run):
        self.events = []
        settings = {"uncertainty": LOOSE, "max_rounds": 0, "on_event": self.events.append}
        with learning(watch.reference, run, **settings) as calc:
            walk(copper(9), calc, 1)
            yield calc

    def test_a_plain_run_says_what_happened_and_how_to_go_on(self, spent):
        judge, dyn = Judge(spent), moving(copper(), spent)
        judge.verdicts = ["accept"] * 6 + ["reject"]
        with pytest.raises(UntrustedError) as raised:
            dyn.run(20)
        assert str(raised.value) == (
            "made up; it would be learned, but the budget of 0 rounds is spent; allow more, and start again with the "
            "same directory. Instead of dynamics.run(steps), calc.run(dynamics, steps) goes back to the last trusted "
            "state"
        )

    def test_a_run_ends_in_order_at_its_last_trusted_state(self, spent, run):
        judge, atoms = Judge(spent), copper()
        atoms.set_constraint(FixAtoms([3]))
        dyn = moving(atoms, spent)
        seen = {}
        dyn.attach(lambda: seen.update({dyn.nsteps: (atoms.positions.copy(), atoms.get_momenta())}))
        judge.verdicts = ["accept"] * 17 + ["reject"]
        assert spent.run(dyn, 100) is False
        assert max(seen) == 16
        assert dyn.nsteps == 10
        np.testing.assert_array_equal(atoms.positions, seen[10][0])
        np.testing.assert_array_equal(atoms.get_momenta(), seen[10][1])
        kept = read(run / "last_trusted.traj")
        np.testing.assert_array_equal(kept.positions, atoms.positions)
        np.testing.assert_array_equal(kept.get_momenta(), atoms.get_momenta())
        assert kept.constraints[0].index == [3]
        end = self.events[-1]
        assert isinstance(end, SimulationEnded)
        assert end.reason.startswith("stopped after step 16: made up; the budget of 0 rounds is spent")
        assert (
            f"set back to step 10, its last trusted state, which is kept in {run / 'last_trusted.traj'}"
            in end.reason
        )
        assert spent.run(dyn, 5)

    def test_the_start_of_a_run_is_kept_if_nothing_was_trusted_since(self, spent, run):
        judge, dyn = Judge(spent), moving(copper(), spent)
        judge.verdicts = ["accept"] + ["label"] * 30 + ["reject"]
        assert spent.run(dyn, 100) is False
        assert dyn.nsteps == 0
        np.testing.assert_array_equal(read(run / "last_trusted.traj").positions, copper().positions)

    def test_an_optimizer_that_is_not_stepwise_ends_in_order_too(self, spent, run):
        judge, atoms = Judge(spent), copper(by=0.1)
        atoms.calc = spent
        dyn = SciPyFminBFGS(atoms, logfile=None)
        judge.verdicts = ["accept"] * 2 + ["reject"]
        assert spent.run(dyn, 100, fmax=1e-9) is False
        np.testing.assert_array_equal(read(run / "last_trusted.traj").positions, atoms.positions)
        assert "calc.run" not in self.events[-1].reason

    @pytest.mark.parametrize(
        ("fmax", "said"), [(1e-3, "may be wrong by"), (1e9, "converged to forces of 1e+09 eV/Å")]
    )
    def test_forces_that_converged_may_be_wrong(self, spent, fmax, said):
        """A perfect crystal has none, whatever the potential."""
        atoms = copper(by=0)
        atoms.calc = spent
        assert spent.run(FIRE(atoms, logfile=None), 5, fmax=fmax) is True
        assert said in self.events[-1].reason
        assert ("wrong" in self.events[-1].reason) == (fmax < 1)

    def test_the_images_of_a_band_are_kept_in_order(self, spent, run):
        images = [copper(seed) for seed in range(4)]
        for image in images:
            image.calc = spent.share()
        judge = Judge(images[1].calc)
        dyn = FIRE(NEB(images, method="improvedtangent"), logfile=None)
        judge.verdicts = ["accept"] * 3 + ["reject"]
        assert spent.run(dyn, 100, fmax=1e-9) is False
        kept = read(run / "last_trusted.traj", ":")
        for image, frame in zip(images, kept, strict=True):
            np.testing.assert_array_equal(frame.positions, image.positions)


class TestSeveralOnOneLearner:
    def test_the_guard_of_a_band_asks_its_images(self, calc):
        images = [copper(seed) for seed in range(3)]
        for image in images:
            image.calc = calc.share()
        dyn = FIRE(NEB(images, method="improvedtangent"), logfile=None)
        guard = calc.guard(dyn)
        assert guard.is_trusted()
        calc._walker.trigger.round_done()
        Judge(images[1].calc).verdicts = ["label"]
        images[1].get_forces()
        assert not guard.is_trusted()

    def test_an_image_that_is_refused_in_a_step_is_gone_back_from(self, calc, run):
        images = [copper(seed) for seed in range(3)]
        for image in images:
            image.calc = calc.share()
        judge = Judge(images[1].calc)
        dyn = FIRE(NEB(images, method="improvedtangent"), logfile=None)
        judge.verdicts = ["accept"] * 3 + ["label", "reject"]
        calc.run(dyn, 6, fmax=1e-9)
        assert [image.info["rewinds"] for image in images] == [1, 1, 1]
        assert dyn.nsteps == 6
        assert rounds(run)[-1]["new_labels"] == 2  # the first image has a label already

    def test_what_one_trusts_does_not_settle_the_doubts_of_another(self, calc):
        a, b = calc.share(), calc.share()
        for each in (a, b):
            walk(copper(), each, 1)
        a._walker.trigger.round_done()
        Judge(b).verdicts = ["label"]
        walk(copper(3), b, 1)
        Judge(a)
        walk(copper(4), a, 1)
        assert len(b._walker.trigger.doubtful) == 1
        assert not a._walker.trigger.doubtful

    def test_a_round_of_one_cools_all_down(self, calc):
        a, b = calc.share(), calc.share()
        a._walker.trigger.round_done()
        b._walker.trigger.note(copper(), "label")
        assert not b._walker.trigger.is_due(0)

    def test_calculators_within_others_are_found(self, calc):
        atoms = copper()
        atoms.calc = SumCalculator([EMT(), calc])
        assert calculators(FIRE(atoms, logfile=None), OnTheFlyCalculator) == [calc]
        assert calculators(moving(copper(), EMT()), OnTheFlyCalculator) == []
