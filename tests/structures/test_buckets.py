from math import prod

import pytest

from ase_bmdal.structures.buckets import WASTE, WORTH_COMPILING, Padding, bucket, fitting

GROWTH = [(n, max(1, n - 1)) for n in range(1, 25)]


@pytest.mark.parametrize("bits", range(4))
def test_a_ladder(bits):
    buckets = [bucket(size, bits) for size in range(1, 257)]
    assert all(size <= each < size * (1 + 2.0**-bits) for size, each in enumerate(buckets, start=1))
    assert len(set(buckets[128:])) == 2**bits
    with pytest.raises(ValueError, match="at least 1, got 0"):
        bucket(0)


def test_one_number_of_atoms_fits():
    padding = Padding()
    for size in ((21, 20), (21, 18), (21, 25)):
        assert padding.choose(size) == fitting(size)


@pytest.mark.parametrize("density", [1, 3])
def test_growth_needs_one_size_for_each_doubling(density):
    """Of a cluster in which all are neighbours, and of one in which each has a third of the others."""
    padding = Padding()
    sizes = [(n, max(1, n // density)) for n in range(1, 257)]
    chosen = [padding.choose(size) for size in [*sizes, *sizes[::-1]]]
    assert all(room >= size for room, size in zip(chosen, [*sizes, *sizes[::-1]], strict=True))
    assert len(set(chosen)) <= 9
    assert max(prod(room) / prod(size) for room, size in zip(chosen, sizes, strict=False)) <= WASTE


def test_growth_from_a_large_first_size():
    padding = Padding()
    assert padding.choose((100, 40)) == fitting((100, 40))
    assert {padding.choose((n, 40)) for n in range(101, 129)} == {(128, 96)}
    assert {padding.choose((n, 45)) for n in range(129, 257)} == {(256, 96)}
    assert padding.choose((100, 40)) == fitting((100, 40))


def test_a_number_of_atoms_that_stays_fits_in_the_end():
    padding = Padding()
    padding.choose((16, 10))
    roomy = padding.choose((17, 10))
    assert roomy > fitting((17, 10))
    calls = WORTH_COMPILING // (prod(roomy) - 170) + 1
    for _ in range(calls - 1):
        padding.used()
    assert padding.choose((17, 10)) == roomy
    padding.used()
    assert padding.choose((17, 10)) == fitting((17, 10))
    assert padding.choose((18, 10)) == roomy


def test_copies_share_what_has_room():
    padding = Padding()
    assert padding.another().choose((10, 9)) == fitting((10, 9))
    roomy = [padding.choose((n, 9)) for n in (10, 11)][-1]
    assert padding.another().choose((12, 9)) == roomy
    assert Padding(varied=True).choose((12, 9)) == roomy


def test_what_is_much_too_large_is_not_shared():
    padding = Padding()
    for size in ((4096, 70), (4097, 70)):
        padding.choose(size)
    assert padding.choose((20, 19)) == (32, 32)
