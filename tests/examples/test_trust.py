"""The drivers of `examples/trust`, on copper with EMT: what they write, and that they go on."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_bmdal import InitialData, Retraining, TrainingSettings
from tests.learner.runs import TINY, copper, labelled

pytestmark = pytest.mark.usefixtures("not_compiled")

LEARNING = {
    "architecture": TINY,
    "training": TrainingSettings(epochs=1, batch_size=32),
    "retraining": Retraining(epochs=1),
    "initial_data": InitialData(n_structures=10),
    "batch_size": 3,
    "pool_size": 6,
    "executor": "in-process",
}


@pytest.fixture
def driver(monkeypatch):
    """Imports a driver."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples" / "trust")
    return importlib.import_module


@pytest.fixture
def system(driver, monkeypatch):
    systems = driver("systems")
    monkeypatch.setattr(systems, "TEST_FRAMES", 2)
    for name in ("CALLS", "REPEATS"):
        monkeypatch.setattr(driver("campaign"), name, 1)
    return systems.System("copper", copper, EMT, 1.0, (300.0, 600.0), 5)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_campaign_runs_goes_on_and_feeds_the_calibration(driver, system, tmp_path, monkeypatch):
    campaign, out = driver("campaign"), tmp_path / "out.jsonl"
    campaign.run_all([system], [0], out, tmp_path / "work", learning=LEARNING)
    off, on = lines(out)
    assert [off["trust"], on["trust"]] == [False, True]
    assert {off["outcome"], on["outcome"]} == {"completed"}
    assert off["steps"] == on["steps"] == 5
    assert 0 <= on["coverage"][-1] <= 1
    assert set(on["force_call"]) == {"with", "without"}
    assert off["along"]["frames"] == 5
    monkeypatch.setattr(campaign, "run_one", lambda *_: pytest.fail("a finished run is done again"))
    campaign.run_all([system], [0], out, tmp_path / "work", learning=LEARNING)
    record = driver("calibration").from_run(tmp_path / "work" / "copper-0-on")
    assert (record["data"], record["seed"]) == ("copper", 0)
    assert record["rounds"][0]["n_train"] == 10


def test_an_explosion_ends_a_run(driver, system, tmp_path):
    hot = driver("systems").System("copper", lambda: copper(by=0.3), EMT, 5.0, (0.1, 0.1), 12)
    record = driver("campaign").run_one(hot, 0, False, tmp_path, LEARNING)
    assert record["outcome"] == "exploded"
    assert "K, more than 0 K" in record["reason"]
    assert record["steps"] < 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.__setitem__(1, p[0] + 0.3), "the sum of their covalent radii apart"),
        (lambda p: p.__setitem__(slice(3, None), p[3:] + 9.0), "a bond is"),
        (lambda p: p.__setitem__(0, np.nan), "not a number"),
    ],
)
def test_what_counts_as_exploded(driver, change, message):
    systems = driver("systems")
    ethanol = systems.SYSTEMS[0]
    dyn = ethanol.dynamics(None, 0, "test")
    watch = systems.Watch(ethanol, dyn)
    watch()
    change(dyn.atoms.positions)
    with pytest.raises(systems.ExplodedError, match=message):
        watch()


def test_a_rewind_in_the_middle(driver, system, tmp_path, monkeypatch):
    averages = driver("averages")
    settings = LEARNING | {"pool_size": 50}
    monkeypatch.setattr(averages, "SPACING", 2)
    averages.learn(system, tmp_path / "learned", 10, settings)
    kinds = [
        averages.run_one(system, kind, 0, tmp_path / "learned", tmp_path, settings) for kind in averages.KINDS
    ]
    assert [each["rewinds"] for each in kinds] == [0, 0, 1]
    assert [each["n_samples"] for each in kinds] == [2, 2, 2]
    assert kinds[2]["labels"] > 10
    assert sum(kinds[0]["distances_per_angstrom"]) > 0


def test_a_curve_is_predicted_before_it_is_learned(driver):
    pool = labelled(8)
    curve = driver("calibration").Curve(pool[:7], pool[7:], 3.5, 4, TrainingSettings(epochs=1), 0)
    found = curve.round()
    assert [row.round for row in curve.rows] == [0] * 4 + [1] * 3
    assert [bool(row.prediction) for row in curve.rows] == [False, True, False, True, True, True, True]
    assert set(found["next"]) == set(found["test"]) == {"0.5", "0.8", "0.9", "0.95"}
    assert all(0 <= each <= 1 for each in found["test"].values())


def test_records_are_read_as_they_were_written(driver, tmp_path):
    records, path = driver("records"), tmp_path / "out.jsonl"
    assert records.read(path) == []
    records.append(path, {"seed": 0})
    records.append(path, {"seed": 1, "outcome": "completed"})
    assert records.is_done(records.read(path), seed=1, outcome="completed")
    assert not records.is_done(records.read(path), seed=0, outcome="completed")
