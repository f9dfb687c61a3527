"""The kernels and what they need."""

import numpy as np
import pytest

from ase_bmdal.acquisition.acquisition import KERNELS_OF
from ase_bmdal.acquisition.registry import KERNELS


def test_every_kernel_is_in_a_combination_and_the_other_way_round():
    assert {name for names in KERNELS_OF.values() for name in names} == set(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_each_is_known_by_its_own_name(name):
    assert KERNELS[name].name == name


@pytest.mark.parametrize("name", ["FEAT(LL)", "FEAT(RP)"])
def test_features_are_seen_as_they_are(name):
    pool, known = np.ones((3, 2)), np.ones((1, 2))
    found = KERNELS[name].given(pool, known)
    assert found[0] is pool
    assert found[1] is known
