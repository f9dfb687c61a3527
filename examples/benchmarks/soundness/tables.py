"""Tables in Markdown and a figure of what the other scripts have measured; numbers are means over seeds."""

import argparse
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure
from results import Record, read

Key = tuple[str, ...]

SETTLED = 10  # round after which errors must not be large


def grouped(records: Iterable[Record], *names: str) -> dict[Key, list[Record]]:
    """Records with the same values of some fields together."""
    groups: dict[Key, list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(str(record[name]) for name in names), []).append(record)
    return groups


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def mean(records: Sequence[Record], pick: Callable[[Record], float | None]) -> float | str:
    """Mean over records; a dash if there is nothing."""
    found = [value for record in records if (value := pick(record)) is not None]
    return statistics.fmean(found) if found else "–"


def errors_table(records: Sequence[Record]) -> str:
    """RMSE of energies and forces, tail of the force errors."""
    rows = []
    for key, group in grouped(records, "data", "n", "recipe", "commit").items():
        for file in group[0]["errors"]:
            values = [
                mean(group, lambda record, file=file, name=name: record["errors"][file][name])
                for name in ERRORS
            ]
            rows.append([*key, len(group), file, *values])
    return table(["data", "n", "recipe", "commit", "seeds", "set", *ERRORS.values()], rows)


ERRORS = {
    "energy_rmse": "E RMSE, meV",
    "energy_rmse_per_atom": "per atom",
    "energy_shifted_mae": "E MAE, shifted",
    "force_mae": "F MAE, meV/Å",
    "force_rmse": "F RMSE, meV/Å",
    "force_p999": "F 99.9 %, eV/Å",
    "force_largest": "largest, eV/Å",
}


def summary_table(records: Sequence[Record]) -> str:
    """Cost, relative errors of second derivatives, RMS of the weights."""
    rows, kinds = [], sorted({kind for record in records for kind in record["curvature"]})
    for key, group in grouped(records, "data", "n", "recipe", "commit").items():
        cost = [
            mean(group, lambda record, name=name: record["cost"].get(name))
            for name in ("steps", "cpu_seconds")
        ]
        curvature = [mean(group, lambda record, kind=kind: record["curvature"].get(kind)) for kind in kinds]
        weights = [
            mean(group, lambda record, name=name: record["weights"][name]["rms"])
            for name in ("W1", "b2", "beta")
        ]
        rows.append([*key, *cost, *curvature, *weights])
    columns = ["data", "n", "recipe", "commit", "steps", "CPU s"]
    return table([*columns, *(f"E'' {kind}" for kind in kinds), "W1", "b2", "beta"], rows)


def bounds_table(records: Sequence[Record]) -> str:
    """Coverage and sharpness of bounds of 95 %."""
    names = ("coverage", "coverage_largest", "sharpness", "mean_error", "spearman")
    rows = []
    for key, group in grouped(records, "data", "n", "recipe", "commit").items():
        for file in group[0]["bounds"]:
            values = [
                mean(group, lambda record, file=file, name=name: record["bounds"][file][name])
                for name in names
            ]
            rows.append([*key, file, *values])
    columns = ["coverage", "of the largest 1 %", "bound / error", "error, eV/Å", "rank correlation"]
    return table(["data", "n", "recipe", "commit", "set", *columns], rows)


def simulations_table(records: Sequence[Record]) -> str:
    """Explosions and drift."""
    rows = []
    for key, group in grouped(records, "data", "n", "recipe", "commit").items():
        for index, each in enumerate(group[0]["simulations"]):
            alike = [record["simulations"][index] for record in group]
            exploded, walkers = (sum(one[name] for one in alike) for name in ("exploded", "walkers"))
            first = min((loss["ps"] for one in alike for loss in one["explosions"]), default="–")
            drift = mean(alike, lambda one: one["drift"])
            kind = f"{each['kind']}, {each['temperature']:g} K, {each['ps']:g} ps"
            rows.append([*key, kind, f"{exploded} of {walkers}", first, drift])
    return table(
        ["data", "n", "recipe", "commit", "simulation", "exploded", "first, ps", "drift, meV/atom/ps"], rows
    )


def long_table(records: Sequence[Record]) -> str:
    """Errors on the held-out sets by the number of labels."""
    rows = []
    names = ("force_mae", "force_rmse", "force_p999", "force_largest_median", "force_largest")
    for (folder, test), lines in _long(records).items():
        for record in lines:
            values = [record["errors"][test][name] for name in names]
            weights = [record["weights"][name]["rms"] for name in ("W1", "b2", "beta")]
            rows.append(
                [folder, record["recipe"], test, record["round"], record["labels"], *values, *weights]
            )
    columns = ["MAE, meV/Å", "RMSE", "99.9 %, eV/Å", "median of largest", "largest", "W1", "b2", "beta"]
    return table(["folder", "recipe", "held out", "round", "labels", *columns], rows)


def long_summary(records: Sequence[Record]) -> str:
    """What a run must not do: errors that grow again, and large ones."""
    rows = []
    for (folder, test), lines in _long(records).items():
        errors = [record["errors"][test] for record in lines]
        rmse = [each["force_rmse"] for each in errors]
        growth = max(value / best for value, best in zip(rmse, accumulate(rmse, min), strict=True))
        settled = [record["errors"][test]["force_largest"] for record in lines if record["round"] > SETTLED]
        largest = max(settled, default="–")
        last = lines[-1]
        row = [folder, last["recipe"], test, last["round"], last["labels"]]
        rows.append([*row, errors[-1]["force_mae"], rmse[-1], growth, largest])
    columns = ["last round", "labels", "MAE, meV/Å", "RMSE", "worst RMSE / best so far"]
    return table(["folder", "recipe", "held out", *columns, f"largest after round {SETTLED}, eV/Å"], rows)


def selection_table(records: Sequence[Record]) -> str:
    """Errors by selection and size; each seed of which is finished."""
    rows = []
    for key, group in grouped(records, "data", "recipe", "n", "selection").items():
        for file in group[0]["errors"]:
            each = [[record["errors"][file][name] for record in group] for name in SELECTION_ERRORS]
            rows.append([*key, file, *(", ".join(f"{value:.3g}" for value in values) for values in each)])
    return table(["data", "recipe", "n", "selection", "set", *SELECTION_ERRORS.values()], rows)


SELECTION_ERRORS = {
    "force_rmse": "F RMSE, meV/Å",
    "force_maxe": "MAXE, eV/Å",
    "force_largest": "largest, eV/Å",
}


def _long(records: Sequence[Record]) -> dict[Key, list[Record]]:
    """Rounds in their order, by folder and held-out set."""
    return {
        (folder, test): sorted(lines, key=lambda record: record["round"])
        for (folder,), lines in grouped(records, "folder").items()
        for test in lines[0]["errors"]
    }


def long_figure(records: Sequence[Record]) -> Figure:
    """RMSE and largest error of long runs, a panel for each held-out set."""
    curves = _long(records)
    tests = sorted({test for _, test in curves})
    figure = Figure(figsize=(5 * len(tests), 4), layout="constrained")
    for axes, test in zip(figure.subplots(1, len(tests), squeeze=False)[0], tests, strict=True):
        for index, (folder, lines) in enumerate(
            (key[0], lines) for key, lines in curves.items() if key[1] == test
        ):
            labels = [record["labels"] for record in lines]
            rmse = [record["errors"][test]["force_rmse"] / 1e3 for record in lines]
            largest = [record["errors"][test]["force_largest"] for record in lines]
            axes.semilogy(labels, largest, f"C{index}-", label=f"{folder}: largest")
            axes.semilogy(labels, rmse, f"C{index}--", label=f"{folder}: RMSE")
        axes.set(title=test, xlabel="labels", ylabel="error of a force component, eV/Å")
        axes.legend(fontsize="small")
    return figure


TABLES = {
    "accuracy": (
        ("Errors", errors_table),
        ("Cost, curvature, weights", summary_table),
        ("Bounds", bounds_table),
    ),
    "simulations": (("Simulations", simulations_table),),
    "selection": (("Selections", selection_table),),
    "long": (("Long runs", long_summary), ("Round by round", long_table)),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("results", nargs="+", type=Path, help="files of results")
    options.add_argument("--figure", type=Path, help="file of the figure of long runs")
    wanted = options.parse_args()
    records = [record for path in wanted.results for record in read(path)]
    for kind, tables in TABLES.items():
        if chosen := [record for record in records if record["kind"] == kind]:
            for title, write in tables:
                print(f"### {title}\n\n{write(chosen)}")
    if wanted.figure:
        long_figure([record for record in records if record["kind"] == "long"]).savefig(wanted.figure)


if __name__ == "__main__":
    main()
