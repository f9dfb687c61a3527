"""Which structures next, without a simulation."""

import numpy as np
import pytest

from ase_bmdal import COMBINATIONS, gradient_features, select, select_batch
from ase_bmdal.acquisition import Acquisition
from ase_bmdal.acquisition.ranking import rank
from ase_bmdal.kernels import GPPosterior, ensemble_features
from ase_bmdal.potential.gmnn import Committee
from tests.builders import random_model
from tests.learner.runs import copper, labelled

POOL, KNOWN = labelled(8), [copper(seed) for seed in range(20, 23)]


pytestmark = pytest.mark.usefixtures("not_compiled")


@pytest.fixture(scope="module")
def committee():
    return Committee([random_model([29], seed, hidden=(8,), n_radial=2) for seed in range(3)])


@pytest.mark.parametrize("name", COMBINATIONS)
def test_gives_what_the_learner_would_label_first(name, committee):
    picks = select_batch(committee, POOL, 4, known=KNOWN, selection=name.lower(), seed=1)
    assert picks == rank(Acquisition.parse(name), committee, POOL, KNOWN, seed=1, draw=0).best(4)
    assert len(set(picks)) == len(picks) == 4


def test_is_maxdet_of_the_posterior_unless_told_otherwise(committee):
    model = committee.members[0]
    pool, known = (gradient_features(model, frames, "LL") for frames in (POOL, KNOWN))
    posterior = GPPosterior(known)
    assert select_batch(model, POOL, 3, known=KNOWN) == select("MAXDET", posterior(pool), 3).tolist()
    assert select_batch(model, POOL, 3) == select("MAXDET", pool, 3).tolist()


def test_lcmd_with_random_projections(committee):
    model, lcmd = committee.members[0], "LCMD + FEAT(RP)"
    pool, known = (gradient_features(model, frames, "RP", seed=0) for frames in (POOL, KNOWN))
    picks = select_batch(model, POOL, 3, known=KNOWN, selection=lcmd)
    assert picks == select("LCMD", pool, 3, train=known).tolist()
    assert select_batch(model, POOL, 3, selection=lcmd) == select("LCMD", pool, 3).tolist()


def test_of_a_committee_the_features_of_all_members_count(committee):
    pool, known = (
        ensemble_features([gradient_features(member, frames, "LL") for member in committee.members])
        for frames in (POOL, KNOWN)
    )
    picks = select_batch(committee, POOL, 5, known=KNOWN, selection="MAXDIST + FEAT(LL)")
    np.testing.assert_array_equal(picks, select("MAXDIST", pool, 5, train=known))


def test_what_is_known_is_chosen_last(committee):
    pool = [*KNOWN, *POOL]
    picks = select_batch(committee.members[0], pool, 8, known=KNOWN, selection="LCMD + FEAT(RP)")
    assert sorted(picks) == list(range(3, 11))


@pytest.mark.parametrize("n", [0, -1, 9])
def test_refuses_an_impossible_batch(n, committee):
    with pytest.raises(ValueError, match=f"n: expected 1 to 8, the size of the pool, got {n}"):
        select_batch(committee, POOL, n)


def test_refuses_what_it_cannot_answer(committee):
    with pytest.raises(ValueError, match=r"combination: expected one of MAXDIAG \+ RND"):
        select_batch(committee, POOL, 1, selection="LCMD + RND")
    with pytest.raises(ValueError, match=r"committee of networks for MAXDIAG \+ QBC\(F\), got a single one"):
        select_batch(committee.members[0], POOL, 1, selection="MAXDIAG + QBC(F)")
    with pytest.raises(ValueError, match="without an energy"):
        select_batch(committee, [copper()], 1, selection="MAXDIAG + AE(E)")
