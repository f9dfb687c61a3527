"""Who is trained on, who validates, who waits in the pool, who tests: by the seed alone, the same for all methods."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_bmdal.common.randomness import stream
from ase_bmdal_experiments.settings import BenchmarkSettings

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Places in the data file; those of the test set in the test file, if there is one."""

    initial: Places
    valid: Places
    pool: Places
    test: Places


def make_split(settings: BenchmarkSettings, n_data: int, n_test_file: int | None, seed: int) -> Split:
    """Split the data at random.

    Parameters
    ----------
    settings
        Sizes.
    n_data
        Structures in the data file.
    n_test_file
        Structures in the test file; None if the test set is split from the data.
    seed
        Of the run.

    Raises
    ------
    ValueError
        If the sizes do not fit the data; names the sizes.
    """
    order = stream(seed, "split").permutation(n_data)
    if n_test_file is None:
        n_test = settings.test if settings.test is not None else _rest(settings, n_data)
        order, test = order[: max(0, n_data - n_test)], order[max(0, n_data - n_test) :]
    else:
        n_test = n_test_file if settings.test is None else settings.test
        if n_test > n_test_file:
            raise ValueError(
                f"test: expected at most the {n_test_file} structures of the test file, got {n_test}"
            )
        test = stream(seed, "test").permutation(n_test_file)[:n_test]
    held = settings.initial + settings.valid
    n_pool = len(order) - held if settings.pool is None else settings.pool
    n_added = settings.final - settings.initial
    if held + max(n_pool, n_added) > len(order) or n_test < 1:
        raise ValueError(
            f"expected sizes that fit {n_data} structures, got {settings.initial} initial, {settings.valid} valid, "
            f"{n_pool} in the pool, {n_test} to test, {settings.final} in the end"
        )
    if n_pool < n_added:
        raise ValueError(
            f"pool: expected at least {n_added} structures to grow from {settings.initial} to {settings.final}, "
            f"got {n_pool}"
        )
    initial, valid, pool, _ = np.split(order, np.cumsum([settings.initial, settings.valid, n_pool]))
    return Split(initial, valid, pool, test)


def _rest(settings: BenchmarkSettings, n_data: int) -> int:
    if settings.pool is None:
        raise ValueError("expected a test file, or the size of the test set or of the pool, got none of them")
    return n_data - settings.initial - settings.valid - settings.pool
