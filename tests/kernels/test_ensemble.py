import numpy as np
import pytest

from ase_bmdal.kernels import ensemble_features
from tests.reference import kernels as reference


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [(4,), (4, 4, 4), (2, 5)])
def test_kernel_is_the_mean_of_the_kernels(dtype, n_features):
    rng = np.random.default_rng(0)
    members = [rng.normal(size=(6, size)).astype(dtype) for size in n_features]
    features = ensemble_features(members)
    assert features.dtype == dtype
    assert features.shape == (6, sum(n_features))
    np.testing.assert_allclose(features @ features.T, reference.mean_kernel(members), rtol=1e-5, atol=1e-6)


def test_opposite_members_do_not_cancel():
    features = np.random.default_rng(0).normal(size=(6, 4))
    combined = ensemble_features([features, -features])
    np.testing.assert_allclose(combined @ combined.T, features @ features.T)


@pytest.mark.parametrize("members", [[np.ones((3, 2)), np.ones((4, 2))], [np.ones(3)]])
def test_refuses_members_of_different_structures(members):
    with pytest.raises(ValueError, match="members: expected shapes"):
        ensemble_features(members)


def test_refuses_no_members():
    with pytest.raises(ValueError, match="at least one model, got none"):
        ensemble_features([])
