"""The public names are exactly those intended."""

import pytest

import ase_bmdal
from tests.builders import model_for

NAMES = {
    "OnTheFlyCalculator",
    "GMNNCalculator",
    "train",
    "load_model",
    "features",
    "select",
    "COMBINATIONS",
    "ModelSettings",
    "TrainingSettings",
    "Retraining",
    "FirstContact",
    "Convergence",
    "LabellingSettings",
}


def test_names():
    assert set(ase_bmdal.__all__) == NAMES
    assert set(dir(ase_bmdal)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_can_be_had(name):
    thing = getattr(ase_bmdal, name)
    assert name == "COMBINATIONS" or (callable(thing) and thing.__doc__)


def test_features_is_a_function_whatever_was_imported_before():
    from ase.build import molecule

    import ase_bmdal.features.features

    structures = [molecule("H2O")]
    model = model_for(structures, hidden=(8,))
    expected = ase_bmdal.features.features.features(model, structures, "LL")
    assert (ase_bmdal.features(model, structures, "LL") == expected).all()


def test_no_other():
    with pytest.raises(AttributeError, match="nonsense"):
        ase_bmdal.nonsense  # noqa: B018
