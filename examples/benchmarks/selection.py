"""Time of the selection methods against bmdal_reg and a naive version of each: one product with the pool per pick.

The features lie near a curved surface of a few dimensions, as those of a network do.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import Ask, announce, memory, parser, peer, ratio, row, table

from ase_bmdal.selection import select

BLOCK = 10_000  # rows that are made at once


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


def timed(function: Callable[[], np.ndarray]) -> Ask:
    def ask() -> dict[str, Any]:
        start = time.perf_counter()
        picks = function()
        return {"seconds": time.perf_counter() - start, "picks": picks}

    return ask


def compare(
    method: str, naive: Callable[[], np.ndarray], pool: np.ndarray, train: np.ndarray, wanted: Any
) -> None:
    ours = partial(select, method, pool, wanted.picks, train=None if method == "MAXDET" else train)
    arrays = {"pool": pool, "train": train}
    with peer(wanted.peer_python, "bmdal_peer.py", method.lower(), wanted.picks, arrays=arrays) as ask:
        sides = {"ours": timed(ours), "naive": timed(naive)} | ({"peer": ask} if ask else {})
        rounds = [{name: side() for name, side in sides.items()} for _ in range(wanted.repeats)]
    picks = {name: np.array(answer["picks"]) for name, answer in rounds[-1].items()}
    seconds = {name: [each[name]["seconds"] for each in rounds] for name in sides}
    cells = [statistics.median(seconds["ours"])]
    for name in ("naive", "peer"):
        mine, theirs = seconds["ours"], seconds.get(name, [np.nan] * wanted.repeats)
        same = f"{(picks[name] == picks['ours']).mean():.0%}" if name in picks else "—"
        cells += [statistics.median(theirs), ratio(mine, theirs), same]
    row(method, *cells)


def at_scale(method: str, n: int, train: np.ndarray, n_dimensions: int, picks: int) -> None:
    """A pool in a file, and a process of its own to see what it takes."""
    with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(1) as process:
        path, rng = Path(folder) / "pool.npy", np.random.default_rng(2)
        pool = np.lib.format.open_memmap(path, "w+", np.float32, (n, train.shape[1]))
        for start in range(0, n, BLOCK):
            block = pool[start : start + BLOCK]
            block[:] = features(*block.shape, n_dimensions, rng)
        seconds, before, peak = process.apply(select_from_file, (method, path, train, picks))
        row(method, seconds, before, peak, pool.nbytes / 2**20, (peak - before) * 2**20 / pool.nbytes)


def select_from_file(method: str, path: Path, train: np.ndarray, picks: int) -> tuple[float, float, float]:
    """Seconds, and the memory of this process before and at its peak, MiB, what is mapped included."""
    pool = np.load(path, mmap_mode="r")
    before, start = memory("VmRSS"), time.perf_counter()
    select(method, pool, picks, train=None if method == "MAXDET" else train)
    return time.perf_counter() - start, before, memory("VmHWM")


def main() -> None:
    options = parser(__doc__, peer="bmdal_reg")
    for option, default in (
        ("pool", 100_000),
        ("features", 512),
        ("train", 1000),
        ("picks", 250),
        ("dimensions", 20),
    ):
        options.add_argument(f"--{option}", type=int, default=default)
    options.add_argument(
        "--scale", type=int, metavar="N", help="instead: N structures in a memory-mapped file"
    )
    wanted = options.parse_args()
    rng = np.random.default_rng(1)
    train = features(wanted.train, wanted.features, wanted.dimensions, rng)
    case = f"x {wanted.features}, {wanted.train} training, {wanted.picks} picks"
    if wanted.scale:
        announce(f"Selection from a file, {wanted.scale} {case}")
        table("method", "s", "before, MiB", "peak, MiB", "features, MiB", "peak over before / features")
        for method in ("LCMD", "MAXDIST", "MAXDET"):
            at_scale(method, wanted.scale, train, wanted.dimensions, wanted.picks)
        return
    pool = features(wanted.pool, wanted.features, wanted.dimensions, rng)
    naive = {
        "LCMD": partial(naive_distances, pool, wanted.picks, train, True),
        "MAXDIST": partial(naive_distances, pool, wanted.picks, train, False),
        "MAXDET": partial(naive_maxdet, pool, wanted.picks),
    }
    announce(f"Selection, {wanted.pool} {case}", wanted.peer_python, has_peer=True)
    table(
        "method",
        "ours, s",
        "naive, s",
        "naive / ours",
        "same picks",
        "bmdal_reg, s",
        "bmdal_reg / ours",
        "same picks",
    )
    for method, function in naive.items():
        compare(method, function, pool, train, wanted)


if __name__ == "__main__":
    main()
