import json
import logging
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory, read, write

from ase_bmdal import Convergence, GMNNCalculator, InitialData, OnTheFlyCalculator, UncertaintyLimits
from ase_bmdal.common.errors import (
    BatchFailedError,
    LabellingError,
    RunFolderError,
    TrainingError,
    UnknownElementError,
)
from ase_bmdal.learner.learner import Learner, Request
from ase_bmdal.learner.pool import Frame
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.report.run import read_run
from ase_bmdal.run.events import LabelDone, LearningEnded, Round
from ase_bmdal.run.folder import RunFolder
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.labels import OURS
from ase_bmdal.uncertainty.calibrate import predictions
from tests.builders import random_model
from tests.learner.runs import copper, labelled, learn, learning, walk


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


class Interrupt:
    """A listener that raises Ctrl-C when so many labels have come."""

    left = 0

    def after(self, times):
        self.left = times

    def __call__(self, event):
        if isinstance(event, LabelDone) and self.left:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt


@pytest.fixture
def interrupt():
    return Interrupt()


def rows(run, status=None):
    return LabelStore(run / "labels.db").rows(status)


def made_by_a_function():
    return EMT()


def log(run):
    return [vars(event) for event in History.read(run).rounds]


@pytest.mark.usefixtures("not_compiled")
class TestFirstContact:
    def test_labels_the_frame_and_disturbed_copies(self, watch, run):
        atoms = copper()
        walk(atoms, learning(watch.reference, run), 1)
        stored = rows(run)
        assert [row.source for row in stored] == ["initial structures"] * 4
        np.testing.assert_allclose(stored[0].atoms.positions, copper().positions)
        assert len({row.atoms.get_volume() for row in stored}) == 4
        assert all("stress" in row.atoms.calc.results for row in stored)
        assert watch.calls == 4

    def test_a_molecule_keeps_its_cell(self, watch, run):
        walk(molecule("H2O", vacuum=3), learning(watch.reference, run), 1)
        assert len({row.atoms.get_volume() for row in rows(run)}) == 1

    def test_initial_structures_take_its_place(self, watch, run):
        initial = [*labelled(2), copper(7)]
        initial[1].calc = EMT()  # holds no results, so counts as unlabelled
        calc = learning(watch.reference, run, initial=initial)
        walk(copper(), calc, 1)
        stored = rows(run)
        assert [(row.source, row.status) for row in stored] == [("initial", "done")] * 3
        assert watch.calls == 2
        assert stored[0].atoms.get_potential_energy() == initial[0].get_potential_energy()

    def test_the_log_says_how_many_have_labels(self, watch, run, caplog):
        initial = [*labelled(2), copper(7)]
        initial[0].info["config_weight"] = 3.0
        with caplog.at_level(logging.INFO):
            calc = learning(watch.reference, run, initial=initial)
        text = "initial structures: 2 structures: 2 energies, 2 forces, 2 stresses; from free_energy, forces, stress"
        assert f"{text}; 1 with weights of their own; 1 to be labelled" in caplog.text
        walk(copper(), calc, 1)
        assert rows(run)[0].atoms.info["config_weight"] == 3.0

    def test_names_of_initial_labels_can_be_given(self, watch, run):
        initial = [copper(seed) for seed in range(2)]
        for atoms in initial:
            atoms.info["E_pbe"], atoms.info["REF_energy"] = -7.0, -8.0
        walk(copper(), learning(watch.reference, run, initial=initial, energy_key="E_pbe"), 1)
        assert [row.atoms.get_potential_energy() for row in rows(run)] == [-7.0] * 2

    def test_our_own_predictions_are_no_labels(self, watch, run, tmp_path, caplog):
        model = random_model([29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5)
        frames = [copper(seed) for seed in range(2)]
        with Trajectory(tmp_path / "predicted.traj", "w") as trajectory:
            for atoms in frames:
                atoms.calc = GMNNCalculator(model)
                atoms.get_forces()
                trajectory.write(atoms)
        initial = [frames[0], *read(tmp_path / "predicted.traj", ":")]
        calc = learning(watch.reference, run, initial=initial)
        assert set(OURS) == {each.__name__.lower() for each in (GMNNCalculator, OnTheFlyCalculator)}
        assert "initial structures: 3 have results of gmnncalculator, which are no labels" in caplog.text
        walk(copper(), calc, 1)
        assert watch.calls == 3

    def test_nor_are_they_in_extended_xyz(self, watch, run, tmp_path, caplog):
        atoms = copper()
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((4, 3)))
        atoms.calc.results["forces_uncertainty"] = np.full(4, 0.1)
        write(tmp_path / "driven.xyz", atoms, format="extxyz")
        calc = learning(watch.reference, run, initial=read(tmp_path / "driven.xyz", ":"))
        assert "initial structures: 1 have results of a potential of ours, which are no labels" in caplog.text
        walk(copper(), calc, 1)
        assert watch.calls == 1

    @pytest.mark.parametrize("initial", [copper(), "frames.xyz", Path("frames.xyz")])
    def test_a_list_is_expected(self, watch, run, initial):
        with pytest.raises(TypeError, match="initial: expected a list of structures"):
            learning(watch.reference, run, initial=initial)

    def test_results_of_another_calculator_than_the_reference_are_no_labels(self, watch, run, caplog):
        other = copper()
        other.calc = LennardJones()
        other.get_forces()
        calc = learning(watch.reference, run, initial=[*labelled(2), other])
        assert "initial structures: 1 have results of lennardjones, which are no labels" in caplog.text
        walk(copper(), calc, 1)
        assert watch.calls == 1
        unknown = learning(made_by_a_function, run.with_name("other"), initial=[*labelled(2), other])
        walk(copper(), unknown, 1)
        assert len(rows(run.with_name("other"))) == 3
        assert watch.calls == 1

    def test_a_label_far_from_its_like_is_named(self, watch, run, caplog):
        initial = labelled(8)
        initial[5].calc.results["free_energy"] += 500.0
        walk(copper(), learning(watch.reference, run, initial=initial), 1)
        assert "label 6: the energy of Cu4 is +125 eV per atom" in caplog.text

    def test_energies_of_free_atoms_are_checked_and_kept(self, watch, run):
        with pytest.raises(ValueError, match="atomic_energies: expected energies in eV by element, got 'Xy'"):
            learning(watch.reference, run, atomic_energies={"Xy": 1.0})
        walk(copper(), learning(watch.reference, run, atomic_energies={"Cu": -3.0}), 1)
        told = json.loads((run / "settings.json").read_text())["settings"]
        assert told["atomic_energies"] == {"Cu": -3.0}

    def test_initial_structures_may_lack_an_element(self, watch, run):
        atoms = copper()
        atoms.numbers[0] = 79
        walk(atoms, learning(watch.reference, run, initial=labelled(2)), 1)
        assert [row.source for row in rows(run)] == ["initial"] * 2 + ["initial structures"] * 4

    def test_initial_labels_may_be_energies_only(self, watch, run):
        initial = [molecule("H2O") for _ in range(2)]
        for k, atoms in enumerate(initial):
            atoms.info["REF_energy"] = -3.0 - k
        walk(molecule("H2O"), learning(watch.reference, run, initial=initial), 1)
        assert [row.atoms.get_potential_energy() for row in rows(run)] == [-3.0, -4.0]
        assert watch.calls == 0

    def test_molecules_and_crystals_may_be_mixed(self, watch, run):
        calc = learning(watch.reference, run, initial=[*labelled(2), molecule("H2O")])
        walk(copper(), calc, 8)
        walk(molecule("H2O"), calc, 1)
        assert {row.atoms.pbc.any() for row in rows(run, "done")} == {True, False}

    def test_a_label_that_came_with_the_frame_is_not_that_of_its_copies(self, watch, run):
        atoms = copper()
        atoms.info["REF_energy"] = 1e6
        walk(atoms, learning(watch.reference, run), 1)
        assert watch.calls == 4
        assert all(abs(row.atoms.get_potential_energy()) < 100 for row in rows(run))

    @pytest.mark.parametrize(
        ("initial", "message"),
        [
            ([], "initial: expected at least one"),
            ([copper(), Atoms("H", [[np.nan, 0, 0]])], "initial structure 1: expected finite positions"),
        ],
    )
    def test_initial_structures_are_checked(self, watch, run, initial, message):
        with pytest.raises(ValueError, match=message):
            learning(watch.reference, run, initial=initial)
        assert not run.exists()

    def test_initial_labels_are_checked(self, watch, run):
        initial = labelled(2)
        initial[1].calc.results["forces"][0, 0] = np.nan
        with pytest.raises(ValueError, match="initial structure 1: expected finite forces"):
            learning(watch.reference, run, initial=initial)

    def test_a_frame_without_sense_is_refused_before_anything_is_stored(self, watch, run):
        calc = learning(watch.reference, run)
        nonsense = copper()
        nonsense.positions[1] = np.nan
        with pytest.raises(ValueError, match="expected finite positions"):
            walk(nonsense, calc, 1)
        nonsense.positions[1] = nonsense.positions[0]
        with pytest.raises(ValueError, match=r"Cu0–Cu1 are 0.000 Å apart"):
            walk(nonsense, calc, 1)
        assert rows(run) == []
        walk(copper(), calc, 1)

    def test_a_reference_that_always_fails_stops_it_once(self, watch, run):
        watch.fail(1000)
        calc = learning(watch.reference, run)
        with pytest.raises(
            BatchFailedError, match=r"all 4 .* round 0 failed; see [\s\S]*RuntimeError: the SCF"
        ):
            walk(copper(), calc, 1)
        with pytest.raises(BatchFailedError, match=r"the SCF did not converge\n\(not tried again\)"):
            walk(copper(1), calc, 1)
        assert watch.calls == 4
        calc.close()
        watch.fail(0)
        walk(copper(), learning(watch.reference, run, initial=[copper(2), copper(3)]), 1)
        assert [row.source for row in rows(run, "done")] == ["initial"] * 2


class TestFirstBounds:
    def test_another_potential_predicts_every_second_first_label(self, watch, run):
        calc = learning(watch.reference, run, uncertainty=UncertaintyLimits(probability=0.8))
        walk(copper(), calc, 1)
        assert [bool(row.prediction) for row in rows(run)] == [False, True, False, True]
        assert calc.learner.current.error_model.is_calibrated
        assert calc.learner.current.tolerance > 0
        assert log(run)[0]["force_mae"] is None  # no test of this potential
        assert read_run(run).predictions_before_training() is None

    def test_they_are_there_after_a_restart(self, watch, run):
        with learning(watch.reference, run, uncertainty=UncertaintyLimits(probability=0.8)) as calc:
            walk(copper(), calc, 1)
            before, tolerance = calc.learner.current.error_model, calc.learner.current.tolerance
        with learning(watch.reference, run, uncertainty=UncertaintyLimits(probability=0.8)) as calc:
            walk(copper(), calc, 1)
            assert calc.learner.current.error_model.force_factor == before.force_factor
            assert calc.learner.current.tolerance == tolerance

    def test_nobody_asks_for_them_without_trust(self, watch, run):
        walk(copper(), learning(watch.reference, run, uncertainty=UncertaintyLimits(enabled=False)), 1)
        assert not any(row.prediction for row in rows(run))


class TestGivenModel:
    @pytest.fixture
    def model(self):
        return random_model([29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5, dtype="float32")

    @pytest.mark.parametrize(
        "selection", ["LCMD + FEAT(RP)", "MAXDET + GP(LL)", "MAXDIST + GP(RP)", "MAXDIAG + GP(LL)"]
    )
    def test_needs_no_first_contact(self, watch, run, model, selection):
        calc = learning(watch.reference, run, model=model, selection=selection, architecture=None)
        walk(copper(), calc, 6)
        assert [row.round for row in rows(run)] == [1] * 3

    def test_learns_the_initial_structures_first(self, watch, run, model):
        walk(copper(), learning(watch.reference, run, model=model, initial=labelled(2)), 1)
        assert [row.source for row in rows(run)] == ["initial"] * 2

    def test_may_be_used_as_it_is(self, watch, run, model):
        calc = learning(watch.reference, run, model=model, max_rounds=0)
        walk(copper(), calc, 7)
        assert watch.calls == 0
        assert calc.learner.reason_to_finish == "the budget of 0 rounds is spent"

    @pytest.mark.usefixtures("not_compiled")
    def test_learns_an_unknown_element(self, watch, run, model):
        atoms = copper()
        atoms.numbers[0] = 79
        walk(atoms, learning(watch.reference, run, model=model), 1)
        assert [row.source for row in rows(run)] == ["initial structures"] * 4

    def test_must_be_a_committee_for_qbc(self, watch, run, model):
        with pytest.raises(
            ValueError, match=r"model: expected one of 3 networks for .*QBC\(F\), got one of 1"
        ):
            learning(watch.reference, run, model=model, selection="MAXDIAG + QBC(F)")
        assert not run.exists()

    def test_must_have_the_architecture(self, watch, run, model):
        with pytest.raises(ValueError, match="architecture of the model"):
            learning(watch.reference, run, model=model, cutoff=4.0)


class TestRounds:
    @pytest.mark.parametrize("selection", ["MAXDIAG + RND", "MAXDIAG + QBC(E)", "MAXDIST + FEAT(LL)"])
    def test_selects_and_trains(self, watch, run, selection):
        calc = learning(watch.reference, run, selection=selection)
        walk(copper(), calc, 6)
        assert [row.round for row in rows(run)] == [0] * 4 + [1] * 3
        assert all(row.prediction["forces"].shape == (4, 3) for row in rows(run) if row.round)
        assert calc.learner.generation == 2

    def test_selects_by_the_features_of_a_committee(self, watch, run):
        calc = learning(watch.reference, run, selection="LCMD + FEAT(RP)", n_models=3)
        walk(copper(), calc, 6)
        assert [row.round for row in rows(run)] == [0] * 4 + [1] * 3
        assert all(row.prediction["n_models"] == 3 for row in rows(run) if row.round)
        each = [member.predict([copper()])[0].forces for member in calc.learner.potential.members]
        spread = np.sqrt(np.var(each, axis=0, ddof=1).sum(axis=1))
        [found] = predictions(calc.learner.potential, None, [copper()])
        np.testing.assert_allclose(found["raw_forces"], spread, rtol=1e-3)
        assert json.loads((run / "settings.json").read_text())["settings"]["n_models"] == 3
        calc.close()
        again = learning(watch.reference, run, selection="LCMD + FEAT(RP)", n_models=3)
        assert len(again.learner.potential.members) == 3

    def test_a_selection_that_compares_networks_refuses_a_single_one(self, watch, run):
        with pytest.raises(
            ValueError, match=r"n_models: expected at least 2 for MAXDIAG \+ QBC\(E\), .* got 1"
        ):
            learning(watch.reference, run, selection="MAXDIAG + QBC(E)", n_models=1)
        assert LearnerSettings(selection="MAXDIAG + QBC(E)").committee_size == 3
        assert LearnerSettings(selection="MAXDIAG + QBC(E)", n_models=2).committee_size == 2
        assert LearnerSettings().committee_size == 1

    @pytest.mark.parametrize("selection", ["MAXDET + GP(LL)", "MAXDET + GP(RP)", "LCMD + FEAT(RP)"])
    def test_a_pool_of_copies_does_no_harm(self, watch, run, selection):
        calc = learning(watch.reference, run, selection=selection, max_rounds=2)
        atoms, there_and_back = copper(), 0.01
        atoms.calc = calc
        for _ in range(14):
            atoms.positions[0, 0] += there_and_back
            there_and_back *= -1
            atoms.get_forces()
        assert calc.learner.reason_to_finish == "the budget of 2 rounds is spent"
        assert rows(run, "failed") == []

    def test_the_next_best_replaces_what_failed(self, watch, run):
        calc = learning(watch.reference, run)
        walk(copper(), calc, 1)
        watch.fail(2)
        walk(copper(1), calc, 5)
        assert [row.status for row in rows(run) if row.round == 1] == [
            "failed",
            "failed",
            "done",
            "done",
            "done",
        ]
        assert log(run)[1]["failed"] == 2

    def test_one_failure_does_not_stop_a_batch_of_one(self, watch, run):
        calc = learning(watch.reference, run, batch_size=1)
        walk(copper(), calc, 1)
        watch.fail(2)
        learn(calc, [], [copper(seed) for seed in range(1, 5)])
        assert [row.status for row in rows(run) if row.round == 1] == ["failed", "failed", "done"]

    def test_a_batch_that_fails_stops_it_and_is_not_tried_again(self, watch, run):
        calc = learning(watch.reference, run)
        walk(copper(), calc, 5)
        watch.fail(1000)
        with pytest.raises(BatchFailedError, match=r"all 3 .* of round 1 failed"):
            walk(copper(1), calc, 1)
        before = watch.calls
        walk(copper(2), calc, 5)  # the pool is empty again
        assert watch.calls == before
        watch.fail(0)
        walk(copper(3), calc, 1)
        assert {row.round for row in rows(run, "done")} == {0, 2}

    def test_small_rounds_that_fail_stop_it_when_a_batch_has_failed_in_a_row(self, watch, run):
        calc = learning(watch.reference, run, pool_interval=100)
        walk(copper(), calc, 1)
        watch.fail(2)
        learn(calc, [], [copper(1), copper(2)])
        learn(calc, [], [copper(3)])
        watch.fail(1000)
        learn(calc, [], [copper(4), copper(5)])
        with pytest.raises(BatchFailedError, match=r"all 1 .* of round 4 failed"):
            learn(calc, [], [copper(6)])
        statuses = [(row.round, row.status) for row in rows(run) if row.round]
        assert statuses == [(1, "failed"), (1, "failed"), (2, "done"), *[(3, "failed")] * 2, (4, "failed")]
        assert [line["new_labels"] for line in log(run)] == [4, 0, 1, 0]

    def test_frames_without_sense_are_left_out(self, watch, run):
        calc = learning(watch.reference, run)
        walk(copper(), calc, 1)
        nonsense = copper()
        nonsense.positions[1] = nonsense.positions[0] + 0.1
        learn(calc, [nonsense, copper(1), copper(2), nonsense, copper(3)])
        assert rows(run, "failed") == []
        with pytest.raises(BatchFailedError, match=r"none of the 2 frames.*Cu0–Cu1"):
            learn(calc, [nonsense, nonsense])

    def test_the_log_and_the_events_agree_with_the_store(self, watch, run):
        events = []
        calc = learning(watch.reference, run, on_event=events.append, max_rounds=2)
        walk(copper(), calc, 20)
        assert [event for event in events if isinstance(event, Round)] == History.read(run).rounds
        assert [line["round"] for line in log(run)] == [0, 1, 2]
        assert [line["labels"] for line in log(run)] == [4, 7, 10]
        assert [line["pool"] for line in log(run)] == [0, 6, 6]
        assert [event.reason for event in events if isinstance(event, LearningEnded)] == [
            "the budget of 2 rounds is spent"
        ]
        new = [row for row in rows(run) if row.round == 2]
        errors = [row.prediction["forces"] - row.atoms.get_forces() for row in new]
        assert log(run)[2]["force_mae"] == pytest.approx(np.abs(errors).mean())
        assert log(run)[2]["force_rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()))
        energies = [row.prediction["energy"] - row.atoms.get_potential_energy() for row in new]
        assert log(run)[2]["energy_mae"] == pytest.approx(np.abs(energies).mean() / 4)


class TestTheEndOfLearning:
    @pytest.mark.parametrize("limit", [2, 4, 6, 8])
    def test_the_budget_of_labels_is_never_exceeded(self, watch, run, limit):
        calc = learning(watch.reference, run, max_labels=limit)
        walk(copper(), calc, 20)
        assert len(rows(run, "done")) == limit == watch.calls
        assert not calc.learner.is_learning

    def test_given_labels_count(self, watch, run):
        calc = learning(watch.reference, run, initial=[copper(9), *labelled(3), copper(8)], max_labels=4)
        walk(copper(), calc, 10)
        assert (len(rows(run)), watch.calls) == (4, 1)

    def test_small_errors_before_training_end_it(self, watch, run):
        calc = learning(watch.reference, run, convergence=Convergence(force_mae=1e3, rounds=2))
        walk(copper(), calc, 30)
        assert [line["round"] for line in log(run)] == [0, 1, 2]
        assert "below 1000.0 eV/Å for 2 rounds" in calc.learner.reason_to_finish

    def test_the_potential_is_fixed_then(self, watch, run):
        calc = learning(watch.reference, run, max_rounds=1)
        walk(copper(), calc, 6)
        version, calls = calc.learner.generation, watch.calls
        walk(copper(1), calc, 20)
        assert (calc.learner.generation, watch.calls) == (version, calls)
        gold = copper()
        gold.numbers[0] = 79
        with pytest.raises(
            UnknownElementError, match="got also Au; they would be learned, but the budget of 1 rounds"
        ):
            walk(gold, calc, 1)


class TestRestart:
    def test_goes_on_without_a_calculation(self, watch, run):
        with learning(watch.reference, run) as calc:
            before = walk(copper(), calc, 7)[-1]
        calls = watch.calls
        events = []
        with learning(watch.reference, run, on_event=events.append) as calc:
            atoms = copper()
            rng = np.random.default_rng(0)
            for _ in range(6):
                atoms.positions += 0.02 * rng.standard_normal(atoms.positions.shape)
            atoms.calc = calc
            assert atoms.get_potential_energy() == pytest.approx(before, abs=1e-6)
            assert (watch.calls, events) == (calls, [])
            walk(atoms, calc, 6)
        assert watch.calls == calls + 3
        assert [line["round"] for line in log(run)] == [0, 1, 2]

    def test_takes_up_what_an_interruption_left(self, watch, run, interrupt):
        calc = learning(watch.reference, run, on_event=interrupt)
        walk(copper(), calc, 5)
        interrupt.after(2)
        with pytest.raises(KeyboardInterrupt):
            walk(copper(1), calc, 1)
        assert [row.status for row in rows(run) if row.round == 1].count("pending") == 1
        calls = watch.calls
        walk(copper(2), calc, 1)  # the same calculator, as in a notebook
        assert watch.calls == calls + 1
        assert [line["labels"] for line in log(run)] == [4, 7]
        assert rows(run, "pending") == []

    @pytest.mark.parametrize("after", [1, 4])
    def test_takes_up_an_interrupted_beginning(self, watch, run, after, interrupt):
        calc = learning(watch.reference, run, on_event=interrupt)
        interrupt.after(after)
        with pytest.raises(KeyboardInterrupt):
            walk(copper(), calc, 1)
        calc.close()
        done = len(rows(run, "done"))
        assert done == after
        calls = watch.calls
        walk(copper(), learning(watch.reference, run), 1)
        assert watch.calls - calls == 4 - done
        assert [line["labels"] for line in log(run)] == [4]

    def test_a_lower_budget_holds_for_what_was_begun(self, watch, run, interrupt):
        calc = learning(watch.reference, run, on_event=interrupt)
        interrupt.after(1)
        with pytest.raises(KeyboardInterrupt):
            walk(copper(), calc, 1)
        calc.close()
        walk(copper(), learning(watch.reference, run, max_labels=2), 10)
        assert len(rows(run, "done")) == 2

    def test_training_that_failed_is_repeated_without_labelling(self, watch, run, monkeypatch):
        calc = learning(watch.reference, run)
        walk(copper(), calc, 5)

        def diverge(*args, **kwargs):
            raise TrainingError("diverged")

        with monkeypatch.context() as broken:
            broken.setattr(calc.learner, "train", diverge)
            for _ in range(3):
                with pytest.raises(TrainingError):
                    walk(copper(1), calc, 1)
        assert len(rows(run)) == 7
        walk(copper(1), calc, 1)
        assert len(rows(run)) == 7
        assert [line["labels"] for line in log(run)] == [4, 7]

    def test_a_lost_model_comes_back(self, watch, run):
        with learning(watch.reference, run) as calc:
            walk(copper(), calc, 6)
        (run / "models" / "round-0001.npz").unlink()
        calls = watch.calls
        with learning(watch.reference, run) as calc:
            walk(copper(), calc, 1)
        assert (run / "models" / "round-0001.npz").exists()
        assert watch.calls == calls
        assert [line["round"] for line in log(run)] == [0, 1]

    @pytest.mark.usefixtures("not_compiled")
    @pytest.mark.parametrize("change", [{"selection": "MAXDIAG + QBC(F)"}, {"seed": 1}, {"cutoff": 3.0}])
    def test_other_settings_train_anew(self, watch, run, change):
        with learning(watch.reference, run) as calc:
            walk(copper(), calc, 6)
            before = calc.learner.potential
        calls = watch.calls
        with learning(watch.reference, run, **change) as calc:
            walk(copper(), calc, 1)
            model = calc.learner.potential
        assert watch.calls == calls
        assert len(model.members) == (3 if "selection" in change else 1)
        assert model.settings.cutoff == change.get("cutoff", 3.5)
        assert not np.array_equal(model.members[0].parameters["beta"], before.parameters["beta"])

    def test_a_higher_budget_goes_on(self, watch, run):
        with learning(watch.reference, run, max_labels=4) as calc:
            walk(copper(), calc, 8)
        with learning(watch.reference, run, max_labels=6) as calc:
            walk(copper(), calc, 8)
        assert len(rows(run, "done")) == 6

    @pytest.mark.parametrize("what", ["reference", "initial"])
    def test_another_run_is_refused_by_name(self, watch, run, what):
        with learning(watch.reference, run, initial=labelled(2)) as calc:
            walk(copper(), calc, 1)
        stored = (run / "settings.json").read_text()
        reference = EMT if what == "reference" else watch.reference
        initial = labelled(3) if what == "initial" else labelled(2)
        with pytest.raises(RunFolderError, match=f"^{what}: the run in .* was started with"):
            learning(reference, run, initial=initial)
        assert (run / "settings.json").read_text() == stored
        assert len(rows(run, "done")) == 2

    def test_same_seed_same_run(self, watch, tmp_path):
        energies = {}
        for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
            settings = {"seed": seed, "max_rounds": 2, "uncertainty": UncertaintyLimits(refuse=1e12)}
            with learning(watch.reference, tmp_path / name, **settings) as calc:
                energies[name] = walk(copper(), calc, 20)
        assert energies["a"] == energies["b"] != energies["c"]
        a, b = (rows(tmp_path / name) for name in "ab")
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)


class TestClosed:
    def test_predicts_on_and_learns_no_more(self, watch, run):
        calc = learning(watch.reference, run)
        walk(copper(), calc, 2)
        calc.close()
        calc.close()
        walk(copper(1), calc, 20)
        assert watch.calls == 4
        with pytest.raises(LabellingError, match="the calculator is closed"):
            learn(calc, [copper()])
        gold = copper()
        gold.numbers[0] = 79
        with pytest.raises(UnknownElementError, match="the calculator is closed"):
            walk(gold, calc, 1)

    def test_cannot_begin(self, watch, run):
        calc = learning(watch.reference, run)
        calc.close()
        with pytest.raises(LabellingError, match="the calculator is closed; make a new one"):
            walk(copper(), calc, 1)

    def test_what_cannot_be_sent_makes_no_folder(self, run):
        handle = (number for number in range(3))
        with pytest.raises(LabellingError, match="cannot be sent"):
            learning(lambda: handle, run)
        assert not run.exists()


def test_selections_that_need_labels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="without AE"):
        LearnerSettings(selection="MAXDIAG + AE(F)")


def test_a_round_needs_a_potential(run):
    with pytest.raises(RuntimeError, match="prepare it first"):
        Learner(RunFolder(run), LearnerSettings()).ask(Request(required=[Frame(copper())]))


def test_settings_of_first_contact(watch, run):
    walk(copper(), learning(watch.reference, run, initial_data=InitialData(n_structures=1)), 1)
    assert len(rows(run)) == 1
