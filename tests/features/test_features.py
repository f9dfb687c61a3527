import numpy as np
import pytest
import tensorflow as tf

from ase_bmdal.features.gradient_features import gradient_features
from ase_bmdal.features.random_projection import projections
from ase_bmdal.potential.gmnn import arrays_of
from ase_bmdal.potential.gradients import atomic_energies
from ase_bmdal.structures.batch import batches
from tests.builders import every_geometry, model_for, rattled
from tests.reference import potential as reference

pytestmark = pytest.mark.usefixtures("not_compiled")  # but for those that ask for `compiled`

STRUCTURES = [every_geometry()[name] for name in ("molecule", "crystal", "wire", "one atom", "far apart")]


@pytest.fixture(scope="module")
def model():
    return model_for(STRUCTURES)


def energy_gradient(model, atoms, name):
    """Gradient of the total energy by one parameter, by automatic differentiation."""
    [(_, batch)] = batches([atoms], model.elements, model.settings.cutoff, np.float64, 1000)
    parameters = dict(model.tensors)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        energy = tf.reduce_sum(atomic_energies(parameters, arrays_of(batch).environments, model.settings))
    return tape.gradient(energy, parameters[name]).numpy()


def full_gradient(model, atoms, i):
    """Gradient of E_i by every (W, b), eq. 13 by hand: one matrix [d_l, d_{l-1} + 1] per layer."""
    p, z_i = model.parameters, model.elements.index(atoms.numbers[i])
    _, inputs, sums = reference.network(reference.inputs(atoms, i, model), p)
    delta = np.ones(1)
    layers = []
    for layer in range(len(sums), 0, -1):
        x = inputs[layer - 1]
        layers.insert(0, np.outer(delta, np.append(x / np.sqrt(len(x)), 0.1)))
        if layer > 1:
            z, w = sums[layer - 2], p[f"W{layer}"]
            s = 1 / (1 + np.exp(-z))
            delta = (w @ delta) / np.sqrt(len(w)) * 1.6765 * (s + z * s * (1 - s))
    return [model.energy_scale * p["scale"][z_i] * matrix for matrix in layers]


def test_the_full_gradient_by_hand_is_the_automatic_one(model):
    atoms = STRUCTURES[0]
    by_hand = [sum(layer) for layer in zip(*(full_gradient(model, atoms, i) for i in range(9)), strict=True)]
    for layer, matrix in enumerate(by_hand, start=1):
        np.testing.assert_allclose(
            matrix[:, :-1].T, energy_gradient(model, atoms, f"W{layer}"), rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(
            matrix[:, -1], energy_gradient(model, atoms, f"b{layer}"), rtol=1e-10, atol=1e-12
        )


def test_last_layer_is_the_gradient_by_the_last_layer(model, compiled):
    for atoms, row in zip(STRUCTURES, gradient_features(model, STRUCTURES, "LL"), strict=True):
        np.testing.assert_allclose(
            row[:-1], energy_gradient(model, atoms, "W3")[:, 0], rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(row[-1:], energy_gradient(model, atoms, "b3"), rtol=1e-10, atol=1e-12)


def test_random_projection_is_the_projected_full_gradient(model, compiled):
    u_in, u_out = projections(7, model.settings.widths, np.float64)
    rows = gradient_features(model, STRUCTURES[:2], "RP", seed=7)
    for atoms, computed in zip(STRUCTURES[:2], rows, strict=True):
        expected = sum(
            np.einsum("oi,or,ir->r", matrix, out, inp) / np.sqrt(512)
            for i in range(len(atoms))
            for matrix, inp, out in zip(full_gradient(model, atoms, i), u_in, u_out, strict=True)
        )
        np.testing.assert_allclose(computed, expected, rtol=1e-10, atol=1e-11)


def test_random_projections_estimate_the_full_kernel(model):
    a, b = STRUCTURES[0], rattled(STRUCTURES[0], seed=5, by=0.2)
    gradients = [
        np.concatenate(
            [np.ravel(sum(m)) for m in zip(*(full_gradient(model, s, i) for i in range(9)), strict=True)]
        )
        for s in (a, b)
    ]
    estimates = [
        np.prod(gradient_features(model, [a, b], "RP", seed=seed), axis=0).sum() for seed in range(40)
    ]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - gradients[0] @ gradients[1]) < 4 * error
    assert error < 0.1 * np.mean(estimates)


@pytest.mark.parametrize("feature_map", ["LL", "RP"])
def test_neither_batch_nor_order_matters(model, feature_map):
    together = gradient_features(model, STRUCTURES, feature_map, seed=3)
    backwards = gradient_features(model, STRUCTURES[::-1], feature_map, seed=3)[::-1]
    alone = np.concatenate([gradient_features(model, [atoms], feature_map, seed=3) for atoms in STRUCTURES])
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(together, backwards, rtol=1e-10, atol=1e-12)


def test_float32_is_close_to_float64():
    double, single = (model_for(STRUCTURES, dtype=dtype) for dtype in ("float64", "float32"))
    for feature_map in ("LL", "RP"):
        a, b = (gradient_features(model, STRUCTURES, feature_map) for model in (double, single))
        assert b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())


def test_unknown_feature_map_is_refused(model):
    with pytest.raises(ValueError, match="LL, RP, got 'XX'"):
        gradient_features(model, STRUCTURES, "XX")
