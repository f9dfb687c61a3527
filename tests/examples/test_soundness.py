"""The benchmark of soundness, on copper with EMT: what it measures, and that it goes on."""

import importlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import write

from ase_bmdal.common.errors import UntrustedError
from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.labels import labels_of
from tests.learner.runs import copper, labelled

pytestmark = pytest.mark.usefixtures("not_compiled")

TINY = [
    "--set",
    "hidden=[8]",
    "--set",
    "n_gaussians=4",
    "--set",
    "n_radial=2",
    "--set",
    "epochs=1",
    "--set",
    "batch_size=32",
]


@pytest.fixture
def driver(monkeypatch):
    """Imports a script."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples" / "benchmarks" / "soundness")
    return importlib.import_module


@pytest.fixture
def data(driver, monkeypatch, tmp_path):
    """A folder with a small data set."""
    module, folder = driver("data"), tmp_path / "data"
    folder.mkdir()
    frames = labelled(5)
    for name, part in {"tiny_train": frames[:2], "tiny_in": frames[2:4], "tiny_out": frames[4:]}.items():
        write(folder / f"{name}.extxyz", part)
    tiny = module.DataSet("tiny_train", ("tiny_in",), ("tiny_out",), EMT, 3.5, 300.0, 1.0)
    monkeypatch.setitem(module.DATA, "tiny", tiny)
    monkeypatch.setitem(
        module.LONG_RUNS, "tiny", module.LongRun(copper, EMT, 300.0, 1.0, 3.5, trajectory="tiny_in")
    )
    monkeypatch.setattr(driver("curvature"), "N_STRUCTURES", 1)
    monkeypatch.setattr(driver("curvature"), "OFFSETS", (0.1,))
    return folder


@pytest.fixture
def call(driver, data, tmp_path, monkeypatch):
    """Runs a script with a small recipe; gives the lines of its results."""

    def run(script, *arguments, recipe=True, out=True):
        path = tmp_path / "out.jsonl"
        places = ["--data", data] * (script != "long_runs") + ["--out", path] * out
        command = [script, *arguments, *places, *(TINY if recipe else [])]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        driver(script).main()
        return [json.loads(line) for line in path.read_text().splitlines()] if out else None

    return run


def test_a_recipe_is_measured_and_simulated_once_and_told_in_tables(
    driver, call, tmp_path, monkeypatch, capsys
):
    places = ("--work", tmp_path, "--sets", "tiny", "--seeds", 0)
    (found,) = call("accuracy", *places)
    assert set(found["errors"]) == {"train", "tiny_in", "tiny_out"}
    assert found["errors"]["tiny_in"]["force_largest"] >= found["errors"]["tiny_in"]["force_p999"] > 0
    assert set(found["curvature"]) == {"inside, bond", "inside, random", "outside, bond", "outside, random"}
    assert found["cost"]["steps"] == 1
    monkeypatch.setattr(driver("simulations"), "CHECK", 1)
    _, simulated = call("simulations", *places, "--walkers", 1, "--ps", 0.001, "--nve-ps", 0.002)
    assert [each["temperature"] for each in simulated["simulations"]] == [300.0, 600.0, 300.0]
    assert [each["walkers"] for each in simulated["simulations"]] == [1, 1, 1]
    assert len(list(tmp_path.glob("models/*.npz"))) == 1
    monkeypatch.setattr(driver("accuracy"), "trained", lambda *_: pytest.fail("done again"))
    assert len(call("accuracy", *places)) == 2
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["tables", str(tmp_path / "out.jsonl")])
    driver("tables").main()
    written = capsys.readouterr().out
    assert f"{found['errors']['tiny_out']['force_rmse']:.3g} |" in written
    assert "Langevin, 600 K, 0.001 ps | 0 of 1" in written


def test_warm_rounds_are_compared_with_potentials_from_scratch(call, tmp_path):
    how = ("--work", tmp_path, "--name", "tiny", "--structures", 2, "--batch", 1, "--every", 1, "--seeds", 0)
    found = call("warm_rounds", *how)
    assert [(each["way"], each["round"], each["labels"]) for each in found] == [
        ("rounds", 0, 1),
        ("rounds", 1, 2),
        ("from scratch", 0, 1),
        ("from scratch", 1, 2),
    ]
    assert found[0]["errors"] == found[2]["errors"]
    assert call("warm_rounds", *how) == found


def test_bounds_hold_on_what_they_are_made_of(driver, data):
    measures = driver("measures")
    error = np.arange(1.0, 101.0)
    held = measures.held(error, np.full(100, 95.0))
    assert held["coverage"] == 0.95
    assert held["coverage_largest"] == 0.0
    assert held["sharpness"] == pytest.approx(95 / 50.5, rel=1e-3)


def test_curvature_of_the_reference_is_its_second_derivative(driver):
    curvature = driver("curvature")
    frames = list(curvature.pairs_around([copper()], EMT, "inside"))
    for pair in curvature.read_pairs(frames):
        middle = Atoms(pair.before, positions=(pair.before.positions + pair.after.positions) / 2)
        middle.calc = EMT()
        ends = pair.before.get_potential_energy() + pair.after.get_potential_energy()
        step = np.linalg.norm(pair.after.positions - pair.before.positions) / 2
        expected = (ends - 2 * middle.get_potential_energy()) / step**2
        assert pair.reference == pytest.approx(expected, rel=2e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda atoms, _: atoms.positions.__setitem__(0, atoms.positions[1] + 0.3), "two atoms at"),
        (lambda atoms, _: atoms.positions.__setitem__(0, [30.0, 0, 0]), "a molecule in parts"),
        (lambda atoms, _: atoms.set_momenta(np.full((9, 3), 30.0)), " K"),
        (lambda _, forces: forces.__setitem__((0, 0), 60.0), "a force of 60"),
        (lambda _, forces: forces.__setitem__((0, 0), np.nan), "not a number"),
        (lambda *_: None, ""),
    ],
)
def test_what_counts_as_exploded(driver, change, why):
    atoms, forces = molecule("CH3CH2OH"), np.zeros((9, 3))
    change(atoms, forces)
    found = driver("simulations").why_exploded(atoms, forces, 300.0)
    assert why in found
    assert bool(found) == bool(why)


def test_walkers_are_far_apart_and_one_that_explodes_leaves_the_others(driver, monkeypatch):
    simulations = driver("simulations")
    monkeypatch.setattr(simulations, "GMNNCalculator", lambda _: LennardJones(sigma=2.5, epsilon=0.1, rc=6.0))
    sound, broken = Atoms("Ar2", [[0, 0, 0], [0, 0, 2.8]]), Atoms("Ar2", [[0, 0, 0], [0, 0, 0.9]])
    walkers = simulations.Walkers([sound, broken, sound], None)
    found = simulations.simulate(
        walkers, simulations.Ensemble("NVE", 300.0, 0.04, 0.1), np.random.default_rng(0)
    )
    assert [loss["walker"] for loss in found["explosions"]] == [1]
    assert walkers.numbers == [0, 2]
    assert len(walkers.atoms) == 4
    assert walkers.atoms.get_distance(1, 3) > 300


def test_a_run_is_replayed_and_measured_round_by_round(driver, call, tmp_path, capsys):
    source, folder = tmp_path / "run", tmp_path / "replay"
    source.mkdir()
    store = LabelStore(source / "labels.db")
    for number, frames in enumerate((labelled(3)[:2], labelled(3)[2:])):
        store.add(frames, round=number, source="pool", records=labels_of(frames))
    replay = ("--system", "tiny", "--folder", folder, "--replay", source)
    call("long_runs", *replay, "--last", 0, out=False)
    assert [path.name for path in folder.glob("models/*")] == ["round-0000.npz"]
    call("long_runs", *replay, out=False)
    lines = call("measure_long", "--system", "tiny", "--folder", folder, "--labels-of", source, recipe=False)
    assert [line["round"] for line in lines] == [0, 1]
    assert [line["labels"] for line in lines] == [2, 3]
    assert set(lines[0]["errors"]) == {"trajectory", "other labels"}
    assert lines[0]["recipe"].startswith("default batch_size=32")
    (summary,) = driver("tables").long_summary(lines[:1]).splitlines()[3:]
    assert summary.endswith("| 1 | – |")
    panels = driver("tables").long_figure(lines).axes
    assert [axes.get_title() for axes in panels] == ["other labels", "trajectory"]
    largest, rmse = panels[1].lines
    assert [line.get_label() for line in panels[1].lines] == ["replay: largest", "replay: RMSE"]
    assert largest.get_xdata().tolist() == rmse.get_xdata().tolist() == [2, 3]
    found = [line["errors"]["trajectory"]["force_rmse"] / 1e3 for line in lines]
    assert rmse.get_ydata().tolist() == found
    capsys.readouterr()


class Lost(nullcontext):
    """A calculator that loses its way in the first simulation, and has learned enough in the second."""

    def __init__(self, _, folder, **settings):
        super().__init__(self)
        folder.mkdir()
        self.starts = []
        self.learner = SimpleNamespace(is_learning=True, reason_to_finish="the budget is spent")

    def run(self, dyn, steps):
        self.starts.append(dyn.atoms.get_momenta())
        dyn.nsteps += steps
        if len(self.starts) == 1:
            raise UntrustedError("not known here")
        self.learner.is_learning = False


def test_a_run_that_is_lost_starts_again_with_other_velocities(driver, data, tmp_path, monkeypatch):
    long_runs, calculators = driver("long_runs"), []
    monkeypatch.setattr(
        long_runs, "OnTheFlyCalculator", lambda *a, **k: calculators.append(Lost(*a, **k)) or calculators[0]
    )
    how = driver("recipes").recipe("default")
    long_runs.run(driver("data").LONG_RUNS["tiny"], how, tmp_path / "run", 0, 600, 60)
    lines = [json.loads(line) for line in (tmp_path / "run" / "starts.jsonl").read_text().splitlines()]
    assert [line["attempt"] for line in lines] == [0, 1]
    assert "not known here" in lines[1]["why"]
    first, second = calculators[0].starts
    assert not np.allclose(first, second)


def test_recipes_are_of_fields_that_exist(driver):
    recipes = driver("recipes")
    for name in recipes.RECIPES:
        for kind in recipes.KINDS:
            recipes.recipe(name).settings(kind)


def test_a_field_that_no_setting_has_is_refused(driver):
    recipes = driver("recipes")
    how = recipes.recipe("default", ["hidden=[8]", "epochs=7", "retraining.epochs=2"])
    assert how.settings("training").epochs == 7
    assert how.settings("architecture", cutoff=4.0).hidden == (8,)
    assert how.settings("retraining").epochs == 2
    with pytest.raises(ValueError, match="epoch_s"):
        recipes.recipe("default", ["epoch_s=7"])
