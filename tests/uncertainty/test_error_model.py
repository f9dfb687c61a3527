import math

import numpy as np
import pytest
from ase.build import bulk

from ase_bmdal.learner.loading import load_error_model, load_model, save_potential
from ase_bmdal.potential.evaluator import Evaluator
from ase_bmdal.potential.gmnn import Committee
from ase_bmdal.potential.uncertainty import Uncertainty
from ase_bmdal.uncertainty.error_model import ErrorModel
from tests.builders import random_model, rattled

pytestmark = pytest.mark.usefixtures("not_compiled")


def test_bounds():
    uncertainty = Uncertainty(np.array([1.0, 2.0]), 3.0, 1.0)
    bounds = ErrorModel(None, force_factor=2.0, energy_factor=0.5, probability=0.9).bounds(uncertainty)
    np.testing.assert_array_equal(bounds.forces, [2.0, 4.0])
    assert bounds.energy == 1.5
    faster = ErrorModel(None, force_factor=2.0, power=1.5).bounds(uncertainty)
    np.testing.assert_allclose(faster.forces, [2.0, 2.0 * 2.0**1.5])


def test_there_are_none_before_it_is_calibrated():
    assert ErrorModel(None).bounds(Uncertainty(np.array([1.0]), 3.0, 1.0)) is None
    assert not ErrorModel(None).is_calibrated
    assert ErrorModel(None, force_factor=2.0).is_calibrated


@pytest.mark.parametrize("n_members", [1, 3])
def test_is_kept_beside_the_potential(tmp_path, n_members):
    members = [random_model([14], seed=seed, dtype="float32") for seed in range(n_members)]
    model = members[0] if n_members == 1 else Committee(members)
    matrix = np.random.default_rng(0).normal(size=(13, 594)).astype("float32") if n_members == 1 else None
    path, crystal = tmp_path / "model.npz", rattled(bulk("Si", cubic=True))
    save_potential(path, model, ErrorModel(matrix, 2.0, math.inf, 0.9, 1.5), {})
    found = load_error_model(path)
    assert (found.force_factor, found.energy_factor, found.probability, found.power) == (
        *(2.0, math.inf, 0.9, 1.5),
    )
    if matrix is None:
        assert found.posterior is None
    else:
        np.testing.assert_array_equal(found.posterior, matrix)
    before = Evaluator().predict(model, crystal, matrix).uncertainty
    after = Evaluator().predict(load_model(path), crystal, found.posterior).uncertainty
    np.testing.assert_array_equal(before.atoms, after.atoms)
    save_potential(tmp_path / "without.npz", model, None, {})
    assert load_error_model(tmp_path / "without.npz") is None
