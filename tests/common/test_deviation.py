import numpy as np
import pytest

from ase_bmdal.common.deviation import Deviation


def test_averages_are_over_all_entries():
    found = Deviation.of([[3.0, -4.0], [0.0, 0.0]])
    assert (found.mae, found.rmse) == (7 / 4, 5 / 2)


def test_float32_is_averaged_in_double_precision():
    differences = np.full(10**6, 0.1, np.float32)
    assert Deviation.of(differences).mae == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_between_arrays_of_any_sizes():
    found = Deviation.between([[[3.0, 0.0]], [1.0]], [[[0.0, 4.0]], [1.0]])
    assert (found.mae, found.rmse) == (pytest.approx(7 / 3), pytest.approx(np.sqrt(25 / 3)))
    with pytest.raises(ValueError, match="zip"):
        Deviation.between([[1.0]], [])
