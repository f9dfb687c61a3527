"""Figures of benchmarks; the only module of this package that loads matplotlib."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from ase_bmdal_experiments.curves import UNITS, Mean, Results
from ase_bmdal_experiments.tables import ERRORS, unit_name

PANELS = ("mae", "rmse", "maxe")
RANDOM = "MAXDIAG + RND"
# Okabe and Ito's colours without yellow: told apart by the colour-blind. One for each family of methods.
FAMILIES = {
    "MAXDIAG + RND": ("#000000", "o"),
    "MAXDIAG + AE": ("#8c8c8c", "X"),
    "MAXDIAG + QBC": ("#e69f00", "P"),
    "MAXDIAG + GP": ("#d55e00", "s"),
    "MAXDET + GP": ("#0072b2", "^"),
    "MAXDIST + GP": ("#cc79a7", "v"),
    "MAXDIST + FEAT": ("#56b4e9", "D"),
    "LCMD + FEAT": ("#009e73", "h"),
}

Lines = Mapping[str, Mapping[int, Mean]]


@dataclass(frozen=True)
class Plot:
    """Where the lines of a figure come from: by name of the error, a line for each method."""

    lines: Callable[[str], Lines]
    x_label: str
    x_ticks: Sequence[int] = ()
    is_relative: bool = False


def write_figures(folders: Sequence[Results], out: Path, unit: str = "kcal") -> list[Path]:
    """Write every figure that the results allow.

    Parameters
    ----------
    folders
        One setting with different batch sizes, or only one folder.
    out
        Folder of the figures.
    unit
        ``"kcal"`` or ``"meV"``.

    Returns
    -------
    list of Path
        The files written.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in make_figures(folders, unit):
        written.append(out / f"{name}.png")
        figure.savefig(written[-1])
    return written


def make_figures(folders: Sequence[Results], unit: str = "kcal") -> Iterator[tuple[str, Figure]]:
    """Every figure that the results of one setting with different batch sizes allow, with its name."""
    largest = max(folders, key=lambda results: results.settings["batch"])
    for quantity in ("forces", "energy") if largest.has_forces else ("energy",):
        figures = {"learning": _against_size(largest, quantity, largest.methods)}
        if RANDOM in largest.methods and len(largest.methods) > 1:
            figures["relative"] = _against_random(largest, quantity)
        batches = sorted({results.settings["batch"] for results in folders})
        if len(batches) > 1:
            figures["batch"] = _against_batch(folders, quantity, largest.methods)
        paired = [m for m in largest.methods if m != _twin(m) and _twin(m) in largest.methods]
        if paired:
            several = [each for each in folders if set(paired) <= set(each.methods)]
            by_batch = len({results.settings["batch"] for results in several}) > 1
            figures["feature-maps"] = (
                _against_batch(several, quantity, paired)
                if by_batch
                else _against_size(largest, quantity, paired)
            )
        for name, plot in figures.items():
            yield f"{name}-{quantity}", draw(plot, quantity, unit)


def draw(plot: Plot, quantity: str, unit: str) -> Figure:
    """MAE, RMSE and MAXE side by side, one legend below."""
    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for method, line in plot.lines(name).items():
            _draw_line(axes, method, line, 1.0 if plot.is_relative else UNITS[unit][1])
        axes.set_title(ERRORS[name], fontsize=11)
        axes.set_xlabel(plot.x_label)
        _scale_axes(axes, plot)
    per = "that of random selection" if plot.is_relative else unit_name(quantity, unit)
    figure.axes[0].set_ylabel(f"{'force' if quantity == 'forces' else 'energy'} error / {per}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, max(1, len(labels))), frameon=False
    )
    return figure


def _with_common_curves(folders: Sequence[Results]) -> list[Results]:
    """Curves of methods and seeds that all folders have: others would compare different seeds."""
    common = set.intersection(*(set(results.curves) for results in folders))
    return [results.only(common) for results in folders]


def _against_size(results: Results, quantity: str, methods: Iterable[str]) -> Plot:
    def lines(name: str) -> Lines:
        return {method: results.learning_curve(method, "errors", quantity, name) for method in methods}

    return Plot(lines, "number of labels")


def _against_random(results: Results, quantity: str) -> Plot:
    """Small differences, which a log axis over all sizes hides."""

    def lines(name: str) -> Lines:
        names = ("errors", quantity, name)
        return {method: results.relative_curve(method, RANDOM, *names) for method in results.methods}

    return Plot(lines, "number of labels", is_relative=True)


def _against_batch(folders: Sequence[Results], quantity: str, methods: Iterable[str]) -> Plot:
    """Errors after the last step against the number of structures added at a time."""
    folders = _with_common_curves(folders)

    def last(method: str, name: str) -> dict[int, Mean]:
        ends = {}
        for results in sorted(folders, key=lambda each: each.settings["batch"]):
            curve = results.learning_curve(method, "errors", quantity, name)
            if results.settings["final"] in curve:
                ends[results.settings["batch"]] = curve[results.settings["final"]]
        return ends

    finals = sorted({results.settings["final"] for results in folders})
    batches = sorted({results.settings["batch"] for results in folders})
    text = f"batch size ({' or '.join(map(str, finals))} labels in the end)"
    return Plot(lambda name: {m: line for m in methods if (line := last(m, name))}, text, batches)


def _draw_line(axes: Any, method: str, line: Mapping[int, Mean], factor: float) -> None:
    family, _, variant = method.rstrip(")").partition("(")
    colour, marker = FAMILIES[family]
    dashed = variant in ("RP", "E")
    x = np.array(list(line))
    y = factor * np.array([mean.value for mean in line.values()])
    error = factor * np.array([mean.error or 0.0 for mean in line.values()])
    axes.plot(
        x,
        y,
        color=colour,
        marker=marker,
        linestyle="--" if dashed else "-",
        markerfacecolor="white" if dashed else colour,
        markersize=5,
        markevery=max(1, len(x) // 12),
        linewidth=1.5,
        label=method,
    )
    axes.fill_between(x, y - error, y + error, color=colour, alpha=0.15, linewidth=0)


def _scale_axes(axes: Any, plot: Plot) -> None:
    """Log axes, but for ratios, with ticks at round numbers."""
    axes.set_xscale("log")
    logarithmic = [(axes.xaxis, axes.get_xlim())]
    if not plot.is_relative:
        axes.set_yscale("log")
        logarithmic.append((axes.yaxis, axes.get_ylim()))
    for axis, (low, high) in logarithmic:
        decades = np.log10(high / low)
        subs: tuple[float, ...] = (1,) if decades > 2.5 else (1, 2, 5)
        if decades < 1.3:
            subs = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if decades < 0.7 else (1, 2, 3, 5)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    if plot.x_ticks:
        axes.xaxis.set_major_locator(FixedLocator(list(plot.x_ticks)))
    axes.grid(alpha=0.25)


def _twin(method: str) -> str:
    """The same method with the other feature map."""
    return method.replace("(LL)", "(RP)") if "(LL)" in method else method.replace("(RP)", "(LL)")
