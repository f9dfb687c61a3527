"""Tables, on standard output, and figures of the results of the other drivers."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from averages import BINS
from calibration import LEVELS
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from records import Record, read

from ase_bmdal.report.figures import save_figure

COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito
NAMES = {"aspirin": "aspirin", "tio2": "TiO2"}
NAMES |= {f"ethanol-{kelvin}": f"ethanol, {kelvin} K" for kelvin in (300, 500, 800)}
NAMES["silicon"] = "silicon, 300 to 3000 K"
KINDS = {"reference": "GFN2-xTB", "plain": "without a rewind", "rewind": "with a rewind"}


def table(*rows: Sequence[Any]) -> None:
    """The first row is the head."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    print("\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]), end="\n\n")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def campaign(records: Sequence[Record], out: Path) -> None:
    """Exploded runs, labels, errors."""
    head = (
        "",
        "runs",
        "exploded",
        "labels",
        "rounds at once",
        "rewinds",
        "final force MAE",
        "RMSE",
        "error on the way",
    )
    head += ("covered on the way",)
    rows = []
    systems = [name for name in NAMES if any(record["system"] == name for record in records)]
    for system in systems:
        for trust in (False, True):
            runs = [each for each in records if each["system"] == system and each["trust"] == trust]
            rows.append((f"{NAMES[system]}, {'on' if trust else 'off'}", len(runs), *_summary(runs)))
    table(head, *rows)
    calls = [each["force_call"] for each in records if each["trust"]]
    if calls:
        ratios = [each["with"] / each["without"] for each in calls]
        print(f"force call with bounds / without: median {np.median(ratios):.3f}, {len(ratios)} runs\n")
    for record in records:
        if record["outcome"] != "completed":
            print(
                record["system"],
                record["seed"],
                "on" if record["trust"] else "off",
                record["steps"],
                record["reason"],
            )
    save_figure(_survival(records, systems), out / "campaign.png")


def _summary(runs: Sequence[Record]) -> tuple[Any, ...]:
    exploded = sum(each["outcome"] != "completed" for each in runs)
    numbers = [[each[name] for each in runs] for name in ("labels", "doubtful_rounds", "rewinds")]
    errors = [[each[name] for each in runs] for name in ("force_mae", "force_rmse")]
    along = [each["along"]["mean_error"] for each in runs if each["along"]["frames"]]
    covered = [each["along"]["coverage"] for each in runs if each["along"]["coverage"] is not None]
    return (
        exploded,
        f"{np.mean(numbers[0]):.0f} ({min(numbers[0])}-{max(numbers[0])})",
        f"{np.mean(numbers[1]):.1f}",
        sum(numbers[2]),
        *(spread(each) for each in errors),
        spread(along) if along else "",
        f"{np.mean(covered):.1%}" if covered else "",
    )


def _survival(records: Sequence[Record], systems: Sequence[str]) -> Figure:
    """Part of the runs that have come so far."""
    figure = Figure(figsize=(3.2 * len(systems), 3.2), dpi=150, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(systems), sharey=True))
    for axes, system in zip(panels, systems, strict=True):
        for trust, colour, width in ((False, COLOURS[1], 3.0), (True, COLOURS[2], 1.5)):
            runs = [each for each in records if each["system"] == system and each["trust"] == trust]
            if not runs:
                continue
            ends = sorted(each["steps"] for each in runs if each["outcome"] != "completed")
            last = max(each["steps"] for each in records if each["system"] == system)
            left = [100 * (1 - k / len(runs)) for k in range(len(ends) + 1)]
            label = f"trust {'on' if trust else 'off'}"
            axes.step(
                [0, *ends, last], [*left, left[-1]], where="post", color=colour, label=label, linewidth=width
            )
        axes.set(title=NAMES[system], xlabel="step", ylim=(-4, 104), xlim=(0, None))
        axes.title.set_fontsize(11)
    panels[0].set_ylabel("runs not exploded, %")
    panels[0].legend(frameon=False, loc="center")
    return figure


def calibration(records: Sequence[Record], out: Path) -> None:
    """Nominal and observed coverage."""
    lines = _coverage_lines(records)
    head = ("observed, %", *(f"{level:.0%}" for level in LEVELS), "curves")
    rows = [
        (name, *(_percent(_mean(rounds, part, level)) for level in LEVELS), len(rounds))
        for name, (rounds, part) in lines.items()
    ]
    table(head, *rows)
    for name, (rounds, part) in lines.items():
        print(name)
        last = max(len(each) for each in rounds)
        numbers = range(last)
        by_level = [
            (f"{level:.0%}", *(_percent(_mean(rounds, part, level, number)) for number in numbers))
            for level in LEVELS
        ]
        table(("round", *(number + 1 for number in numbers)), *by_level)
    save_figure(_calibration_figure(lines), out / "calibration.png")


Lines = dict[str, tuple[list[list[Record]], str]]


def _coverage_lines(records: Sequence[Record]) -> Lines:
    """Rounds of each curve, and what of them to look at, by the name of a line."""
    lines: Lines = {}
    for name in ("aspirin", "tio2"):
        curves = [each["rounds"] for each in records if each["data"] == name]
        if curves:
            lines |= {
                f"{NAMES[name]}, next batch": (curves, "next"),
                f"{NAMES[name]}, test set": (curves, "test"),
            }
    for name in ("ethanol", "silicon"):
        curves = [each["rounds"] for each in records if each["data"].startswith(name)]
        if curves:
            lines[f"{name}, on the fly"] = (curves, "next")
    return lines


def _mean(curves: Sequence[Sequence[Record]], part: str, level: float, number: int | None = None) -> float:
    """Observed coverage, averaged over rounds, or in one of them, and over curves."""
    found = [
        each[part][str(level)]
        for rounds in curves
        for index, each in enumerate(rounds)
        if number in (None, index) and str(level) in each[part]
    ]
    return float(np.mean(found)) if found else np.nan


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.0f}"


def _calibration_figure(lines: Lines) -> Figure:
    figure = Figure(figsize=(9.6, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    nominal = [100 * level for level in LEVELS]
    left.plot([45, 100], [45, 100], color="#7f7f7f", linewidth=1, linestyle="--")
    for colour, (name, (rounds, part)) in zip(COLOURS, lines.items(), strict=False):
        style = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 1.6, "label": name}
        left.plot(nominal, [100 * _mean(rounds, part, level) for level in LEVELS], **style)
        shown = range(max(len(each) for each in rounds))
        right.plot(
            [number + 1 for number in shown],
            [100 * _mean(rounds, part, 0.95, number) for number in shown],
            **style,
        )
    right.axhline(95, color="#7f7f7f", linewidth=1, linestyle="--")
    left.set(
        xlabel="nominal, %", ylabel="observed, %", title="Mean over rounds", xlim=(45, 100), ylim=(None, 101)
    )
    right.set(
        xlabel="round with bounds", ylabel="observed, %", title="Nominal 95 %, by round", ylim=(None, 101)
    )
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    left.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def averages(records: Sequence[Record], out: Path) -> None:
    """Mean energies and radial distributions."""
    by_kind = {kind: [each for each in records if each["kind"] == kind] for kind in KINDS}
    if min(map(len, by_kind.values())) < 2:
        print("too few runs yet\n")
        return
    head = ("", "runs", "rewinds", "mean potential energy, eV", "less that of GFN2-xTB, meV")
    zero = [each["mean_energy"] for each in by_kind["reference"]]
    rows = []
    for kind, name in KINDS.items():
        energies = np.array([each["mean_energy"] for each in by_kind[kind]])
        error = 1e3 * np.hypot(*(np.std(each, ddof=1) / np.sqrt(len(each)) for each in (energies, zero)))
        difference = (
            "" if kind == "reference" else f"{1e3 * (energies.mean() - np.mean(zero)):+.1f} ± {error:.1f}"
        )
        rewinds = sum(each["rewinds"] for each in by_kind[kind])
        rows.append((name, len(energies), rewinds, spread(energies, 4), difference))
    table(head, *rows)
    distances = {
        kind: np.array([each["distances_per_angstrom"] for each in of]) for kind, of in by_kind.items()
    }
    for one, other in (("plain", "rewind"), ("plain", "reference"), ("rewind", "reference")):
        z = _deviations(distances[one], distances[other])
        print(
            f"{one} - {other}: {np.sqrt(np.mean(z**2)):.2f} standard errors (root mean square of {len(z)} bins), "
            f"largest {np.abs(z).max():.1f}"
        )
    save_figure(_averages_figure(distances), out / "averages.png")


def _deviations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Differences of the means in standard errors, where either has counts in every run."""
    counted = (one > 0).all(axis=0) & (other > 0).all(axis=0)
    error = np.sqrt(one.var(axis=0, ddof=1) / len(one) + other.var(axis=0, ddof=1) / len(other))
    return ((one.mean(axis=0) - other.mean(axis=0)) / error)[counted]


def _averages_figure(distances: dict[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(8.0, 5.4), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
    centres = (BINS[1:] + BINS[:-1]) / 2
    mean: Callable[[str], np.ndarray] = lambda kind: distances[kind].mean(axis=0)  # noqa: E731
    for kind, colour, style in zip(KINDS, COLOURS, ("-", "-", "--"), strict=False):
        upper.plot(centres, mean(kind), color=colour, linestyle=style, linewidth=1.5, label=KINDS[kind])
    both = distances["plain"], distances["rewind"]
    error = np.sqrt(sum(each.var(axis=0, ddof=1) / len(each) for each in both))
    lower.fill_between(
        centres, -2 * error, 2 * error, color="#bbbbbb", linewidth=0, label="two standard errors"
    )
    lower.plot(
        centres, mean("rewind") - mean("plain"), color=COLOURS[2], linewidth=1.2, label="with less without"
    )
    upper.set(ylabel="pairs per Å", xlim=(BINS[0], BINS[-1]), ylim=(0, None))
    lower.set(xlabel="distance, Å", ylabel="difference")
    upper.legend(frameon=False)
    lower.legend(frameon=False, ncols=2, fontsize=9, loc="lower right")
    return figure


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("results", type=Path, help="folder with campaign, calibration and averages.jsonl")
    wanted = options.parse_args()
    for part in (campaign, calibration, averages):
        records = read(wanted.results / f"{part.__name__}.jsonl")
        if records:
            print(f"## {part.__name__}\n")
            part(records, wanted.results)


if __name__ == "__main__":
    main()
