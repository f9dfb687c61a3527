import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from ase_bmdal.acquisition import COMBINATIONS, Combination, pick
from ase_bmdal.kernels import gp_posterior
from ase_bmdal.selection import select

OF_THE_PAPER = {
    "MAXDIAG + RND",
    "MAXDIAG + AE(E)",
    "MAXDIAG + AE(F)",
    "MAXDIAG + QBC(E)",
    "MAXDIAG + QBC(F)",
    "MAXDIAG + GP(LL)",
    "MAXDIAG + GP(RP)",
    "MAXDET + GP(LL)",
    "MAXDET + GP(RP)",
    "MAXDIST + GP(LL)",
    "MAXDIST + GP(RP)",
    "MAXDIST + FEAT(LL)",
    "MAXDIST + FEAT(RP)",
    "LCMD + FEAT(LL)",
    "LCMD + FEAT(RP)",
}


@pytest.fixture
def pool():
    return np.random.default_rng(0).normal(size=(60, 8))


@pytest.fixture
def train():
    return np.random.default_rng(1).normal(size=(10, 8))


def test_the_fifteen_of_the_paper():
    assert len(COMBINATIONS) == 15
    assert set(COMBINATIONS) == OF_THE_PAPER


@pytest.mark.parametrize("name", COMBINATIONS)
class TestEveryCombination:
    def test_reads_what_it_writes(self, name):
        assert str(Combination.parse(name)) == name

    @pytest.mark.parametrize("change", [str.lower, str.title, lambda name: f" {name.replace(' ', '')}\n"])
    def test_forgives_spaces_and_case(self, name, change):
        assert Combination.parse(change(name)) == Combination.parse(name)

    def test_picks_distinct_structures(self, name, pool, train):
        combination = Combination.parse(name)
        given = pool if combination.feature else np.abs(pool[:, 0])
        picks = pick(combination, 5, pool=given, train=train)
        assert len(set(picks)) == 5

    def test_tells_what_it_needs(self, name):
        combination = Combination.parse(name)
        assert combination.n_models == (3 if "QBC" in name else 1)
        assert combination.needs_labels == ("AE" in name)
        assert combination.feature == ("LL" if "LL" in name else "RP" if "RP" in name else None)
        assert combination.posterior == ("GP" in name)


@pytest.mark.parametrize("name", ["LCMD", "", "LCMD + GP(LL)", "MAXDET + FEAT(RP)", "LCMD + FEAT(RP) + RND"])
def test_refuses_others_with_the_list_of_those_known(name):
    with pytest.raises(
        ValueError, match=r"combination: expected one of MAXDIAG \+ RND, .* LCMD \+ FEAT\(RP\); got"
    ):
        Combination.parse(name)


def test_cannot_be_made_wrong_or_changed():
    with pytest.raises(ValueError, match="combination: expected one of"):
        Combination("LCMD", "RND")
    with pytest.raises(FrozenInstanceError):
        Combination("LCMD", "FEAT(LL)").kernel = "FEAT(RP)"


def test_features_are_selected_as_they_are(pool, train):
    for method in ("LCMD", "MAXDIST"):
        picks = pick(Combination(method, "FEAT(LL)"), 9, pool=pool, train=train)
        np.testing.assert_array_equal(picks, select(method, pool, 9, train=train))


def test_posterior_maps_pool_and_training_set(pool, train):
    train[:, 0] *= 100
    mapped = gp_posterior(pool, train)
    for method, centres in (("MAXDIAG", None), ("MAXDET", None), ("MAXDIST", gp_posterior(train, train))):
        picks = pick(Combination(method, "GP(LL)"), 6, pool=pool, train=train)
        np.testing.assert_array_equal(picks, select(method, mapped, 6, train=centres))


def test_a_copy_of_a_training_structure_is_not_picked_first(pool, train):
    for name in ("LCMD + FEAT(LL)", "MAXDIST + FEAT(RP)", "MAXDIST + GP(RP)"):
        both = np.float32(1000 + np.concatenate([train, pool[:4]]))
        picks = pick(Combination.parse(name), 4, pool=both, train=both[:10])
        assert picks.min() >= 10


def test_diagonal_kernels_are_numbers(pool):
    combination = Combination("MAXDIAG", "QBC(F)")
    np.testing.assert_array_equal(pick(combination, 3, pool=[0.1, 0.4, 0.2, 0.3]), [1, 3, 2])
    with pytest.raises(ValueError, match="pool: expected one number per structure, got shape"):
        pick(combination, 3, pool=pool)


def test_posterior_needs_a_training_set(pool):
    with pytest.raises(
        ValueError, match=r"train: expected features, which MAXDET \+ GP\(LL\) is conditioned on"
    ):
        pick(Combination("MAXDET", "GP(LL)"), 3, pool=pool)


def test_loads_no_tensorflow():
    code = "import sys, ase_bmdal.acquisition, ase_bmdal.kernels; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
