import pytest
from ase import Atoms

from ase_bmdal.learner.pool import Frame, Pool


def frame(x):
    return Frame(Atoms("Cu", [[float(x), 0, 0]]))


def offered(pool, n, n_rounds=0):
    for x in range(n):
        pool.offer(frame(x), n_rounds)
    return [each.atoms.positions[0, 0] for each in pool.frames]


def test_takes_frames_until_it_is_full():
    pool = Pool(3, first=3)
    assert [pool.offer(frame(x), 0) for x in range(5)] == [True, True, True, False, False]
    assert (offered(pool, 0), pool.is_full(0)) == ([0, 1, 2], True)


def test_starts_small_and_doubles_with_each_round():
    pool, sizes = Pool(20, first=4), []
    for n_rounds in range(5):
        sizes.append(len(offered(pool, 100, n_rounds)))
        assert len(pool.empty()) == sizes[-1]
    assert sizes == [4, 8, 16, 20, 20]


def test_a_new_pool_of_an_old_run_is_as_large_as_the_one_before():
    assert len(offered(Pool(20, first=4), 100, n_rounds=2)) == 16


def test_first_is_at_most_its_size():
    assert len(offered(Pool(3, first=10), 20)) == 3


def test_keeps_the_frames_themselves():
    pool, one = Pool(2, first=2), frame(0)
    pool.offer(one, 0)
    assert pool.frames[0].atoms is one.atoms


@pytest.mark.parametrize("wrong", [{"size": 0, "first": 1}, {"size": 1, "first": 0}])
def test_sizes_are_at_least_one(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        Pool(**wrong)
