"""How a potential is trained, as data: a name, and fields of the settings that differ from the defaults."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ase_bmdal import ModelSettings, Retraining, TrainingSettings

KINDS = {"training": TrainingSettings, "architecture": ModelSettings, "retraining": Retraining}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    # As trainings were until commit 5411988, and rounds but for the decay of their rates: replay them with that code.
    "old": {
        "envelope": "cosine",
        "shared": 0.0,
        "input_spread": None,
        "weight_decay": 0.0,
        "force_length": None,
        "energy_delay": 0.0,
        "energy_weight": 1.0,
        "epochs": 300,
        "decay": 0.3,
        "decay_power": 1.0,
        "retraining.rate": 1.0,
        "retraining.growth": 1e9,
        "retraining.promotion": {"margin": 1e9},
    },
    "quick": {"epochs": 2, "hidden": (16,), "n_radial": 3, "n_gaussians": 5},  # to see that all works
}


@dataclass(frozen=True)
class Recipe:
    """A recipe.

    Attributes
    ----------
    name
        Of the recipe, with what was changed by hand.
    overrides
        Fields by name; those of `Retraining` with ``retraining.`` in front.
    """

    name: str
    overrides: Mapping[str, Any]

    def settings(self, kind: str, **more: Any) -> Any:
        """The ``training``, ``architecture`` or ``retraining``.

        Raises
        ------
        ValueError
            If a field does not exist.
        """
        of_kind = {name: value for name, value in self.overrides.items() if _kind(name) == kind}
        return KINDS[kind](**{name.rpartition(".")[2]: value for name, value in of_kind.items()} | more)


def _kind(field: str) -> str:
    prefix, _, name = field.rpartition(".")
    candidates = [prefix] if prefix else ["training", "architecture"]
    for kind in candidates:
        if kind in KINDS and name in {each.name for each in fields(KINDS[kind])}:
            return kind
    known = {kind: [each.name for each in fields(cls)] for kind, cls in KINDS.items()}
    raise ValueError(f"expected a field of {known}, got {field!r}")


def recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """A recipe by name, with changes such as ``epochs=100``, whose values are JSON or else strings."""
    overrides, label = dict(RECIPES[name]), name
    for change in sorted(changes):
        field, _, value = change.partition("=")
        try:
            overrides[field] = json.loads(value)
        except ValueError:
            overrides[field] = value
        label += f" {change}"
    for field in overrides:
        _kind(field)
    return Recipe(label, overrides)


def add_arguments(options: argparse.ArgumentParser) -> None:
    """Options that choose a recipe."""
    options.add_argument("--recipe", choices=list(RECIPES), default="default", help="(%(default)s)")
    options.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of TrainingSettings or ModelSettings, or retraining.FIELD",
    )
