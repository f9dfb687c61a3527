import numpy as np
import pytest

from ase_bmdal.report.errors import errors_of, force_pairs
from ase_bmdal.structures.labels import Label


def test_errors_by_hand():
    reference = [Label(1.0, np.zeros((2, 3)), np.zeros(6)), Label(2.0, np.zeros((1, 3)))]
    predicted = [Label(1.4, np.full((2, 3), 0.3)), Label(1.8, np.zeros((1, 3)), np.ones(6))]
    errors = errors_of(predicted, reference)
    assert errors["energy"].mae == pytest.approx(0.3)
    assert errors["energy"].rmse == pytest.approx(np.sqrt((0.4**2 + 0.2**2) / 2))
    assert errors["energy_per_atom"].mae == pytest.approx((0.2 + 0.2) / 2)
    assert errors["forces"].mae == pytest.approx(0.3 * 6 / 9)
    assert "stress" not in errors  # never on both sides
    assert force_pairs(predicted, reference).mae == pytest.approx(0.2)


def test_structures_without_forces_do_not_count():
    reference = [Label(1.0), Label(1.0, np.zeros((2, 3)))]
    predicted = [Label(1.0, np.full((2, 3), 9.0)), Label(1.0, np.full((2, 3), 0.1), np.ones(6))]
    assert errors_of(predicted, reference)["forces"].mae == pytest.approx(0.1)
    assert "forces" not in errors_of(predicted[:1], reference[:1])
    with pytest.raises(ValueError, match="got none"):
        force_pairs(predicted[:1], reference[:1])


@pytest.mark.parametrize("sides", [([], []), ([Label(1.0)], [])])
def test_nothing_to_compare(sides):
    with pytest.raises(ValueError, match="as many predictions"):
        errors_of(*sides)
