"""Labels that stand out, before training among their like, after it by their errors."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.structures.labels import Label

FEWEST = 5  # structures of one composition that can be compared
FAR = 30.0  # from the median, in units of the usual distance from it
SMALLEST_ENERGY = 0.2  # eV per atom; nearer to the median nothing stands out
SMALLEST_FORCE = 10.0  # eV/Å
WORST = 3


def outliers(structures: Sequence[Atoms], labels: Sequence[Label]) -> dict[int, str]:
    """Labels that are far from those of the same composition, as those of a calculation that failed in silence are.

    Parameters
    ----------
    structures, labels
        One label per structure.

    Returns
    -------
    dict
        By the place of the structure what is wrong, for a reader.
    """
    found: dict[int, str] = {}
    for formula, members in _by_composition(structures).items():
        if len(members) < FEWEST:
            continue
        energies = np.array([labels[index].energy for index in members]) / len(structures[members[0]])
        for place, distance in _far(energies, SMALLEST_ENERGY):
            found[members[place]] = (
                f"the energy of {formula} is {distance:+.3g} eV per atom from the median of {len(members)} labels of "
                "this composition"
            )
        forces = [
            (index, _largest(forces)) for index in members if (forces := labels[index].forces) is not None
        ]
        if len(forces) < FEWEST:
            continue
        for place, distance in _far(np.array([size for _, size in forces]), SMALLEST_FORCE):
            index, size = forces[place]
            text = f"the largest force of {formula} is {size:.3g} eV/Å, the median {size - distance:.3g} eV/Å"
            found[index] = f"{found[index]}; {text}" if index in found else text
    return found


def worst(structures: Sequence[Atoms], predicted: Sequence[Label], labels: Sequence[Label]) -> dict[int, str]:
    """The structures with the largest errors of a force, and the one with the largest error of the energy per atom.

    Parameters
    ----------
    structures, predicted, labels
        One prediction and one label per structure.

    Returns
    -------
    dict
        By the place of the structure its errors, for a reader; by the energy alone where there are no forces.
    """
    sizes = [len(atoms) for atoms in structures]
    energy = [
        abs(ours.energy - theirs.energy) / size
        for ours, theirs, size in zip(predicted, labels, sizes, strict=True)
    ]
    force = [_force_error(ours, theirs) for ours, theirs in zip(predicted, labels, strict=True)]
    by_force = sorted(range(len(force)), key=lambda index: -force[index])[:WORST] if any(force) else []
    by_energy = sorted(range(len(energy)), key=lambda index: -energy[index])[: 1 if by_force else WORST]
    return {
        index: f"{structures[index].get_chemical_formula()}, "
        + (f"force error up to {1000 * force[index]:.3g} meV/Å, " if labels[index].forces is not None else "")
        + f"energy error {1000 * energy[index]:.3g} meV/atom"
        for index in dict.fromkeys([*by_force, *by_energy])
    }


def _by_composition(structures: Sequence[Atoms]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, atoms in enumerate(structures):
        members[atoms.get_chemical_formula()].append(index)
    return members


def _far(values: NDArray[np.float64], smallest: float) -> list[tuple[int, float]]:
    """Places of values that are far from the median, and how far."""
    distances = values - np.median(values)
    limit = max(smallest, FAR * float(np.median(np.abs(distances))))
    return [(int(place), float(distances[place])) for place in np.flatnonzero(np.abs(distances) > limit)]


def _largest(vectors: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))


def _force_error(ours: Label, theirs: Label) -> float:
    if ours.forces is None or theirs.forces is None:
        return 0.0
    return _largest(ours.forces - theirs.forces)
