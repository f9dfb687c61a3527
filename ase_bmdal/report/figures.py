"""Figures of a run; the only module that loads matplotlib."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from ase_bmdal.common.files import write_atomically
from ase_bmdal.report.errors import ForcePairs
from ase_bmdal.report.run import Run

BLUE, ORANGE, GREY = "#0b5394", "#d9822b", "#7f7f7f"
SHOWN = 99.8  # percent of the components; the forces of an exploded frame would leave a dot of all others
STYLE = {"linewidth": 1.6, "markersize": 5}


def learning_figure(run: Run, test: ForcePairs | None = None, title: str = "") -> Figure:
    """How the error fell with the number of labels, and predicted against reference forces.

    Parameters
    ----------
    run
        A run.
    test
        Forces of a test set for the right-hand side; None shows the predictions made before training.
    title
        Above the right-hand side.
    """
    figure = Figure(figsize=(9.6, 4.5), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_errors(left, run)
    pairs = test or run.predictions_before_training()
    if pairs is None:
        _say(right, "no predictions yet")
    else:
        _draw_forces(figure, right, pairs)
    right.set_title(title or "Predictions made before training", fontsize=11)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG in one step.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def _draw_errors(axes: Any, run: Run) -> None:
    axes.set_title("Error on new labels before training on them", fontsize=11)
    rounds = run.predicted_rounds
    if not rounds:
        _say(axes, "no round since first contact")
        return
    labels = [
        each.labels - each.new_labels if each.trained_on is None else each.trained_on for each in rounds
    ]
    for name, text, colour, marker in (
        ("force_rmse", "RMSE", ORANGE, "s"),
        ("force_mae", "MAE", BLUE, "o"),
    ):
        errors = [1000 * getattr(each, name) for each in rounds]
        axes.plot(labels, errors, color=colour, marker=marker, label=text, **STYLE)
    axes.set_xlabel("labels the potential was trained on")
    axes.set_ylabel("force error / meV Å⁻¹")
    axes.set_yscale("log")
    _plain_log_ticks(axes.yaxis, axes.get_ylim())
    if max(labels) >= 4 * max(min(labels), 1):
        axes.set_xscale("log")
        _plain_log_ticks(axes.xaxis, axes.get_xlim())
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def _draw_forces(figure: Figure, axes: Any, pairs: ForcePairs) -> None:
    limit = 1.1 * float(np.percentile(np.abs([pairs.reference, pairs.predicted]), SHOWN))
    axes.plot([-limit, limit], [-limit, limit], color=GREY, linewidth=1, zorder=1)
    colours = {"color": BLUE} if pairs.rounds is None else {"c": pairs.rounds, "cmap": "viridis_r"}
    points = axes.scatter(
        pairs.reference, pairs.predicted, s=9, alpha=0.55, linewidths=0, zorder=2, rasterized=True, **colours
    )
    if pairs.rounds is not None and len(np.unique(pairs.rounds)) > 1:
        bar = figure.colorbar(points, ax=axes, shrink=0.85)
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        bar.locator = MaxNLocator(nbins=8, integer=True)
        bar.set_label("round")
        bar.update_ticks()
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set_xlabel("reference force component / eV Å⁻¹")
    axes.set_ylabel("predicted force component / eV Å⁻¹")
    axes.text(0.05, 0.95, _legend(pairs, limit), transform=axes.transAxes, va="top")
    axes.grid(alpha=0.25)


def _legend(pairs: ForcePairs, limit: float) -> str:
    lines = [f"MAE {1000 * pairs.mae:.0f} meV Å⁻¹"]
    if pairs.rounds is not None:
        last = pairs.of_round(int(pairs.rounds.max()))
        lines.append(f"last round {1000 * last.mae:.0f} meV Å⁻¹")
    outside = int(np.sum(np.maximum(np.abs(pairs.reference), np.abs(pairs.predicted)) > limit))
    counted = f"{len(pairs.reference)} components"
    return "\n".join([*lines, f"{counted}, {outside} outside" if outside else counted])


def _plain_log_ticks(axis: Any, limits: tuple[float, float]) -> None:
    """Numbers as 20, 50, 100 rather than powers of ten."""
    decades = np.log10(limits[1] / limits[0])
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])
