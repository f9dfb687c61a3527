"""Results read back: means and standard errors over seeds."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ase_bmdal import COMBINATIONS, RunFolderError
from ase_bmdal_experiments.data import KCAL_PER_MOL
from ase_bmdal_experiments.folder import Curve, Record, read_settings

UNITS = {"kcal": ("kcal/mol", 1 / KCAL_PER_MOL), "meV": ("meV", 1e3)}


@dataclass(frozen=True)
class Mean:
    """Mean over seeds and its standard error, which one seed does not have."""

    value: float
    error: float | None
    n_seeds: int

    @staticmethod
    def of(values: Sequence[float]) -> "Mean":
        """Average numbers that belong to different seeds."""
        n = len(values)
        error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
        return Mean(float(np.mean(values)), error, n)


@dataclass(frozen=True, eq=False)
class Results:
    """A folder of results.

    Attributes
    ----------
    path
        The folder.
    settings
        What all curves in it have in common.
    curves
        Steps of each method and seed, methods in the order of the paper.
    """

    path: Path
    settings: dict[str, Any]
    curves: dict[tuple[str, int], list[Record]]

    @property
    def methods(self) -> list[str]:
        """Methods in the order of the paper."""
        return list(dict.fromkeys(method for method, _ in self.curves))

    @property
    def has_forces(self) -> bool:
        """Whether there are errors of forces."""
        return bool(self.settings["forces"])

    @property
    def sizes(self) -> list[int]:
        """All sizes of training sets."""
        return sorted({record["n_train"] for curve in self.curves.values() for record in curve})

    def only(self, keys: Collection[tuple[str, int]]) -> "Results":
        """The same without the curves of other methods and seeds."""
        return replace(self, curves={key: curve for key, curve in self.curves.items() if key in keys})

    def learning_curve(self, method: str, *names: str) -> dict[int, Mean]:
        """Mean of an entry of the records for every size of the training set.

        Parameters
        ----------
        method
            Name of the combination.
        names
            Where the entry is, for example ``"errors", "forces", "mae"``. Steps without it are left out.
        """
        found: dict[int, list[float]] = {}
        for record in self._records(method):
            value = entry(record, *names)
            if value is not None:
                found.setdefault(record["n_train"], []).append(value)
        return {size: Mean.of(values) for size, values in sorted(found.items())}

    def relative_curve(self, method: str, to: str, *names: str) -> dict[int, Mean]:
        """Like `learning_curve`, each entry divided by that of another method with the same seed."""
        found: dict[int, list[float]] = {}
        for (name, seed), records in self.curves.items():
            if name == method:
                for one, other in zip(records, self.curves.get((to, seed), []), strict=False):
                    value, base = entry(one, *names), entry(other, *names)
                    if value is not None and base:
                        found.setdefault(one["n_train"], []).append(value / base)
        return {size: Mean.of(values) for size, values in sorted(found.items())}

    def average(self, method: str, *names: str) -> Mean | None:
        """Mean over whole learning curves, then over seeds; None if no curve is finished."""
        means = []
        for (name, _), records in self.curves.items():
            if name == method and records[-1]["n_train"] >= self.settings["final"]:
                values = [value for record in records if (value := entry(record, *names)) is not None]
                if values:
                    means.append(float(np.mean(values)))
        return Mean.of(means) if means else None

    def _records(self, method: str) -> Iterator[Record]:
        for (name, _), records in self.curves.items():
            if name == method:
                yield from records


def entry(record: Record, *names: str) -> float | None:
    """A number of a record, by the names that lead to it; None if there is none."""
    found: Any = record
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return None if found is None else float(found)


def read_results(path: Path) -> Results:
    """Read a folder of results.

    Raises
    ------
    RunFolderError
        If there are none, or they are broken.
    """
    settings = read_settings(path)
    found = [records for file in sorted(path.glob("*-seed-*.jsonl")) if (records := Curve(file).read())]
    if not found:
        raise RunFolderError(f"expected results of a benchmark in {path}, found no finished step")
    found.sort(key=lambda records: (COMBINATIONS.index(records[0]["method"]), records[0]["seed"]))
    return Results(path, settings, {(each[0]["method"], each[0]["seed"]): each for each in found})
