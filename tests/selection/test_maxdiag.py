import numpy as np
import pytest

from ase_bmdal.selection import select
from tests.reference import selection as reference


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32])
@pytest.mark.parametrize("seed", range(20))
def test_equals_the_reference_with_ties(dtype, seed):
    diagonal = np.random.default_rng(seed).integers(-3, 9, size=50).astype(dtype)
    np.testing.assert_array_equal(select("MAXDIAG", diagonal, 30), reference.maxdiag(diagonal, 30))


@pytest.mark.parametrize("seed", range(20))
def test_of_features_takes_the_longest(seed):
    pool = np.random.default_rng(seed).normal(size=(50, 4)).astype(np.float32)
    np.testing.assert_array_equal(select("MAXDIAG", pool, 50), reference.maxdiag(pool, 50))


def test_names_the_entry_that_is_not_a_number():
    with pytest.raises(ValueError, match=r"pool: .* row 2$"):
        select("MAXDIAG", [0.1, 0.3, np.nan], 1)
