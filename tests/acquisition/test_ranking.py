import numpy as np
import pytest

from ase_bmdal.acquisition import COMBINATIONS, Acquisition
from ase_bmdal.acquisition.ranking import Ranking, rank
from ase_bmdal.potential.gmnn import Committee
from ase_bmdal.structures.labels import Label
from tests.builders import random_model
from tests.learner.runs import copper, labelled

RNG = np.random.default_rng(0)
POOL, TRAIN = RNG.normal(size=(20, 6)), RNG.normal(size=(9, 6))
FROM_FEATURES = [name for name in COMBINATIONS if not Acquisition.parse(name).kernel.is_diagonal]


def of(name, pool=POOL, train=TRAIN):
    acquisition = Acquisition.parse(name)
    if acquisition.kernel.is_diagonal:
        return Ranking(acquisition, pool[:, 0], None)
    return Ranking(acquisition, pool, train)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_next_best_go_on_where_the_first_ended(name):
    choice = of(name)
    first = choice.best(3)
    assert choice.best(6)[:3] == first
    rest = choice.best(3, tried=first, labelled=first)
    assert not set(first) & set(rest)
    if Acquisition.parse(name).method in ("MAXDIST", "LCMD"):
        np.testing.assert_array_equal(rest, others(choice, first))


def others(choice, first):
    rest = np.setdiff1d(np.arange(len(POOL)), first)
    train = np.concatenate([TRAIN, POOL[first]])
    return rest[choice.acquisition.select(3, pool=POOL[rest], known=train)]


@pytest.mark.parametrize("name", COMBINATIONS)
def test_what_failed_leaves_no_trace(name):
    choice = of(name)
    failed = choice.best(1)
    rest = np.delete(np.arange(len(POOL)), failed)
    without = of(name, pool=POOL[rest])
    assert choice.best(3, tried=failed) == [rest[index] for index in without.best(3)]


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_pool_ends(name):
    choice = of(name)
    assert choice.best(2, tried=range(20)) == []
    assert len(choice.best(5, tried=range(18))) == 2


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name.startswith("MAXDET")])
def test_maxdet_picks_what_is_independent(name):
    assert len(of(name).best(15)) == 6  # as many as features
    twice = np.repeat(POOL[:3], 4, axis=0)
    assert sorted(index // 4 for index in of(name, pool=twice).best(5)) == [0, 1, 2]
    assert of(name, pool=np.zeros((4, 6))).best(2) == []


@pytest.mark.parametrize("name", FROM_FEATURES)
def test_a_posterior_of_nothing_is_the_prior(name):
    picks = of(name, train=np.empty((0, 6))).best(4)
    assert len(set(picks)) == 4
    assert picks[0] == (POOL**2).sum(axis=1).argmax()


@pytest.mark.usefixtures("not_compiled")
class TestEvaluated:
    structures = tuple(copper(seed) for seed in range(6))

    @pytest.fixture
    def committee(self):
        return Committee([random_model([29], seed, hidden=(8,), n_radial=2) for seed in range(3)])

    def evaluate(self, name, model, pool=None, train=(), draw=1):
        return rank(Acquisition.parse(name), model, pool or self.structures, train, seed=0, draw=draw)

    def test_features_of_a_committee_stand_side_by_side(self, committee):
        one = self.evaluate("LCMD + FEAT(LL)", committee.members[0], train=self.structures[:2])
        three = self.evaluate("LCMD + FEAT(LL)", committee, train=self.structures[:2])
        assert three.pool.shape == (6, 3 * one.pool.shape[1])
        np.testing.assert_allclose(one.known, one.pool[:2])

    def test_every_draw_is_another(self, committee):
        draws = [self.evaluate("MAXDIAG + RND", committee, draw=draw).pool.tolist() for draw in (1, 1, 2)]
        assert draws[0] == draws[1] != draws[2]

    def test_query_by_committee(self, committee):
        energies = np.array([[each.energy for each in m.predict(self.structures)] for m in committee.members])
        forces = np.array([[each.forces for each in m.predict(self.structures)] for m in committee.members])
        by_energy, by_force = (self.evaluate(f"MAXDIAG + QBC({what})", committee).pool for what in "EF")
        assert np.corrcoef(by_energy, energies.var(axis=0))[0, 1] > 0.999
        assert np.corrcoef(by_force, forces.var(axis=0).sum(axis=(1, 2)))[0, 1] > 0.98
        with pytest.raises(
            ValueError, match=r"committee of networks for MAXDIAG \+ QBC\(E\), got a single one"
        ):
            self.evaluate("MAXDIAG + QBC(E)", committee.members[0])

    def test_absolute_errors(self, committee):
        pool = labelled(4)
        predicted = committee.predict(pool)
        errors = [
            abs(one.energy - atoms.get_potential_energy()) for one, atoms in zip(predicted, pool, strict=True)
        ]
        by_energy = self.evaluate("MAXDIAG + AE(E)", committee, pool).pool
        assert by_energy.argmax() == np.argmax(errors)
        assert self.evaluate("MAXDIAG + AE(F)", committee, pool).pool.shape == (4,)
        with pytest.raises(ValueError, match="without an energy"):
            self.evaluate("MAXDIAG + AE(E)", committee)
        energy_only = [Label(1.0).attach(atoms) for atoms in self.structures]
        with pytest.raises(ValueError, match=r"forces for AE\(F\)"):
            self.evaluate("MAXDIAG + AE(F)", committee, energy_only)
