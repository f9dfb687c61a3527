import numpy as np
import pytest

from ase_bmdal import kernels
from tests.reference import kernels as reference


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_absolute_error_of_energies_survives_large_numbers():
    np.testing.assert_allclose(
        kernels.absolute_error_energy([-1e5, -1e5, 3.0], [-1e5 + 1e-4, -1e5 - 2e-4, 3.0]),
        [1e-4, 2e-4, 0.0],
        rtol=1e-6,
    )


def test_absolute_error_of_forces_of_structures_of_any_size(rng):
    sizes = (1, 2, 7)
    exact, predicted = ([rng.normal(size=(size, 3)) for size in sizes] for _ in range(2))
    np.testing.assert_allclose(
        kernels.absolute_error_forces(exact, predicted), reference.absolute_error_forces(exact, predicted)
    )


def test_committee_of_energies():
    energies = [[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]
    np.testing.assert_allclose(kernels.query_by_committee_energy(energies), [np.sqrt(2 / 3), 0.0])


def test_committee_of_forces(rng):
    forces = [rng.normal(size=(3, size, 3)) for size in (1, 2, 7)]
    np.testing.assert_allclose(
        kernels.query_by_committee_forces(forces), reference.query_by_committee_forces(forces)
    )


def test_random_numbers_come_from_the_stream_given(rng):
    numbers = kernels.random_diagonal(10_000, rng)
    np.testing.assert_array_equal(numbers, kernels.random_diagonal(10_000, np.random.default_rng(0)))
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.02


def test_no_structures_give_no_numbers():
    assert kernels.absolute_error_forces([], []).shape == (0,)
    assert kernels.query_by_committee_forces([]).shape == (0,)


def test_refuses_what_does_not_match():
    with pytest.raises(ValueError, match=r"predicted energies: expected shape \(2,\), got \(3,\)"):
        kernels.absolute_error_energy([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="predicted: expected forces of 2 structures, got 1"):
        kernels.absolute_error_forces([np.ones((1, 3))] * 2, [np.ones((1, 3))])
    with pytest.raises(ValueError, match=r"predicted forces: expected shape \(2, 3\), got \(1, 3\)"):
        kernels.absolute_error_forces([np.ones((2, 3))], [np.ones((1, 3))])


@pytest.mark.parametrize("energies", [[1.0, 2.0], [[1.0, 2.0]]])
def test_one_model_is_no_committee(energies):
    with pytest.raises(ValueError, match="two models or more"):
        kernels.query_by_committee_energy(energies)
