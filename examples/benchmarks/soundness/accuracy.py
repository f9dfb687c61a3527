"""Errors inside and outside the training data, curvature, bounds and weights, for recipes, data sets and seeds.

Writes a line for each training that is measured; started again, it goes on. Potentials are kept for `simulations.py`.
"""

import argparse
import hashlib
import math
import os
import time
from pathlib import Path

from ase import Atoms
from curvature import read_pairs
from data import DATA, load, with_reference
from recipes import Recipe, add_arguments, recipe
from results import Record, append, commit, is_done, read

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measures

from ase_bmdal import load_model, train
from ase_bmdal.common.randomness import stream


def model_path(work: Path, how: Recipe, name: str, n: int | None, seed: int, version: str) -> Path:
    """File of a potential."""
    key = hashlib.sha256(f"{how.name} {how.overrides} {version}".encode()).hexdigest()[:8]
    recipe_name = how.name.split()[0]
    return work / "models" / f"{name}-{n or 'all'}-{recipe_name}-{key}-{seed}.npz"


def trained(
    how: Recipe, name: str, n: int | None, seed: int, data: Path, path: Path
) -> tuple[object, Record]:
    """A potential, from its file or trained now, and what the training cost, if it was now."""
    if path.exists():
        return load_model(path), {}
    structures = training_structures(name, n, seed, data)
    training = how.settings("training")
    epochs: list[int] = []
    start, cpu = time.perf_counter(), time.process_time()
    model = train(
        structures,
        architecture=how.settings("architecture", cutoff=DATA[name].cutoff),
        training=training,
        seed=seed,
        on_epoch=lambda epoch: epochs.append(epoch.number),
    )
    steps = math.ceil(len(structures) / training.batch_size_for(len(structures)))
    cost = {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "epochs": len(epochs),
        "steps": len(epochs) * steps,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model, cost


def training_structures(name: str, n: int | None, seed: int, data: Path) -> list[Atoms]:
    """The training structures of a data set; or some of its pool, or of them if it has none, at random."""
    of = DATA[name]
    structures = load(of.train if n is None else of.pool or of.train, data)
    if n is None:
        return structures
    order = stream(seed, "training structures").permutation(len(structures))[:n]
    return [structures[index] for index in sorted(order)]


def measure(how: Recipe, name: str, n: int | None, seed: int, data: Path, work: Path, version: str) -> Record:
    """Everything of one training."""
    of = DATA[name]
    model, cost = trained(how, name, n, seed, data, model_path(work, how, name, n, seed, version))
    structures = training_structures(name, n, seed, data)
    tests = {file: load(file, data) for file in (*of.inside, *of.outside)}
    held_out, rest = tests[of.inside[0]][::2], tests[of.inside[0]][1::2]
    pairs = read_pairs(load(f"{name}_curvature", data)) if of.reference else []
    return {
        "cost": cost,
        "errors": {
            file: measures.errors(model.predict(frames), frames)
            for file, frames in {"train": structures, **tests}.items()
        },
        "curvature": measures.curvature_errors(model, pairs),
        "bounds": measures.bounds(model, structures, held_out, tests | {of.inside[0]: rest}),
        "weights": measures.weights(model),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    add_arguments(options)
    options.add_argument("--data", type=Path, required=True, help="folder of the data")
    options.add_argument("--work", type=Path, required=True, help="folder of the potentials")
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--sets", nargs="+", choices=list(DATA), default=with_reference())
    options.add_argument(
        "--structures",
        type=int,
        help="train on so many at random instead of all; of the pool if there is one",
    )
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    wanted = options.parse_args()
    how, version = recipe(wanted.recipe, wanted.changes), commit()
    for seed in wanted.seeds:
        for name in wanted.sets:
            key = {"kind": "accuracy", "recipe": how.name, "data": name, "n": wanted.structures, "seed": seed}
            key["commit"] = version
            if is_done(read(wanted.out), **key):
                continue
            found = measure(how, name, wanted.structures, seed, wanted.data, wanted.work, version)
            append(wanted.out, key | found)
            print(key, {file: each["force_rmse"] for file, each in found["errors"].items()}, flush=True)


if __name__ == "__main__":
    main()
