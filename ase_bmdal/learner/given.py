"""Structures a run is given to begin with: what of them is a label, and what is not."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_bmdal.run.store import LabelStore
from ase_bmdal.structures.dialects import LabelKeys
from ase_bmdal.structures.labels import (
    Label,
    calculator_name,
    has_label,
    label_of,
    predicted_by,
    refuse_levels,
    refuse_zeros,
    summary,
    warn_of_two_energies,
)
from ase_bmdal.structures.neighbours import check_geometry

EXPECTED = "initial: expected a list of structures, as ase.io.read(file, ':') gives"

log = logging.getLogger(__name__)


def prepared(
    structures: Sequence[Atoms] | str | Path, keys: LabelKeys, reference: Callable[[], Any]
) -> list[Atoms]:
    """Initial structures, each with the label it has, or with none; the log says how many have one.

    Results of a potential of ours, or of a calculator that is known not to be the reference, are no labels.

    Parameters
    ----------
    structures
        Labelled or not; or the folder of another run, or its ``labels.db``, for the labels it has.
    keys
        Names of the labels, where they are none of the known ones.
    reference
        What makes the reference calculator; only a class, or a `partial` of one, is known without being called.

    Raises
    ------
    TypeError
        If they are a single structure, or the name of another file.
    StoreError
        If the labels of a run cannot be read.
    ValueError
        If there are none, one has no neighbour list, or its label cannot be used; names its place.
    """
    given = _listed(structures)
    if not given:
        raise ValueError("initial: expected at least one structure, got none")
    labels: list[Label | None] = []
    others: dict[str, int] = {}
    for index, atoms in enumerate(given):
        try:
            check_geometry(atoms)
            other = None if _is_asked_for(keys, atoms) else _other_than(reference, atoms)
            without = atoms if other is None else _without_results(atoms)
            labels.append(label_of(without, keys) if has_label(without, keys) else None)
        except ValueError as error:
            raise ValueError(f"initial structure {index}: {error}") from None
        if other is not None:
            others[other] = others.get(other, 0) + 1
    refuse_levels(labels, "initial structure")
    warn_of_two_energies(labels, "initial structure")
    refuse_zeros(labels)
    known = [label for label in labels if label is not None]
    log.info("initial structures: %s; %d to be labelled", summary(known), len(given) - len(known))
    for name, number in others.items():
        log.warning("initial structures: %d have results of %s, which are no labels", number, name)
    return [
        _without_results(atoms) if label is None else label.attach(atoms)
        for atoms, label in zip(given, labels, strict=True)
    ]


def _listed(structures: Sequence[Atoms] | str | Path) -> list[Atoms]:
    if isinstance(structures, Atoms):
        raise TypeError(f"{EXPECTED}, got a single one")
    if not isinstance(structures, str | Path):
        return list(structures)
    path = Path(structures)
    labels = path / "labels.db" if path.is_dir() else path
    if labels.suffix != ".db" or not labels.is_file():  # or LabelStore would make one
        raise TypeError(f"{EXPECTED}, or the folder of a run, or its labels.db, got {str(structures)!r}")
    return [entry.atoms for entry in LabelStore(labels).rows("done")]


def _other_than(reference: Callable[[], Any], atoms: Atoms) -> str | None:
    """Name of the calculator whose results a structure has, if it is known not to be the reference."""
    name = calculator_name(atoms)
    while isinstance(reference, partial):
        reference = reference.func
    if not name or not (isinstance(reference, type) and issubclass(reference, BaseCalculator)):
        return predicted_by(atoms)
    names = {each.__name__.lower() for each in reference.__mro__}
    return None if name in names or isinstance(atoms.calc, reference) else name


def _is_asked_for(keys: LabelKeys, atoms: Atoms) -> bool:
    """Whether the results of the calculator are named as the label."""
    return keys.energy is not None and keys.energy in (getattr(atoms.calc, "results", None) or {})


def _without_results(atoms: Atoms) -> Atoms:
    copy: Atoms = atoms.copy()
    return copy
