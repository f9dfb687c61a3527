"""When a round trains from scratch, and when its potential is not taken."""

from dataclasses import replace

import numpy as np
import pytest

from ase_bmdal import Acquisition, TrainingSettings, UncertaintyLimits
from ase_bmdal.learner import training as module
from ase_bmdal.learner.known_features import KnownFeatures
from ase_bmdal.learner.settings import LearnerSettings, Promotion, Retraining
from ase_bmdal.learner.training import PotentialHistory, PotentialTrainer
from ase_bmdal.run.folder import RunFolder
from ase_bmdal.run.store import Entry
from tests.builders import random_model
from tests.learner.runs import TINY, labelled

SETTINGS = LearnerSettings(
    architecture=TINY,
    uncertainty=UncertaintyLimits(enabled=False),
    retraining=Retraining(growth=2.0, promotion=Promotion()),
)
SOUND = random_model([29], hidden=(8,), n_gaussians=4, n_radial=2, cutoff=3.5, dtype="float32")


def spoiled(by):
    """A potential whose network speaks so many times louder."""
    parameters = {name: value * (by if name == "scale" else 1) for name, value in SOUND.parameters.items()}
    return SOUND.with_parameters(parameters)


def rows(n):
    return [
        Entry(id=index, atoms=atoms, status="done", round=index // 4, source="pool", prediction={})
        for index, atoms in enumerate(labelled(n))
    ]


class Trainings:
    """Trainings that give what the test says; `asked` has what each started from."""

    def __init__(self):
        self.asked, self.results = [], []

    def __call__(self, structures, *, model=None, **rest):
        self.asked.append("scratch" if model is None else "warm")
        return self.results.pop(0) if self.results else SOUND


@pytest.fixture
def trainings():
    return Trainings()


@pytest.fixture
def models(tmp_path, trainings):
    return history(RunFolder(tmp_path / "run"), trainings)


def history(folder, trainings):
    return PotentialHistory(folder, SETTINGS, lambda event: None, train=trainings)


def trained(models, n, number, *, final):
    outcome = models.train(rows(n), number, final=final)
    models.keep(number)
    return outcome


def test_from_scratch_first_and_whenever_the_labels_have_doubled(models, trainings):
    for n in (4, 6, 7, 8, 12, 15, 16):
        trained(models, n, n, final=False)
    assert trainings.asked == ["scratch", "warm", "warm", "scratch", "warm", "warm", "scratch"]


def test_every_round_goes_on_from_a_potential_from_elsewhere(models, trainings, tmp_path):
    """Which knows more than the first labels of a run do."""
    models.begin(SOUND, None)
    for n in (4, 8):
        trained(models, n, n, final=False)
    again = history(models._folder, trainings)
    again.find(rows(8))
    trained(again, 16, 16, final=True)
    assert trainings.asked == ["warm"] * 3


def test_the_last_potential_goes_on_as_well(models):
    """One from scratch has larger errors beside the labels: docs/notes/2026-11-27-last-training.md."""
    trained(models, 4, 1, final=False)
    assert trained(models, 5, 2, final=True) == ("warm", "")
    assert trained(models, 8, 3, final=True) == ("from scratch", "")


@pytest.mark.parametrize(
    ("training", "expected"),
    [({}, [25, 5, 250]), ({"epochs": 40}, [40, 10, 10]), ({"most_epochs": 24}, [24, 5, 6])],
)
def test_epochs_are_fewer_until_learning_ends_unless_they_are_set(tmp_path, training, expected):
    seen = []

    def note(structures, *, training, **how):
        seen.append(training.epochs_for(len(structures)))
        return SOUND

    changes = {"least_epochs": 1} | training
    settings = replace(
        SETTINGS, training=TrainingSettings(**changes), retraining=Retraining(growth=2.0, most_visits=100)
    )
    models = PotentialHistory(RunFolder(tmp_path / "run"), settings, lambda event: None, train=note)
    for n, final in ((4, False), (5, False), (6, True)):
        trained(models, n, n, final=final)
    models.predict_held_out(rows(20), 7)  # of the first potential, which knows no fewer than ten of them
    assert seen[:3] == expected
    assert seen[3] == training.get("epochs", 100 // 10)


def test_a_potential_that_is_worse_is_trained_anew(models, trainings):
    trainings.results = [SOUND, spoiled(100.0), SOUND]
    trained(models, 4, 1, final=False)
    outcome = trained(models, 5, 2, final=False)
    assert trainings.asked == ["scratch", "warm", "scratch"]
    assert outcome.training == "from scratch"
    assert outcome.objection.startswith("rmse ")
    assert models.current.potential.parameters["scale"] == pytest.approx(SOUND.parameters["scale"])
    trained(models, 9, 3, final=False)
    assert trainings.asked[-1] == "warm"  # the labels have not doubled since


def test_one_that_does_not_know_an_element_cannot_stay(models, trainings, caplog):
    trained(models, 4, 1, final=False)
    with_gold = rows(5)
    with_gold[-1].atoms.numbers[0] = 79
    trainings.results = [spoiled(100.0), spoiled(200.0)]
    outcome = models.train(with_gold, 2, final=False)
    assert outcome.training == "from scratch"
    assert outcome.objection.startswith("rmse ")
    assert "but knows all elements" in caplog.text
    assert models.current.potential.parameters["scale"] != pytest.approx(SOUND.parameters["scale"])


def test_if_that_fails_the_old_one_stays_and_the_run_says_so(models, trainings, caplog):
    trainings.results = [SOUND, spoiled(100.0), spoiled(200.0)]
    trained(models, 4, 1, final=False)
    version = models.current.generation
    outcome = trained(models, 5, 2, final=False)
    assert outcome.training == "not promoted"
    assert models.current.generation > version
    np.testing.assert_array_equal(models.current.potential.parameters["scale"], SOUND.parameters["scale"])
    assert "the old one stays" in caplog.text


def test_frames_of_the_pool_are_looked_at(models, monkeypatch):
    seen = []

    def objection(new, old, labels, frames, settings, rng):
        seen.append((len(labels), len(frames)))

    monkeypatch.setattr(module, "objection", objection)
    trained(models, 4, 1, final=False)
    models.train(rows(6), 2, final=False, frames=[row.atoms for row in rows(3)])
    assert seen == [(4, 3)]  # only the labels both were trained on


def test_a_kept_potential_knows_when_it_was_last_trained_from_scratch(models, trainings, tmp_path):
    trained(models, 4, 1, final=False)
    trained(models, 6, 2, final=False)
    models._folder.close()
    again = history(RunFolder(tmp_path / "run"), trainings)
    again.find(rows(6))
    trained(again, 7, 3, final=False)
    trained(again, 8, 4, final=False)
    assert trainings.asked == ["scratch", "warm", "warm", "scratch"]


def test_a_warm_round_is_short_and_may_be_slow():
    training = TrainingSettings(epochs=200, rate=0.5, weight_decay=0.01)
    warm = Retraining(rate=0.2).warm_start(training, 50)
    assert (warm.epochs, warm.rate, warm.weight_decay) == (50, 0.1, 0.01)
    assert warm.left_of_rates(np.array([0.0, 0.5])) == pytest.approx([0.1, 0.1 / 4])
    assert Retraining(epochs=7).warm_start(training, 50).epochs == 7
    assert Retraining().warm_start(TrainingSettings(), 50).epochs == TrainingSettings().epochs_for(50) // 4


@pytest.mark.parametrize(
    ("selection", "final", "is_described"),
    [("LCMD + FEAT(LL)", False, True), ("LCMD + FEAT(LL)", True, False), ("MAXDIAG + RND", False, False)],
)
def test_features_of_the_labels_come_with_the_potential(models, monkeypatch, selection, final, is_described):
    """If another selection may compare with them; what `KnownFeatures` takes over is not computed again."""
    settings = replace(SETTINGS, selection=selection)
    trainer = PotentialTrainer(settings, lambda event: None, train=Trainings())
    known, new = rows(4), rows(6)[4:]
    job = models.job(known, 0, final=final)
    found = trainer.described(trainer.carry_out(job), job).features
    assert (found is not None) == is_described
    if found is not None:
        kernel = Acquisition.parse(selection).kernel
        features, fresh = (KnownFeatures(kernel, settings.seed) for _ in range(2))
        features.take([entry.id for entry in known], found, 1)
        expected = fresh.of([*known, *new], SOUND, 1)
        asked, evaluate = [], type(kernel).evaluate
        monkeypatch.setattr(
            type(kernel),
            "evaluate",
            lambda self, potential, structures, **how: (
                asked.append(len(structures)) or evaluate(self, potential, structures, **how)
            ),
        )
        np.testing.assert_allclose(features.of([*known, *new], SOUND, 1), expected, rtol=1e-4, atol=1e-5)
        features.of(known, SOUND, 2)
        assert asked == [2, 4]
