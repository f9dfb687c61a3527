"""Twenty-five rounds: neither weights nor errors beside the labels grow, which they did with the first recipe."""

from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.cluster import Octahedron

from ase_bmdal import ModelSettings, Promotion, Retraining, TrainingSettings, UncertaintyLimits
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.training import PotentialHistory
from ase_bmdal.run.folder import RunFolder
from ase_bmdal.run.store import Entry
from ase_bmdal.structures.labels import Label

pytestmark = pytest.mark.integration

FIRST, ADDED = 8, 4
SMALL = ModelSettings(cutoff=5.0, hidden=(16, 16), n_radial=2, n_gaussians=5)
SOUND = LearnerSettings(
    architecture=SMALL,
    training=TrainingSettings(epochs=60),
    retraining=Retraining(epochs=15, promotion=Promotion(n_structures=8)),
    uncertainty=UncertaintyLimits(enabled=False),
)
FIRST_RECIPE = LearnerSettings(
    architecture=replace(SMALL, envelope="cosine", shared=0.0, input_spread=None),
    training=replace(
        SOUND.training,
        weight_decay=0.0,
        force_length=None,
        energy_delay=0.0,
        energy_weight=1.0,
        decay=0.3,
        decay_power=1.0,
    ),
    retraining=Retraining(
        epochs=15, rate=1.0, growth=1e9, promotion=Promotion(margin=1e9, stiffness_margin=1e9, n_structures=1)
    ),
    uncertainty=SOUND.uncertainty,
)


def clusters(n, rattled, seed):
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = Octahedron("Cu", 2)
        atoms.rattle(rattled, rng=rng)
        atoms.calc = EMT()
        found.append(Label(atoms.get_potential_energy(), atoms.get_forces()).attach(atoms.copy()))
    return found


def after_rounds(n, folder, settings):
    """The last potential; and the largest force error, eV/Å, on hotter clusters, of every fifth."""
    models = PotentialHistory(RunFolder(folder), settings, lambda event: None)
    rows = [
        Entry(id=index, atoms=atoms, status="done", round=0, source="pool", prediction={})
        for index, atoms in enumerate(clusters(FIRST + n * ADDED, 0.1, seed=0))
    ]
    hot, largest = clusters(50, 0.2, seed=1), []
    for number in range(n + 1):
        models.train(rows[: FIRST + number * ADDED], number, final=False)
        models.keep(number)
        if number % 5 == 0:
            pairs = zip(models.current.potential.predict(hot), hot, strict=True)
            largest.append(max(np.abs(label.forces - atoms.get_forces()).max() for label, atoms in pairs))
    return models.current.potential, np.array(largest)


def rms(model, name):
    return float(np.sqrt(np.mean(np.square(model.parameters[name]))))


def test_a_run_stays_sound(tmp_path):
    model, largest = after_rounds(25, tmp_path / "run", SOUND)
    assert rms(model, "W1") < 1.5
    assert rms(model, "beta") < 1.5
    assert largest[-1] < largest[0] / 2
    assert all(largest[1:] < 1.5 * np.minimum.accumulate(largest)[:-1])


def test_the_first_recipe_does_not(tmp_path):
    """What the test above is to see."""
    model, largest = after_rounds(15, tmp_path / "run", FIRST_RECIPE)
    assert rms(model, "W1") > 1.8
    assert rms(model, "beta") > 1.8
    assert largest[-1] > 0.8 * largest[0]
