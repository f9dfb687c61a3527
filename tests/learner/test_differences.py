"""Runs with a baseline: what is stored, what is learned, and what is refused."""

import json

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from ase_bmdal import GMNNCalculator
from ase_bmdal.common.errors import BaselineError, RunFolderError
from ase_bmdal.report.run import read_run
from ase_bmdal.report.tables import report_text
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore
from tests.baseline.cheap import PAIRS, STIFFER, Fails, OfTheLastCall
from tests.learner.runs import Watch, copper, labelled, learn, learning, walk


def done(folder):
    return LabelStore(folder / "labels.db").rows("done")


def emt(atoms):
    other = atoms.copy()
    other.calc = EMT()
    return other


def written_otherwise():
    return PAIRS()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of two rounds, which no test changes, and its reference."""
    folder = tmp_path_factory.mktemp("finished")
    watch = Watch(folder)
    with learning(watch.reference, folder / "run", baseline=PAIRS, max_rounds=2) as calc:
        walk(copper(), calc, 20)
    return folder / "run", watch


@pytest.fixture
def run(finished):
    return finished[0]


def test_labels_are_kept_as_the_reference_gave_them(run):
    entries = done(run)
    assert len(entries) == 4 + 3 + 3
    for entry in entries:
        expected, cheap = emt(entry.atoms), entry.atoms.copy()
        cheap.calc = PAIRS()
        assert entry.atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-9)
        assert entry.baseline.energy == pytest.approx(cheap.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(entry.baseline.forces, cheap.get_forces(), atol=1e-9)
        np.testing.assert_allclose(entry.baseline.stress, cheap.get_stress(), atol=1e-9)
        difference = entry.atoms.get_forces() - cheap.get_forces()
        np.testing.assert_allclose(entry.learned.atoms.get_forces(), difference, atol=1e-9)


def test_what_was_predicted_is_reported_as_a_whole(run):
    rows = {row.id: row for row in read_run(run).rows}
    tests = [row for row in rows.values() if row.is_test]
    pairs = read_run(run).predictions_before_training()
    expected = [row.prediction["forces"] + row.baseline.forces for row in tests]
    np.testing.assert_allclose(pairs.predicted, np.concatenate(expected).ravel())
    np.testing.assert_allclose(
        pairs.reference, np.concatenate([row.atoms.get_forces() for row in tests]).ravel()
    )
    found = [report.force_mae for report in read_run(run).rounds if report.force_mae is not None]
    assert found == pytest.approx([pairs.of_round(number).mae for number in (1, 2)])


def test_the_first_labels_say_whether_it_helps(run):
    found = History.read(run).baseline
    assert (found.trained, found.tested) == (2, 2)
    rows = [row for row in done(run) if row.round == 0 and row.prediction]
    errors = [row.prediction["forces"] - row.learned.atoms.get_forces() for row in rows]
    assert found.force_mae == pytest.approx(np.abs(errors).mean())
    assert found.force_mae_without != found.force_mae
    assert f"{found}" in report_text(read_run(run))


def test_a_run_without_one_says_nothing_of_it(tmp_path, watch):
    with learning(watch.reference, tmp_path / "run", max_rounds=0) as calc:
        walk(copper(), calc, 1)
    assert History.read(tmp_path / "run").baseline is None


def test_goes_on_with_the_same_baseline_written_otherwise(finished):
    run, watch = finished
    calls = watch.calls
    with learning(watch.reference, run, baseline=written_otherwise, max_rounds=2) as calc:
        found = walk(copper(), calc, 1)
    assert watch.calls == calls
    atoms = copper()
    atoms.calc = GMNNCalculator(run, baseline=PAIRS)
    assert atoms.get_potential_energy() == pytest.approx(found[0], abs=1e-5)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (None, "expected the one of before, got none"),
        (STIFFER, "expected the one of before, got another, whose energies differ"),
    ],
)
def test_refuses_another_baseline(finished, other, why):
    run, watch = finished
    before = (run / "settings.json").read_text()
    with pytest.raises(RunFolderError, match=f"baseline: {why}"):
        learning(watch.reference, run, baseline=other, batch_size=2)
    assert (run / "settings.json").read_text() == before
    learning(watch.reference, run, baseline=PAIRS).close()  # nothing is left locked


def test_refuses_a_baseline_where_there_was_none(tmp_path, watch):
    with learning(watch.reference, tmp_path / "run", max_rounds=1) as calc:
        walk(copper(), calc, 3)
    with pytest.raises(RunFolderError, match="baseline: expected none, as there was none before"):
        learning(watch.reference, tmp_path / "run", baseline=PAIRS)


def test_labels_of_a_run_serve_another_baseline_without_the_reference(finished, tmp_path):
    run, watch = finished
    calls = watch.calls
    with learning(watch.reference, tmp_path / "other", baseline=STIFFER, initial=run, max_rounds=0) as calc:
        walk(copper(), calc, 1)
    assert watch.calls == calls
    before, after = done(run), done(tmp_path / "other")
    for one, other in zip(before, after, strict=True):
        assert other.atoms.get_potential_energy() == one.atoms.get_potential_energy()
        assert abs(other.baseline.energy - one.baseline.energy) > 0.1


def test_labels_that_are_given_need_the_baseline_only(tmp_path, watch):
    with learning(watch.reference, tmp_path / "run", baseline=PAIRS, initial=labelled(4)) as calc:
        walk(copper(), calc, 1)
    assert watch.calls == 0
    assert all(entry.baseline is not None for entry in done(tmp_path / "run"))


@pytest.mark.usefixtures("not_compiled")
def test_where_the_baseline_fails_the_reference_is_not_asked(tmp_path, watch):
    with learning(watch.reference, tmp_path / "run", baseline=Fails, max_rounds=1) as calc:
        walk(copper(by=0.01), calc, 1, by=0.0)
        calls = watch.calls
        close = copper(by=0.01)
        close.set_cell(close.cell * 0.85, scale_atoms=True)
        learn(calc, [copper(k, by=0.01) for k in range(1, 4)], required=[close])
    (failed,) = LabelStore(tmp_path / "run" / "labels.db").rows("failed")
    assert failed.error_class == "RuntimeError"
    assert failed.error_text == (
        "the iterations did not converge\nin the baseline; the reference was not asked"
    )
    assert watch.calls == calls + 3  # the next best in its place


def test_a_simulation_says_why_it_ends(tmp_path, watch):
    with learning(watch.reference, tmp_path / "run", baseline=Fails, max_rounds=1) as calc:
        atoms = copper(by=0.01)
        atoms.calc = calc
        before, calls = atoms.get_forces(), watch.calls
        atoms.set_cell(atoms.cell * 0.85, scale_atoms=True)
        with pytest.raises(BaselineError, match="baseline fails: RuntimeError: the iterations did not"):
            atoms.get_forces()
        assert watch.calls == calls
        atoms.set_cell(atoms.cell / 0.85, scale_atoms=True)
        np.testing.assert_allclose(atoms.get_forces(), before, atol=1e-6)


class Forgetful(EMT):
    """Fails so many times after some calls, in whatever calculator."""

    calls, first, last = 0, 0, 0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        type(self).calls += 1
        if self.first <= self.calls < self.last:
            raise RuntimeError("out of memory")


def dynamics(calc):
    atoms = copper(by=0.02)
    atoms.calc = calc
    atoms.set_momenta(0.5 * np.random.default_rng(0).standard_normal(atoms.positions.shape))
    return VelocityVerlet(atoms, 0.5 * units.fs)


@pytest.mark.parametrize(("times", "ends_well"), [(2, True), (10**6, False)])
def test_a_guarded_simulation_goes_back_without_a_label(tmp_path, watch, times, ends_well):
    Forgetful.calls = Forgetful.first = Forgetful.last = 0
    with learning(watch.reference, tmp_path / "run", baseline=Forgetful, max_rounds=0) as calc:
        dyn = dynamics(calc)
        calc.run(dyn, 5)
        calls, Forgetful.first = watch.calls, Forgetful.calls + 3
        Forgetful.last = Forgetful.first + times
        assert calc.run(dyn, 10) is ends_well
        assert watch.calls == calls
    history = History.read(tmp_path / "run")
    assert history.rewinds
    assert "the baseline fails: RuntimeError: out of memory" in history.rewinds[0].reason
    ended = "all steps are done" if ends_well else "out of memory"
    assert ended in history.simulations[-1].reason
    assert (dyn.nsteps == 15) is ends_well


def test_the_folder_says_which_it_is(run):
    assert json.loads((run / "settings.json").read_text())["baseline"] == "LennardJones"


def test_what_is_no_function_of_the_structure_costs_no_label(tmp_path, watch):
    with (
        learning(watch.reference, tmp_path / "run", baseline=OfTheLastCall) as calc,
        pytest.raises(ValueError, match="for the same structure after another structure"),
    ):
        walk(copper(), calc, 1)
    assert watch.calls == 0


def test_energies_of_free_atoms_are_refused(tmp_path, watch):
    with pytest.raises(ValueError, match="atomic_energies: expected none with a baseline"):
        learning(watch.reference, tmp_path / "run", baseline=PAIRS, atomic_energies={"Cu": 0.0})
