"""The zero of energy: that of free atoms, and that of labels of another level of theory."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.potential.gmnn import GMNN, Potential
from ase_bmdal.potential.regression import Reference, composition, fit_reference, rebase, scale_of_forces
from ase_bmdal.potential.repulsion import repulsion_of
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.structures.free_atoms import by_number, of_isolated
from ase_bmdal.structures.labels import Label

OF_EACH = 4  # structures of a composition that show the zero of energy of a potential


def reference_for(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    settings: ModelSettings,
    how: TrainingSettings,
    model: Potential | None,
    atomic_energies: Mapping[str, float] | None,
) -> Reference:
    """The reference of a training.

    Parameters
    ----------
    structures, labels
        Training set.
    settings, how
        Architecture; of the training, `force_length` is used.
    model
        Potential to go on from; its elements are kept.
    atomic_energies
        Energies of free atoms that were given, eV, by element. They decide what the labels leave open, and take the
        place of those of isolated atoms.

    Raises
    ------
    ValueError
        If what was given is no energy of an element.
    """
    counted = _counted(labels)
    given, isolated = by_number(atomic_energies), of_isolated(structures, labels)
    elements = {int(z) for atoms in structures for z in atoms.numbers} | set(model.elements if model else ())
    rest = [_without_repulsion(*each, settings) for each in zip(structures, labels, strict=True)]
    return fit_reference(
        [structures[index] for index in counted],
        [rest[index].energy for index in counted],
        sorted(elements),
        scale_of_forces([label for label in rest if label.weights[1] > 0], how.force_length),
        free_atoms={element: given.get(element, energy) for element, energy in isolated.items()},
        near=_of_model(model) | given,
    )


def _without_repulsion(atoms: Atoms, label: Label, settings: ModelSettings) -> Label:
    """What is left for the network to learn."""
    energy, forces = repulsion_of(atoms, settings)
    left = None if label.forces is None else label.forces - forces
    return replace(label, energy=label.energy - energy, forces=left)


def going_on(
    model: GMNN,
    reference: Reference,
    fresh: Mapping[str, NDArray[np.floating]],
    structures: Sequence[Atoms],
    labels: Sequence[Label],
) -> GMNN:
    """A network to go on from, its zero of energy moved to that of the labels.

    Labels of another level of theory differ by a sum over the atoms, which is no matter of the positions: a linear
    regression of the differences on the composition finds it, the network need not.

    Parameters
    ----------
    model
        Network to go on from.
    reference, fresh
        As of `rebase`.
    structures, labels
        Training set.
    """
    own = dict(zip(model.elements, model.atomic_energies, strict=True))
    kept = [
        own.get(z, energy) for z, energy in zip(reference.elements, reference.atomic_energies, strict=True)
    ]
    same = rebase(model, replace(reference, atomic_energies=np.array(kept)), fresh)
    some = _a_few_of_each(structures, _counted(labels))
    predicted = [label.energy for label in same.predict([structures[index] for index in some])]
    differences = np.array([labels[index].energy for index in some]) - predicted
    counts = composition([structures[index] for index in some], same.elements)
    moved = same.atomic_energies + np.linalg.lstsq(counts, differences, rcond=None)[0]
    at_their_zero = GMNN(same.settings, same.elements, same.parameters, moved, same.energy_scale, same.inputs)
    return rebase(at_their_zero, reference, fresh)


def _counted(labels: Sequence[Label]) -> Sequence[int]:
    """Places of the labels whose energy counts."""
    return [index for index, label in enumerate(labels) if label.weights[0] > 0] or range(len(labels))


def _of_model(model: Potential | None) -> dict[int, float]:
    first = model.members[0] if model else None
    return dict(zip(first.elements, first.atomic_energies.tolist(), strict=True)) if first else {}


def _a_few_of_each(structures: Sequence[Atoms], places: Sequence[int]) -> list[int]:
    """Some structures of each composition, evenly spread."""
    members: dict[bytes, list[int]] = defaultdict(list)
    for index in places:
        members[np.sort(structures[index].numbers).tobytes()].append(index)
    spread = (np.linspace(0, len(each) - 1, min(OF_EACH, len(each))).round() for each in members.values())
    return [each[int(k)] for each, chosen in zip(members.values(), spread, strict=True) for k in chosen]
