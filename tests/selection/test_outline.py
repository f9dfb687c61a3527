"""Bounds in few dimensions never lose a neighbour."""

import numpy as np
import pytest

from ase_bmdal.selection import outline
from ase_bmdal.selection.lcmd import lcmd
from ase_bmdal.selection.maxdist import maxdist
from ase_bmdal.selection.outline import Outline


def points(dtype, offset, seed=0):
    rng = np.random.default_rng(seed)
    surface = np.tanh(rng.normal(size=(400, 4)) @ rng.normal(size=(4, 90)))
    return (offset + surface + 1e-3 * rng.normal(size=surface.shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_no_nearer_point_is_left_out(monkeypatch, dtype, offset):
    monkeypatch.setattr(outline, "MANY_POINTS", 100)
    x = points(dtype, offset)
    found = Outline.of(x)
    assert found.points.shape == (400, outline.N_AXES + 1)
    distances = np.linalg.norm(x[:, None].astype(float) - x[None].astype(float), axis=-1)
    n_kept = 0
    for index in range(0, 400, 7):
        just_beyond = distances[index] * (1 + 1e-12) + 1e-300
        everything = found.within(just_beyond**2, index, np.arange(400))
        assert len(everything) == 400
        limits = np.median(distances[index])
        kept = found.within(np.full(400, limits**2), index, np.arange(400))
        assert set(np.flatnonzero(distances[index] < limits)) <= set(kept)
        n_kept += len(kept)
    assert n_kept < 0.6 * 400 * 58


@pytest.mark.parametrize("select", [lcmd, maxdist])
def test_picks_are_the_same(monkeypatch, select):
    x, train = points(np.float32, 0.0), points(np.float32, 0.0, seed=1)[:20]
    plain = select(x, 60, train)
    monkeypatch.setattr(outline, "MANY_POINTS", 100)
    np.testing.assert_array_equal(select(x, 60, train), plain)


def test_few_points_are_their_own_outline():
    x = points(np.float64, 0.0)
    assert Outline.of(x).points is x
