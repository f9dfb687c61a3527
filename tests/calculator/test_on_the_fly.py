import copy
import io
import json
import logging
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces
from ase.constraints import FixAtoms
from ase.mep import NEB

from ase_bmdal import UncertaintyLimits
from ase_bmdal.common.errors import FolderInUseError, LabellingError, ModelError
from ase_bmdal.report.console import Console, on_standard_error
from ase_bmdal.run.events import EpochDone, LabelDone, LearningEnded, Round
from ase_bmdal.run.history import History
from tests.learner.runs import copper, learn, learning, walk


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def calc(watch, run):
    with learning(watch.reference, run, max_rounds=2) as calculator:
        yield calculator


def test_results_are_those_of_the_potential_after_the_round(calc):
    atoms, versions = copper(), []
    for seed in range(3):
        walk(atoms, calc, 5, seed)
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        [label] = calc.learner.potential.predict([atoms])
        assert energy == pytest.approx(label.energy, abs=1e-5)
        np.testing.assert_allclose(forces, label.forces, atol=1e-5)
        np.testing.assert_allclose(stress, label.stress, atol=1e-6)
        assert atoms.get_potential_energy(force_consistent=True) == energy
        versions.append(calc.learner.generation)
    assert versions[0] < versions[-1]


def test_asking_again_costs_nothing(calc):
    atoms = copper()
    atoms.calc = calc
    for _ in range(30):
        atoms.get_forces()
    assert calc.learner.generation == 1


def test_the_interval_of_the_pool(watch, run):
    calc = learning(watch.reference, run, pool_interval=3)
    walk(copper(), calc, 17)
    assert watch.calls == 4
    walk(copper(1), calc, 1)
    assert watch.calls == 7


def test_the_capacity_of_the_pool_does_not_know_of_a_restart(watch, run):
    for _ in range(2):
        with learning(
            watch.reference, run, pool_size=48, uncertainty=UncertaintyLimits(enabled=False)
        ) as calc:
            walk(copper(), calc, 20)
    assert [each.pool for each in History.read(run).rounds] == [0, 6, 12]
    with learning(watch.reference, run, pool_size=48, uncertainty=UncertaintyLimits(enabled=False)) as calc:
        walk(copper(), calc, 25)
    assert History.read(run).rounds[-1].pool == 24


def test_all_that_a_run_was_told_is_in_its_folder(watch, run):
    told = {"pool_interval": 2, "bias": 0.1, "max_wall_time": 10_000}
    with learning(watch.reference, run, label_timeout=None, pool_size=np.int64(7), **told) as calc:
        walk(copper(), calc, 1)
    found = json.loads((run / "settings.json").read_text())
    assert found["executor"] == "in-process"
    assert found["settings"]["simulation"] == told
    assert found["settings"]["labelling"]["max_force"] == calc.learner.settings.labelling.max_force
    assert (found["settings"]["batch_size"], found["settings"]["pool_size"]) == (3, 7)


def test_rounds_choose_from_copies_without_what_a_label_does_not_depend_on(calc, monkeypatch):
    seen, offer = [], calc.learner.offer
    monkeypatch.setattr(calc.learner, "offer", lambda frame: (seen.append(frame.atoms), offer(frame)))
    atoms = copper()
    atoms.info["charge"] = 1
    atoms.set_constraint(FixAtoms([0]))
    walk(atoms, calc, 8)
    assert len(seen) > 1
    assert not (seen[0].positions == seen[-1].positions).all()
    assert all((frame.calc, frame.constraints, frame.info) == (None, [], {"charge": 1}) for frame in seen)


def test_images_share_the_learner_and_its_pool(watch, run):
    calc = learning(watch.reference, run, max_rounds=2)
    images = [copper(seed) for seed in range(5)]
    for image in images:
        image.calc = calc.share()
    neb = NEB(images, climb=True, method="improvedtangent")
    for _ in range(5):
        neb.set_positions(neb.get_positions() + 1e-3 * neb.get_forces().clip(-1, 1))
    assert not calc.learner.is_learning
    version = calc.learner.generation
    for image in images[1:-1]:
        [label] = calc.learner.potential.predict([image])
        np.testing.assert_allclose(image.get_forces(), label.forces, atol=1e-5)
        assert image.calc._walker.generation == version


def test_threads_may_ask_at_the_same_time(watch, run):
    calc = learning(watch.reference, run, max_rounds=3, uncertainty=UncertaintyLimits(enabled=False))
    structures = [copper(seed) for seed in range(24)]

    def forces(atoms):
        atoms.calc = calc.share()
        return atoms.get_forces()

    with ThreadPoolExecutor(6) as pool:
        for _ in pool.map(forces, structures):
            pass
    assert calc.learner.n_rounds >= 1
    walk(copper(99), calc, 20)
    assert not calc.learner.is_learning
    for atoms, [label] in ((atoms, calc.learner.potential.predict([atoms])) for atoms in structures):
        np.testing.assert_allclose(atoms.get_forces(), label.forces, atol=1e-5)


def test_copies_share_the_learner(calc):
    atoms = copper()
    walk(atoms, calc, 2)
    for twin in (copy.copy(calc), copy.deepcopy(calc), copy.deepcopy(atoms).calc):
        assert twin.learner is calc.learner
        assert twin is not calc
    with pytest.raises(TypeError, match=r"send GMNNCalculator\(directory\) instead"):
        pickle.dumps(calc)


def test_numerical_forces_agree(calc):
    atoms = copper()
    walk(atoms, calc, 12)
    numeric = calculate_numerical_forces(atoms, eps=2e-3, iatoms=[0, 1])
    np.testing.assert_allclose(atoms.get_forces()[:2], numeric, atol=5e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 7}, "batch_size: expected at most the pool_size of 6"),
        ({"batch_size": 0}, r"batch_size\s+Input should be greater than 0"),
        ({"pool_size": 0}, r"pool_size\s+Input should be greater than 0"),
        ({"pool_interval": 0}, "pool_interval"),
        ({"selection": "LCMD"}, "expected one of"),
        ({"max_labels": 0}, "max_labels"),
        ({"epochs": 0}, "epochs"),
        ({"executor": "cluster"}, "executor must be"),
        ({"label_timeout": 10.0}, "cannot hold a time limit"),
        ({"cutoff": -1.0}, "cutoff"),
    ],
)
def test_settings_are_refused_by_name(watch, run, wrong, message):
    with pytest.raises(ValueError, match=message):
        learning(watch.reference, run, **wrong)
    assert not run.exists()


def test_what_cannot_be_replayed_is_refused(watch, run):
    with pytest.raises(ValueError, match="replay: expected background=True"):
        learning(watch.reference, run, replay=run.parent / "other")
    with pytest.raises(ValueError, match="replay: expected the folder of another run"):
        learning(watch.reference, run, replay=run.parent / "." / "run", background=True)
    assert not run.exists()


def test_a_model_that_is_not_there(watch, run, tmp_path):
    with pytest.raises(ModelError):
        learning(watch.reference, run, model=tmp_path / "none.npz")


def test_a_calculator_is_no_reference(watch, run):
    with pytest.raises(TypeError, match="must be a callable that makes an ASE calculator"):
        learning(watch.reference(), run)


def test_events_reach_the_log(calc, caplog):
    with caplog.at_level(logging.INFO, logger="ase_bmdal"):
        walk(copper(), calc, 1)
    assert any(record.message.startswith("round 0: 4 labels, 0 failed;") for record in caplog.records)


def test_lines_come_without_a_terminal(watch, run, capsys):
    calc = learning(watch.reference, run, max_rounds=1)
    walk(copper(), calc, 8)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["round 0", "round 1", "learning has ended"]


def test_no_line_comes_twice(watch, run, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    handler = logging.StreamHandler()
    logger = logging.getLogger("ase_bmdal")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        walk(copper(), learning(watch.reference, run), 1)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert written.getvalue().count("round 0:") == 1


def test_nobody_has_to_read_them(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert on_standard_error() is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    show = on_standard_error()
    sys.stderr.close()
    show(LearningEnded("enough", 8, 1))


@pytest.mark.usefixtures("not_compiled")
def test_the_same_cell_twice(watch, run, caplog):
    """The folder goes over to the newer calculator, with all that was learned; the older one only predicts."""
    atoms = copper()
    walk(atoms, first := learning(watch.reference, run, initial=[copper(1), copper(2)]), 1)
    calls = watch.calls
    walk(atoms, second := learning(watch.reference, run, initial=[copper(1), copper(2)]), 1)
    assert watch.calls == calls == 2
    assert first.learner.is_closed
    assert not second.learner.is_closed
    assert f"the calculator that was made before for {run} is closed" in caplog.text
    atoms.calc = first
    atoms.get_forces()
    with pytest.raises(
        LabellingError, match=r"another one was made for its folder; images share one by calc\.share"
    ):
        learn(first, [], [atoms])


def test_a_calculator_at_work_in_another_thread_is_not_closed(watch, run):
    calc = learning(watch.reference, run)
    with ThreadPoolExecutor(1) as other, calc._loop.lock:
        again = other.submit(learning, watch.reference, run)
        assert isinstance(again.exception(), FolderInUseError)
    assert not calc.learner.is_closed


def test_says_what_it_is(watch, run):
    calc = learning(watch.reference, run, max_rounds=0)
    assert repr(calc) == f"OnTheFlyCalculator({run}: 0 labels, learning)"
    walk(copper(), calc, 1)
    assert repr(calc) == f"OnTheFlyCalculator({run}: 4 labels, learning has ended)"
    calc.close()
    assert repr(calc.share()) == f"OnTheFlyCalculator({run}: 4 labels, closed)"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_the_console_writes_a_line_for_a_round(stream):
    seconds = {"select_seconds": 0.1, "label_seconds": 2, "train_seconds": 3.0}
    events = [
        LabelDone(0, 1, 4, 0),
        EpochDone(0, 1, 2, 0.5, None),
        Round(
            round=0,
            labels=4,
            failed=0,
            new_labels=4,
            pool=0,
            force_mae=None,
            force_rmse=None,
            energy_mae=None,
            **seconds,
        ),
        Round(
            round=1,
            labels=8,
            failed=1,
            new_labels=4,
            pool=9,
            force_mae=0.0123,
            force_rmse=0.1,
            energy_mae=0.1,
            **seconds,
        ),
        LearningEnded("enough", 8, 1),
    ]
    written = stream()
    console = Console(written)
    for event in events:
        console(event)
    text = written.getvalue()
    assert "round 0: 4 labels, 0 failed; select 0.1 s, label 2.0 s, train 3.0 s\n" in text
    assert "round 1: 8 labels, 1 failed; force MAE before training 12 meV/Å; select" in text
    assert text.endswith("learning has ended: enough\n")
    assert ("round 0: epoch 1 of 2, loss 0.5\r" in text) == written.isatty()  # the cursor waits at the start
