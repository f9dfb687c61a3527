"""Several structures that move, evaluated at once: what each gets alone."""

import numpy as np
import pytest
from ase.build import molecule

from ase_bmdal.potential import evaluator
from ase_bmdal.potential.evaluator import Evaluator, Together
from ase_bmdal.potential.gmnn import Committee
from ase_bmdal.potential.gradients import compiled_step
from tests.builders import every_geometry, random_model, rattled

pytestmark = pytest.mark.usefixtures("not_compiled")  # but for those that ask for `compiled`

GEOMETRIES = every_geometry()
ELEMENTS = sorted({int(z) for atoms in GEOMETRIES.values() for z in atoms.numbers})


@pytest.fixture(scope="module")
def model():
    return random_model(ELEMENTS)


@pytest.fixture(scope="module")
def matrix(model):
    return np.random.default_rng(0).normal(size=(7, model.settings.n_invariants + 1))


def walkers():
    """Different ones, and three of the same size."""
    some = [GEOMETRIES[name].copy() for name in ("molecule", "crystal", "skewed", "slab")]
    return [*some, *(rattled(GEOMETRIES["molecule"], seed=seed) for seed in (1, 2))]


def assert_same(one, other):
    assert one.label.energy == pytest.approx(other.label.energy, abs=1e-9)
    np.testing.assert_allclose(one.label.forces, other.label.forces, atol=1e-9)
    assert (one.label.stress is None) == (other.label.stress is None)
    if one.label.stress is not None:
        np.testing.assert_allclose(one.label.stress, other.label.stress, atol=1e-9)
    np.testing.assert_allclose(one.uncertainty.atoms, other.uncertainty.atoms, rtol=1e-7, atol=1e-12)
    assert one.uncertainty.energy == pytest.approx(other.uncertainty.energy, rel=1e-7, abs=1e-12)
    assert one.uncertainty.closest == pytest.approx(other.uncertainty.closest)


def test_each_gets_what_it_gets_alone(model, matrix):
    """While they move, their cells change, and some do not ask."""
    together, moving = Together(), walkers()
    evaluators = [Evaluator(skin=0.3) for _ in moving]
    for step in range(4):
        asked = [
            each.ask(model, atoms, matrix, with_bias=index % 2 == 0)
            for index, (each, atoms) in enumerate(zip(evaluators, moving, strict=True))
            if (index + step) % 4
        ]
        for found, each in zip(together.predict(asked), asked, strict=True):
            alone = Evaluator().predict(model, each.atoms, matrix, with_bias=each.with_bias)
            assert_same(found, alone)
            assert (found.bias_label is None) == (alone.bias_label is None)
            if found.bias_label:
                np.testing.assert_allclose(found.bias_label.forces, alone.bias_label.forces, atol=1e-7)
        for index, atoms in enumerate(moving):
            atoms.rattle(0.08, seed=step + index)
            if step % 2 and atoms.cell.rank == 3:
                atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)


def test_committees_and_potentials_without_a_posterior(model):
    committee = Committee([model, random_model(ELEMENTS, seed=1)])
    for potential in (model, committee):
        asked = [Evaluator().ask(potential, atoms) for atoms in walkers()]
        for found, each in zip(Together().predict(asked), asked, strict=True):
            assert_same(found, Evaluator().predict(potential, each.atoms))


def test_potentials_are_not_mixed(model, matrix):
    """One walker has not seen the newest potential yet."""
    newer = random_model(ELEMENTS, seed=1)
    atoms = GEOMETRIES["molecule"]
    asked = [
        Evaluator().ask(which, atoms, posterior)
        for which, posterior in [(model, matrix), (newer, matrix), (model, 2 * matrix), (model, matrix)]
    ]
    for found, each in zip(Together().predict(asked), asked, strict=True):
        assert_same(found, Evaluator().predict(each.model, atoms, each.posterior))


def test_large_structures_do_without_company(model, matrix, monkeypatch):
    monkeypatch.setattr(evaluator, "MANY_ATOMS", 20)
    seen = []
    predict = evaluator.Stack.predict
    monkeypatch.setattr(
        evaluator.Stack, "predict", lambda self, asked: seen.append(len(asked)) or predict(self, asked)
    )
    asked = [Evaluator().ask(model, GEOMETRIES["molecule"], matrix) for _ in range(5)]
    found = Together().predict(asked)
    n_atoms = asked[0].layout.size[0]
    at_once = 1 << (max(1, 20 // n_atoms).bit_length() - 1)
    assert (max(seen), sum(seen)) == (at_once, 5)
    for each in found:
        assert_same(each, Evaluator().predict(model, GEOMETRIES["molecule"], matrix))


def test_few_numbers_of_walkers_are_compiled(compiled):
    model = random_model([6, 8, 1], hidden=(5,), n_radial=1, cutoff=3.0)
    atoms, together = molecule("CH3CH2OH"), Together()
    before = compiled_step.cache_info().currsize
    for n in (16, 9, 4, 3, 16, 2, 1):
        together.predict([Evaluator().ask(model, atoms) for _ in range(n)])
    assert compiled_step.cache_info().currsize - before == 2  # of 16, and of 4
