"""Blocks of atoms."""

import numpy as np
import pytest
import tensorflow as tf
from ase.build import bulk

from ase_bmdal.potential import gradients
from ase_bmdal.potential.gmnn import arrays_of
from ase_bmdal.potential.gradients import evaluate_with_uncertainty
from ase_bmdal.structures.batch import batches
from ase_bmdal.structures.buckets import bucket
from tests.builders import random_model, rattled


@pytest.mark.parametrize("repulsion", [None, "zbl"])
@pytest.mark.parametrize("how", ["plain", "posterior", "pulled"])
def test_blocks_of_atoms_change_nothing(monkeypatch, how, repulsion):
    model = random_model([11, 17], repulsion=repulsion)
    sizes = (1, 2, 3) if how == "plain" else (3,)
    structures = [rattled(bulk("NaCl", "rocksalt", a=4.0) * (2, 2, n), seed=n) for n in sizes]
    [(_, batch)] = batches(structures, model.elements, 4.0, np.float64, 1000)
    rng = np.random.default_rng(0)
    n_features = model.settings.n_invariants + 1
    posterior = None if how == "plain" else tf.constant(rng.normal(size=(5, n_features)))

    def found():
        return evaluate_with_uncertainty(
            model.tensors, arrays_of(batch), posterior, model.settings, how == "pulled"
        )

    whole = found()
    monkeypatch.setattr(gradients, "BLOCK", 8)
    monkeypatch.setattr(gradients, "MANY_ATOMS", 16)
    assert gradients._n_blocks(batch.shape.atoms) > 1
    for one, other in zip(tf.nest.flatten(whole), tf.nest.flatten(found()), strict=True):
        if one is None:
            assert other is None
        else:
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_blocks_are_of_equal_size_and_small():
    for size in range(1, 10_000, 7):
        for bits in (1, 3):
            n_atoms = bucket(size, bits)
            n_blocks = gradients._n_blocks(n_atoms)
            assert n_atoms % n_blocks == 0
            assert n_blocks == 1 if n_atoms < gradients.MANY_ATOMS else 128 <= n_atoms // n_blocks < 256
