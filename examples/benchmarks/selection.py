"""Time of the selection methods against a naive version of each: one full product with the pool per pick.

The features lie near a curved surface of a few dimensions, as those of a network do.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from ase_bmdal.selection import select


def features(n: int, n_features: int, n_dimensions: int, rng: np.random.Generator) -> np.ndarray:
    weights = np.random.default_rng(0).normal(size=(n_dimensions, n_features))
    latent = rng.normal(size=(n, n_dimensions))
    return np.tanh(latent @ weights / np.sqrt(n_dimensions)).astype(np.float32)


def naive_distances(pool, n, train, largest_cluster: bool):
    norms = np.einsum("ij,ij->i", pool, pool)
    nearest, squares = np.zeros(len(pool), int), np.full(len(pool), np.inf)
    for start in range(0, len(pool), 1000):
        block = slice(start, start + 1000)
        table = norms[block, None] - 2 * pool[block] @ train.T + np.einsum("ij,ij->i", train, train)
        nearest[block], squares[block] = table.argmin(axis=1), np.maximum(table.min(axis=1), 0)
    picks = []
    for _ in range(n):
        rows = np.arange(len(pool))
        if largest_cluster:
            rows = np.flatnonzero(nearest == np.bincount(nearest, weights=squares).argmax())
        picks.append(rows[squares[rows].argmax()])
        new = np.maximum(norms - 2 * pool @ pool[picks[-1]] + norms[picks[-1]], 0)
        nearest[new < squares] = len(train) + len(picks)
        squares = np.minimum(squares, new)
        squares[picks] = 0
    return np.array(picks)


def naive_maxdet(pool, n):
    diagonal = np.einsum("ij,ij->i", pool, pool, dtype=np.float64)
    columns, picks = np.empty((n, len(pool))), []
    for i in range(n):
        picks.append(int(diagonal.argmax()))
        column = pool @ pool[picks[-1]] - columns[:i].T @ columns[:i, picks[-1]]
        columns[i] = column / np.sqrt(diagonal[picks[-1]])
        diagonal -= columns[i] ** 2
        diagonal[picks] = -np.inf
    return np.array(picks)


def timed(repeats: int, function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        picks = function()
        times.append(time.perf_counter() - start)
    return statistics.median(times), picks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (
        ("pool", 100_000),
        ("features", 512),
        ("train", 1000),
        ("picks", 250),
        ("dimensions", 20),
        ("repeats", 3),
    ):
        parser.add_argument(f"--{option}", type=int, default=default)
    size = parser.parse_args()
    rng = np.random.default_rng(1)
    pool = features(size.pool, size.features, size.dimensions, rng)
    train = features(size.train, size.features, size.dimensions, rng)
    n = size.picks
    cases = {
        "LCMD": (lambda: select("LCMD", pool, n, train=train), lambda: naive_distances(pool, n, train, True)),
        "MAXDIST": (
            lambda: select("MAXDIST", pool, n, train=train),
            lambda: naive_distances(pool, n, train, False),
        ),
        "MAXDET": (lambda: select("MAXDET", pool, n), lambda: naive_maxdet(pool, n)),
    }
    print(f"{size.pool} x {size.features}, {size.train} training, {n} picks, median of {size.repeats}")
    for name, (ours, naive) in cases.items():
        (seconds, picks), (slow, expected) = timed(size.repeats, ours), timed(size.repeats, naive)
        times = f"{seconds:7.2f} s  naive {slow:7.2f} s  ratio {slow / seconds:5.1f}"
        print(f"{name:8s} {times}  equal picks {(picks == expected).mean():.0%}")


if __name__ == "__main__":
    main()
