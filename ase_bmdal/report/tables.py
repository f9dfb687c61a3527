"""A run, and the errors of a potential, as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from ase_bmdal.common.deviation import Deviation
from ase_bmdal.report.run import Run
from ase_bmdal.run.events import Round

LONGEST_TEXT = 100
UNITS = {
    "energy": (1e3, "meV"),
    "energy_per_atom": (1e3, "meV/atom"),
    "forces": (1e3, "meV/Å"),
    "stress": (1e3, "meV/Å³"),
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str] = ()) -> str:
    """Columns under their headings.

    Parameters
    ----------
    header
        Heading of each column.
    rows
        Cells.
    left
        Headings of the columns that are set flush left; numbers go to the right.
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    is_left = [name in left for name in header]

    def cell(text: str, column: int) -> str:
        return text.ljust(widths[column]) if is_left[column] else text.rjust(widths[column])

    return "\n".join("  ".join(cell(t, c) for c, t in enumerate(line)).rstrip() for line in lines)


def errors_table(errors: Mapping[str, Deviation]) -> str:
    """Errors as `errors_of` gives them, a line for each quantity."""
    rows = []
    for name, deviation in errors.items():
        factor, unit = UNITS[name]
        numbers = (f"{factor * value:.2f}" for value in (deviation.mae, deviation.rmse))
        rows.append([name.replace("_", " "), *numbers, unit])
    return table(["", "MAE", "RMSE", "unit"], rows, left=["", "unit"])


def report_text(run: Run) -> str:
    """Everything a run folder says, for a reader."""
    parts = [summary(run), rounds_table(run)]
    if run.history.baseline:
        parts.append(f"{run.history.baseline}")
    if run.of_status("failed"):
        parts.append(f"Calculations that failed\n\n{failures_table(run)}")
    if run.settings:
        parts.append(f"Settings\n\n{settings_table(run)}")
    return "\n\n".join(parts)


def summary(run: Run) -> str:
    """One line: how far the run is."""
    counts = {status: len(run.of_status(status)) for status in ("done", "failed", "pending")}
    text = f"{run.path}: {counts['done']} labels, {counts['failed']} failed, {len(run.rounds)} rounds"
    if counts["pending"]:
        text += f", {counts['pending']} calculations not finished"
    return text


def rounds_table(run: Run) -> str:
    """Labels, errors before training and times of every round."""
    header = ["round", "labels", "new", "failed", "pool", "force MAE", "force RMSE", "energy MAE"]
    header += ["covered", "select", "label", "train", "why"]
    rows = [_round(each) for each in run.rounds]
    units = ["", "", "", "", "frames", "meV/Å", "meV/Å", "meV/atom", "", "s", "s", "s", ""]
    note = (
        "Errors are those of the predictions made before training on the new labels; "
        "covered is the part of them within the bounds given before."
    )
    return f"{table(header, [units, *rows], left=['why'])}\n\n{note}"


def failures_table(run: Run) -> str:
    """Why structures have no label, and where what their calculation left behind is."""
    rows = [
        [str(row.id), str(row.round), row.error_class or "", _short(row.error_text or ""), row.scratch or ""]
        for row in run.of_status("failed")
    ]
    return table(
        ["row", "round", "error", "text", "left behind in"], rows, ["error", "text", "left behind in"]
    )


def settings_table(run: Run) -> str:
    """What the run was told."""
    rows = [[name, str(value)] for name, value in _flat(run.settings) if name != "format"]
    return "\n".join(f"{name:<32}  {value}" for name, value in rows)


def _round(each: Round) -> list[str]:
    counts = (each.round, each.labels, each.new_labels, each.failed, each.pool)
    errors = (each.force_mae, each.force_rmse, each.energy_mae)
    seconds = (each.select_seconds, each.label_seconds, each.train_seconds)
    return [
        *map(str, counts),
        *map(_milli, errors),
        "-" if each.coverage is None else f"{each.coverage:.0%}",
        *(f"{value:.1f}" for value in seconds),
        _short(each.reason),
    ]


def _milli(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f}"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_TEXT else f"{words[: LONGEST_TEXT - 3]}..."


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            inner = prefix if name == "settings" else f"{prefix}{name}."
            pairs += _flat(value, inner)
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs
