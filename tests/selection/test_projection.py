"""Bounds on distances never lose a neighbour."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ase_bmdal.selection import centres
from ase_bmdal.selection.lcmd import lcmd
from ase_bmdal.selection.maxdist import maxdist
from ase_bmdal.selection.projection import PrincipalAxes, lower_bound, pairs_within
from tests.reference import selection as reference

PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
TINY = [(np.float32, 1e-22), (np.float64, 1e-161), (np.float32, 1e-3)]


def points(dtype, offset, seed=0):
    rng = np.random.default_rng(seed)
    surface = np.tanh(rng.normal(size=(400, 4)) @ rng.normal(size=(4, 90)))
    return (offset + surface + 1e-3 * rng.normal(size=surface.shape)).astype(dtype)


@PRECISIONS
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("n_axes", [None, 8])
def test_no_nearer_point_is_left_out(dtype, offset, n_axes):
    x = points(dtype, offset)
    projected = PrincipalAxes.of(x, n_axes=n_axes).project(x, dtype)
    assert projected.points.shape == (400, 90 if n_axes is None else n_axes + 1)
    exact = np.sqrt(reference.distances(x, x))
    others = projected[:300:7]
    products = projected.products(others)
    for column, index in enumerate(range(0, 300, 7)):
        one, product = projected[index : index + 1], products[:, column : column + 1]
        just_beyond = exact[:, index] * (1 + 1e-12) + 1e-300
        assert len(projected.pairs_within(one, just_beyond, product)[0]) == 400
    limits = np.median(exact, axis=1)
    rows, columns = projected.pairs_within(others, limits, products)
    assert (rows * 400 + columns == np.sort(rows * 400 + columns)).all()
    nearer = np.argwhere(exact[:, :300:7] < limits[:, None])
    np.testing.assert_array_equal(np.transpose(pairs_within(x, x[:300:7], limits)), nearer)
    assert set(map(tuple, nearer.tolist())) <= set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(rows) < 0.6 * products.size


@pytest.mark.parametrize("select", [lcmd, maxdist])
def test_picks_are_the_same(monkeypatch, select):
    x, train = points(np.float32, 0.0), points(np.float32, 0.0, seed=1)[:20]
    plain = select(x, 60, train)
    monkeypatch.setattr(centres, "MANY_POINTS", 100)
    np.testing.assert_array_equal(select(x, 60, train), plain)


@pytest.mark.parametrize("n_axes", [None, 2])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_distance_is_below_its_bound(n_axes, data):
    dtype, width = data.draw(st.sampled_from([(np.float32, 32), (np.float64, 64)]))
    numbers = st.floats(-1e6, 1e6, width=width)
    n_features = data.draw(st.integers(2, 6))
    x = data.draw(arrays(dtype, (5, n_features), elements=numbers))
    assert_bounded(x, n_axes)


@pytest.mark.parametrize("n_axes", [None, 8])
@pytest.mark.parametrize(("dtype", "scale"), TINY)
def test_no_distance_of_tiny_features_is_below_its_bound(dtype, scale, n_axes):
    assert_bounded((scale * np.random.default_rng(0).normal(size=(200, 64))).astype(dtype), n_axes)


def test_no_distance_between_subnormal_numbers_is_below_its_bound():
    x = np.zeros((5, 2), np.float32)
    x[0, 0] = 1.3e-44
    assert_bounded(x, None)


def assert_bounded(x, n_axes):
    projected, rows = PrincipalAxes.of(x, n_axes=n_axes).project(x, x.dtype), np.arange(len(x))
    for index in rows:
        exact = reference.distances(x, x[[index]])[:, 0]
        assert (lower_bound(x, rows, index, projected) <= exact).all()
        one = projected[index : index + 1]
        found, _ = projected.pairs_within(one, np.sqrt(exact) * (1 + 1e-12), projected.products(one))
        np.testing.assert_array_equal(found, rows)


@PRECISIONS
def test_bounds_are_close_even_far_from_zero(dtype):
    x = (1e3 + np.random.default_rng(0).normal(size=(100, 512))).astype(dtype)
    rows = np.arange(10, 90)
    bounds = lower_bound(x, rows, 0, PrincipalAxes.of(x).project(x, dtype))
    exact = reference.distances(x, x[:1])[rows, 0]
    np.testing.assert_allclose(bounds, exact, rtol=1e6 * np.finfo(dtype).eps)
