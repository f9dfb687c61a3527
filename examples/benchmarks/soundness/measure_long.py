"""Every potential of a run folder on two fixed held-out sets: a trajectory of the reference, and the labels that a run
with another seed chose. Writes a line for each; started again, it goes on.
"""

import argparse
import os
from pathlib import Path

from ase import Atoms
from data import LONG_RUNS, load
from results import Record, append, commit, is_done, read

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measures

from ase_bmdal import load_model
from ase_bmdal.run.folder import model_path
from ase_bmdal.run.history import History
from ase_bmdal.run.store import LabelStore


def labels_of_run(folder: Path, up_to: int | None = None) -> list[Atoms]:
    """What a run has labelled, up to a round."""
    rows = LabelStore(folder / "labels.db").rows("done")
    return [row.atoms for row in rows if up_to is None or row.round <= up_to]


def measure(
    folder: Path, tests: dict[str, list[Atoms]], out: Path, every: int, about: Record | None = None
) -> None:
    """Potentials of every so many rounds that are not in the file of results yet.

    Parameters
    ----------
    folder
        Run folder, or that of a replay.
    tests
        Labelled structures by name.
    out
        File of results.
    every
        So many rounds.
    about
        What else is noted of each, and tells it from others.
    """
    starts = read(folder / "starts.jsonl")
    how = next((line["recipe"] for line in starts if "recipe" in line), folder.name)
    for report in History.read(folder).rounds:
        number = report.round
        key = {"kind": "long", "folder": folder.name, "round": number} | (about or {})
        if number % every or is_done(read(out), **key) or not model_path(folder, number).exists():
            continue
        model = load_model(model_path(folder, number))
        found = {name: measures.errors(model.predict(frames), frames) for name, frames in tests.items()}
        record = {"recipe": how, "labels": report.labels, "commit": commit()}
        append(out, key | record | {"errors": found, "weights": measures.weights(model)})
        largest = {name: each["force_largest"] for name, each in found.items()}
        print(number, report.labels, largest, flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, required=True, help="run folder")
    options.add_argument("--system", choices=list(LONG_RUNS), default="ethanol", help="(%(default)s)")
    options.add_argument("--labels-of", type=Path, help="run folder of another seed")
    options.add_argument("--data", type=Path, required=True, help="folder of the data")
    options.add_argument("--out", type=Path, required=True, help="file of results, JSON lines")
    options.add_argument("--every", type=int, default=1, help="so many rounds (%(default)s)")
    wanted = options.parse_args()
    tests = {"trajectory": load(LONG_RUNS[wanted.system].trajectory, wanted.data)}
    if wanted.labels_of:
        tests["other labels"] = labels_of_run(wanted.labels_of)
    measure(wanted.folder, tests, wanted.out, wanted.every)


if __name__ == "__main__":
    main()
