"""Under which names files and programs keep energies, forces, stresses and weights: the one table of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from ase_bmdal.structures.same import changes

LEVELS = ("ref", "reference", "dft")  # what stands before the name where predictions may stand beside it
NAMES = {  # whatever their case; of two the first
    "energy": ("free_energy", "energy"),  # forces are the gradient of the free energy
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
}
WEIGHTS = {
    "config_weight": ("energy", "forces", "stress"),
    **dict.fromkeys(("energy_weight", "config_energy_weight"), ("energy",)),
    **dict.fromkeys(
        ("force_weight", "forces_weight", "config_force_weight", "config_forces_weight"), ("forces",)
    ),
    **dict.fromkeys(("stress_weight", "virial_weight", "virials_weight"), ("stress",)),
    **dict.fromkeys(("config_stress_weight", "config_virials_weight"), ("stress",)),
}

_QUANTITY = {name: quantity for quantity, names in NAMES.items() for name in names}
_DIALECT = re.compile(rf"(?:({'|'.join(LEVELS)})[_-]?)?({'|'.join(_QUANTITY)})", re.IGNORECASE)
_FORCES = re.compile(r".*force.*|(.*[_-])?(f|frc|grads?|gradients?)", re.IGNORECASE)
_GRADIENT = re.compile(r".*grad.*", re.IGNORECASE)
_LOOKS_LIKE = re.compile(
    rf"(?!.*(weight|uncertainty))(.*(energy|stress|virial).*|{_FORCES.pattern})", re.IGNORECASE
)


@dataclass(frozen=True)
class LabelKeys:
    """Names by which labels are found, where they are none of the known ones; None looks for those.

    Attributes
    ----------
    energy, stress
        In ``info``, or in the results of the calculator. A name with ``virial`` in it that does not end in ``stress``
        is that of a virial.
    forces
        In ``arrays``, or in the results of the calculator.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None


@dataclass(frozen=True)
class Found:
    """What a structure carries of a label.

    Attributes
    ----------
    values
        By quantity: ``energy``, ``forces``, ``stress``, ``virial``.
    keys
        The names they were found under.
    level
        In lower case what stands before the names, empty if nothing does; None if the keys were given.
    unused
        Names of what looks like a label as well.
    stale
        What has changed since the calculator of the structure computed its results, which do not count then.
    apart
        Names of energies beside the free energy that was taken, which differ from it.
    """

    values: Mapping[str, Any]
    keys: tuple[str, ...]
    level: str | None
    unused: tuple[str, ...]
    stale: tuple[str, ...]
    apart: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """The names for a reader, who may have called a virial by one of their own."""
        last = self.keys[-1:] if "virial" in self.values else ()
        return tuple(f"{key} (a virial)" if key in last and not is_label(key) else key for key in self.keys)


class Known(NamedTuple):
    """A name in one of the known dialects: what stands before it, its quantity, its place among the names of that."""

    level: str
    quantity: str
    rank: int


def find(atoms: Atoms, keys: LabelKeys) -> Found:
    """Find the label of a structure, all of one level.

    Parameters
    ----------
    atoms
        Any structure, also one without a label: then there are no values.
    keys
        Names that were given.

    Raises
    ------
    ValueError
        If there are two of a kind, or forces of another level than the energy.
    """
    results, stale = _results(atoms)
    entries = {**_present(atoms.arrays), **_present(atoms.info), **results}
    chosen: dict[str, str] = {}
    if keys.energy is None:
        level = akin = _level(entries)
    else:
        chosen |= {"energy": keys.energy} if keys.energy in entries else {}
        level, akin = None, known.level if (known := _known(keys.energy)) else None
    relatives = _of_level(entries, akin)
    for quantity, names in relatives.items():
        if quantity not in chosen:
            chosen[quantity] = _only(quantity, names, entries)
    if keys.forces is not None:
        chosen = _with(chosen, "forces", keys.forces, entries)
    if keys.stress is not None:
        chosen = _with(chosen, _stress_or_virial(keys.stress), keys.stress, entries)
    same_level = {key for names in relatives.values() for key in names} | set(chosen.values())
    others = tuple(key for key in entries if key not in same_level and _LOOKS_LIKE.fullmatch(key))
    if keys.energy is None and keys.forces is None and "energy" in chosen and "forces" not in chosen:
        _refuse_other_forces(atoms, chosen["energy"], {key: entries[key] for key in others})
    if "energy" not in chosen:
        return Found({}, (), None, others, stale)
    return Found(
        {quantity: entries[key] for quantity, key in chosen.items()},
        tuple(chosen[quantity] for quantity in NAMES if quantity in chosen),
        level,
        others,
        stale,
        _apart(relatives.get("energy", []), entries) if keys.energy is None else (),
    )


def _stress_or_virial(key: str) -> str:
    """What stands under a name that was given: what it ends in counts, as of `virial_stress`."""
    name = key.lower()
    return "virial" if "virial" in name and not name.endswith(("stress", "stresses")) else "stress"


def _with(chosen: dict[str, str], quantity: str, key: str, entries: Mapping[str, Any]) -> dict[str, str]:
    """The names with the one that was given for forces, or for a stress or virial."""
    kin = ("stress", "virial") if quantity != "forces" else ("forces",)
    rest = {name: value for name, value in chosen.items() if name not in kin}
    return rest | ({quantity: key} if key in entries else {})


def is_label(key: str) -> bool:
    """Whether this is the name of an energy, of forces or of a stress in one of the known dialects."""
    return _known(key) is not None


def weights_in(info: Mapping[Any, Any]) -> dict[str, float]:
    """Entries that say how much a structure counts."""
    return {key: value for key, value in info.items() if isinstance(key, str) and key.lower() in WEIGHTS}


def weights_of(atoms: Atoms) -> tuple[float, float, float]:
    """How much the energy, the forces and the stress of a structure count, times the weights of the loss.

    Raises
    ------
    ValueError
        If one is no number, or negative.
    """
    weights = {"energy": 1.0, "forces": 1.0, "stress": 1.0}
    for key, value in weights_in(atoms.info).items():
        number = as_numbers(key, value)
        if number.size != 1 or not 0 <= number.item() < np.inf:
            raise ValueError(f"{key}: expected a number of at least 0, got {value}")
        for quantity in WEIGHTS[key.lower()]:
            weights[quantity] *= number.item()
    return weights["energy"], weights["forces"], weights["stress"]


def as_numbers(key: str, value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What stands under a key, as an array.

    Raises
    ------
    ValueError
        If it is something else than numbers.
    """
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{key}: expected numbers, got {value!r}") from None


def listed(names: Iterable[str]) -> str:
    """Names for a reader, each once."""
    return ", ".join(dict.fromkeys(names))


def _results(atoms: Atoms) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Results of the calculator, none if they are those of another structure; and what has changed then."""
    results = _present(getattr(atoms.calc, "results", None) or {})
    known_for = getattr(atoms.calc, "atoms", None)
    changed = changes(known_for, atoms) if results and known_for is not None else []
    return ({}, tuple(changed)) if changed else (results, ())


def _present(entries: Mapping[Any, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if isinstance(key, str) and value is not None}


def _known(key: str) -> Known | None:
    match = _DIALECT.fullmatch(key)
    if match is None:
        return None
    name = match[2].lower()
    quantity = _QUANTITY[name]
    return Known((match[1] or "").lower(), quantity, NAMES[quantity].index(name))


def _level(entries: Iterable[str]) -> str | None:
    """The level that has an energy: one with a name, or else the one without."""
    known = {key: found for key in entries if (found := _known(key)) and found.quantity == "energy"}
    named = {found.level: key for key, found in known.items() if found.level}
    if len(named) > 1:
        raise ValueError(
            f"expected one energy, got {' and '.join(named.values())}; say which with energy_key="
        )
    return next(iter(named), "") if known else None


def _of_level(entries: Iterable[str], level: str | None) -> dict[str, list[str]]:
    """By quantity the names of one level, those to prefer first."""
    known = {key: found for key in entries if (found := _known(key)) and found.level == level}
    by_quantity: dict[str, list[str]] = {}
    for key in sorted(known, key=lambda key: known[key].rank):
        by_quantity.setdefault(known[key].quantity, []).append(key)
    return by_quantity


def _only(quantity: str, names: list[str], entries: Mapping[str, Any]) -> str:
    """The name to take of several; two energies may be a free energy and another one."""
    first, *rest = names
    for key in rest:
        if quantity == "energy" and _known(key) != _known(first):
            continue
        if not np.array_equal(as_numbers(key, entries[key]), as_numbers(first, entries[first])):
            raise ValueError(
                f"expected one name for the {quantity}, got {first} and {key}, which differ; say which with "
                f"{'stress' if quantity == 'virial' else quantity}_key="
            )
    return first


def _apart(names: Sequence[str], entries: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of energies that are not that of the first name."""
    return tuple(key for key in names[1:] if not np.array_equal(entries[key], entries[names[0]]))


def _refuse_other_forces(atoms: Atoms, energy: str, others: Mapping[str, Any]) -> None:
    forces = [
        key for key, value in others.items() if _FORCES.fullmatch(key) and np.shape(value) == (len(atoms), 3)
    ]
    if forces and _GRADIENT.fullmatch(forces[0]):
        raise ValueError(
            f"the energy is {energy}, and there are {listed(forces)}: forces are minus the gradient of the energy; "
            f"write them as forces, or say energy_key={energy!r} to learn from energies alone"
        )
    if forces:
        raise ValueError(
            f"the energy is {energy}, the forces are {listed(forces)}: if they belong together, say "
            f"forces_key={forces[0]!r}, else energy_key={energy!r} to learn from energies alone"
        )
