import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from ase_bmdal.acquisition import COMBINATIONS, Acquisition
from ase_bmdal.acquisition.registry import KERNELS
from ase_bmdal.kernels import GPPosterior
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
        assert str(Acquisition.parse(name)) == name

    @pytest.mark.parametrize("change", [str.lower, str.title, lambda name: f" {name.replace(' ', '')}\n"])
    def test_forgives_spaces_and_case(self, name, change):
        assert Acquisition.parse(change(name)) == Acquisition.parse(name)

    def test_picks_distinct_structures(self, name, pool, train):
        combination = Acquisition.parse(name)
        given = np.abs(pool[:, 0]) if combination.kernel.is_diagonal else pool
        picks = combination.select(5, pool=given, known=train)
        assert len(set(picks)) == 5

    def test_tells_what_it_needs(self, name):
        combination = Acquisition.parse(name)
        assert combination.n_models == (3 if "QBC" in name else 1)
        assert combination.kernel.needs_labels == ("AE" in name)
        assert combination.kernel.needs_committee == ("QBC" in name)
        assert combination.kernel.feature_map == ("LL" if "LL" in name else "RP" if "RP" in name else None)
        assert combination.kernel.is_conditioned == ("GP" in name)


@pytest.mark.parametrize("name", ["LCMD", "", "LCMD + GP(LL)", "MAXDET + FEAT(RP)", "LCMD + FEAT(RP) + RND"])
def test_refuses_others_with_the_list_of_those_known(name):
    with pytest.raises(
        ValueError, match=r"combination: expected one of MAXDIAG \+ RND, .* LCMD \+ FEAT\(RP\); got"
    ):
        Acquisition.parse(name)


def test_cannot_be_made_wrong_or_changed():
    with pytest.raises(ValueError, match="combination: expected one of"):
        Acquisition(KERNELS["RND"], "LCMD")
    with pytest.raises(FrozenInstanceError):
        Acquisition(KERNELS["FEAT(LL)"], "LCMD").kernel = KERNELS["FEAT(RP)"]


def test_features_are_selected_as_they_are(pool, train):
    for method in ("LCMD", "MAXDIST"):
        picks = Acquisition(KERNELS["FEAT(LL)"], method).select(9, pool=pool, known=train)
        np.testing.assert_array_equal(picks, select(method, pool, 9, train=train))


def test_posterior_maps_pool_and_training_set(pool, train):
    train[:, 0] *= 100
    mapped = GPPosterior(train)(pool)
    for method, centres in (("MAXDIAG", None), ("MAXDET", None), ("MAXDIST", GPPosterior(train)(train))):
        picks = Acquisition(KERNELS["GP(LL)"], method).select(6, pool=pool, known=train)
        np.testing.assert_array_equal(picks, select(method, mapped, 6, train=centres))


def test_a_copy_of_a_training_structure_is_not_picked_first(pool, train):
    for name in ("LCMD + FEAT(LL)", "MAXDIST + FEAT(RP)", "MAXDIST + GP(RP)"):
        both = np.float32(1000 + np.concatenate([train, pool[:4]]))
        picks = Acquisition.parse(name).select(4, pool=both, known=both[:10])
        assert picks.min() >= 10


def test_diagonal_kernels_are_numbers(pool):
    combination = Acquisition(KERNELS["QBC(F)"], "MAXDIAG")
    np.testing.assert_array_equal(combination.select(3, pool=[0.1, 0.4, 0.2, 0.3]), [1, 3, 2])
    with pytest.raises(ValueError, match="pool: expected one number per structure, got shape"):
        combination.select(3, pool=pool)


def test_posterior_needs_a_training_set(pool):
    with pytest.raises(
        ValueError, match=r"known: expected features of the training set for MAXDET \+ GP\(LL\), got none"
    ):
        Acquisition(KERNELS["GP(LL)"], "MAXDET").select(3, pool=pool)


def test_loads_no_tensorflow():
    code = "import sys, ase_bmdal.acquisition, ase_bmdal.kernels; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
