"""The public names are exactly those intended."""

import pkgutil

import pytest

import ase_bmdal

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
}


def test_names():
    assert set(ase_bmdal.__all__) == NAMES
    assert set(dir(ase_bmdal)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_can_be_had(name):
    thing = getattr(ase_bmdal, name)
    assert name == "COMBINATIONS" or (callable(thing) and thing.__doc__)


def test_no_subpackage_takes_the_place_of_a_public_name():
    packages = {module.name for module in pkgutil.iter_modules(ase_bmdal.__path__)}
    assert not packages & NAMES


def test_no_other():
    with pytest.raises(AttributeError, match="nonsense"):
        ase_bmdal.nonsense  # noqa: B018
