"""The public names are exactly those intended."""

import pkgutil
from typing import get_args

import pytest

import ase_bmdal
from ase_bmdal.common import errors
from ase_bmdal.learner import events
from tests.builders import random_model

NAMES = {
    "OnTheFlyCalculator",
    "GMNNCalculator",
    "train",
    "load_model",
    "gradient_features",
    "select",
    "COMBINATIONS",
    "ModelSettings",
    "TrainingSettings",
    "Retraining",
    "Promotion",
    "FirstContact",
    "Convergence",
    "Trust",
    "LabellingSettings",
    "LabelDone",
    "EpochDone",
    "Round",
    "LearningEnded",
    "Rewound",
    "SimulationEnded",
    "Error",
    "ModelError",
    "UnknownElementError",
    "UntrustedError",
    "PredictionError",
    "TrainingError",
    "LabellingError",
    "BatchFailedError",
    "RunFolderError",
    "FolderInUseError",
    "StoreError",
    "ForkError",
    "SimulationStopped",
    "Combination",
    "candidates",
    "Potential",
    "mean_label",
    "Epoch",
    "read_model",
    "save_model",
    "Label",
    "labels_of",
    "Remembered",
}

NEITHER_CLASS_NOR_FUNCTION = {"COMBINATIONS", "Potential"}


def test_names():
    assert set(ase_bmdal.__all__) == NAMES
    assert set(dir(ase_bmdal)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES - NEITHER_CLASS_NOR_FUNCTION))
def test_each_can_be_had(name):
    thing = getattr(ase_bmdal, name)
    assert callable(thing)
    assert thing.__doc__


def test_the_others_can_be_had():
    assert "LCMD + FEAT(RP)" in ase_bmdal.COMBINATIONS
    assert isinstance(random_model([1]), ase_bmdal.Potential)


def test_every_error_and_every_event_is_public():
    own = [value for value in vars(errors).values() if isinstance(value, type)]
    assert {kind.__name__ for kind in [*own, *get_args(events.Event)]} <= NAMES


def test_no_subpackage_takes_the_place_of_a_public_name():
    packages = {module.name for module in pkgutil.iter_modules(ase_bmdal.__path__)}
    assert not packages & NAMES


def test_no_other():
    with pytest.raises(AttributeError, match="nonsense"):
        ase_bmdal.nonsense  # noqa: B018
