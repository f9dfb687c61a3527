"""Results as Markdown tables."""

from collections.abc import Sequence

from ase_bmdal_experiments.curves import UNITS, Mean, Results

ERRORS = {"mae": "MAE", "rmse": "RMSE", "maxe": "MAXE", "maxe_component": "MAXE, component"}
CORRELATIONS = {"pearson": "Pearson", "spearman": "Spearman"}
SECONDS = ("training", "evaluation", "features", "uncertainty", "selection")


def results_text(results: Results, unit: str = "kcal", sizes: Sequence[int] = ()) -> str:
    """Tables of errors, of their average over the learning curve, and of times.

    Parameters
    ----------
    results
        One folder.
    unit
        ``"kcal"`` or ``"meV"``.
    sizes
        Sizes of the training set to show; all if there are none.
    """
    quantities = (["forces"] if results.has_forces else []) + ["energy"]
    parts = []
    for quantity in quantities:
        name = unit_name(quantity, unit)
        parts += [
            f"Errors of the {'energies' if quantity == 'energy' else 'forces'}, {name}\n\n"
            f"{errors_table(results, quantity, unit, sizes)}",
            f"Averaged over the learning curve, {name}\n\n{averages_table(results, quantity, unit)}",
        ]
    return "\n\n".join([*parts, f"Seconds a step, on average\n\n{times_table(results)}"])


def errors_table(results: Results, quantity: str, unit: str, sizes: Sequence[int] = ()) -> str:
    """A line for every size of the training set and every method, mean ± standard error over seeds."""
    names, kinds = _error_names(quantity), _correlations(results, quantity)
    header = ["N", "method", "seeds", *(ERRORS[name] for name in names), *kinds.values()]
    rows = []
    for size in sizes or results.sizes:
        for method in results.methods:
            for entry, what in (("errors", ""), ("errors_of_mean", ", mean of the committee")):
                curves = [results.learning_curve(method, entry, quantity, name) for name in names]
                if size not in curves[0]:
                    continue
                cells = [_text(curve[size], UNITS[unit][1]) for curve in curves]
                correlations = (results.learning_curve(method, "correlation", name) for name in kinds)
                cells.extend("" if what else _text(curve.get(size)) for curve in correlations)
                rows.append([str(size), method + what, str(curves[0][size].n_seeds), *cells])
    return markdown(header, rows, n_left=2)


def averages_table(results: Results, quantity: str, unit: str) -> str:
    """A line for every method with a finished curve."""
    names, kinds = _error_names(quantity), _correlations(results, quantity)
    rows = []
    for method in results.methods:
        means = [results.average(method, "errors", quantity, name) for name in names]
        if means[0] is None:
            continue
        cells = [_text(mean, UNITS[unit][1]) for mean in means]
        cells.extend(_text(results.average(method, "correlation", name)) for name in kinds)
        rows.append([method, str(means[0].n_seeds), *cells])
    return markdown(["method", "seeds", *(ERRORS[name] for name in names), *kinds.values()], rows)


def times_table(results: Results) -> str:
    """Mean seconds of every part of a step, over all steps and seeds."""
    rows = []
    for method in results.methods:
        records = [r for (name, _), curve in results.curves.items() if name == method for r in curve]
        cells = []
        for part in SECONDS:
            seconds = [record["seconds"][part] for record in records if part in record["seconds"]]
            cells.append(f"{Mean.of(seconds).value:.2f}" if seconds else "–")
        rows.append([method, *cells])
    return markdown(["method", *SECONDS], rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], n_left: int = 1) -> str:
    """A Markdown table; all but the first columns are set flush right."""
    rule = ["---" if column < n_left else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def unit_name(quantity: str, unit: str) -> str:
    """Unit as a reader writes it."""
    return UNITS[unit][0] + ("/Å" if quantity == "forces" else "")


def _error_names(quantity: str) -> list[str]:
    return [name for name in ERRORS if quantity == "forces" or name != "maxe_component"]


def _correlations(results: Results, quantity: str) -> dict[str, str]:
    """Those with the error of the forces, or with that of the energies where there are no forces."""
    return CORRELATIONS if quantity == "forces" or not results.has_forces else {}


def _text(mean: Mean | None, factor: float = 1.0) -> str:
    if mean is None:
        return "–"
    digits = 2 if abs(mean.value * factor) < 100 else 0
    text = f"{mean.value * factor:.{digits}f}"
    return text if mean.error is None else f"{text} ± {mean.error * factor:.{digits}f}"
