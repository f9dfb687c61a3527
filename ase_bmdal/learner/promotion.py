"""Whether a newly trained potential may take the place of its predecessor."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.common.deviation import Deviation
from ase_bmdal.learner.settings import Promotion
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.structures.structure_only import structure_only


class Examination(NamedTuple):
    """What both potentials can be asked.

    Attributes
    ----------
    rmse
        Root mean square of the errors of force components on labels, eV/Å.
    largest
        Largest norm of the force error of an atom there, eV/Å.
    stiffness
        Largest change of the force on an atom along small random displacements of all atoms, in units of their root
        mean square, eV/Å².
    """

    rmse: float
    largest: float
    stiffness: float


def objection(
    new: Potential,
    old: Potential,
    labelled: Sequence[Atoms],
    frames: Sequence[Atoms],
    settings: Promotion,
    rng: np.random.Generator,
) -> str | None:
    """Why a potential is worse than its predecessor; None if it is not.

    A network can be exact on its labels and absurd beside them: there its forces change far more over a small
    displacement than those of any bond do.

    Parameters
    ----------
    new, old
        Potentials; those that `old` cannot be asked, as it does not know an element, are left out.
    labelled
        Structures with forces that both were trained on.
    frames
        Structures of the simulation, labelled or not, to look beside.
    settings
        How much worse counts as worse.
    rng
        Choice of structures, and displacements.
    """
    labelled = _some(known_structures(labelled, old), settings.n_structures, rng)
    labelled = [atoms for atoms in labelled if "forces" in atoms.calc.results]
    frames = _some(known_structures(frames, old), settings.n_structures, rng)
    if not labelled and not frames:
        return None
    here = [structure_only(atoms) for atoms in [*labelled, *frames]]
    pairs = [(atoms, _displaced(atoms, settings.displacement, rng)) for atoms in here]
    forces = [atoms.get_forces(apply_constraint=False) for atoms in labelled]
    floor = settings.negligible * float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) if forces else 0.0
    found, before = (examine(model, labelled, pairs, settings.displacement) for model in (new, old))
    units = ("eV/Å", "eV/Å", "eV/Å²")
    limits = (
        settings.margin * max(before.rmse, floor),
        settings.margin * max(before.largest, 5 * floor),
        settings.stiffness_margin * before.stiffness,
    )
    for name, value, was, limit, unit in zip(found._fields, found, before, limits, units, strict=True):
        if not value <= limit:
            return f"{name} {value:.3g} {unit}, {was:.3g} before"
    return None


def examine(
    model: Potential, labelled: Sequence[Atoms], pairs: Sequence[tuple[Atoms, Atoms]], displacement: float
) -> Examination:
    """Errors on labels, and stiffness between the two structures of each pair."""
    errors = np.concatenate(
        [
            found - atoms.get_forces(apply_constraint=False)
            for found, atoms in zip(_forces(model, labelled), labelled, strict=True)
        ]
        or [np.zeros((1, 3))]
    )
    ends = _forces(model, [atoms for pair in pairs for atoms in pair])
    changes = [
        np.linalg.norm(there - here, axis=1).max() for here, there in zip(ends[::2], ends[1::2], strict=True)
    ]
    return Examination(
        Deviation.of(errors).rmse,
        float(np.linalg.norm(errors, axis=1).max()),
        float(np.max(changes) / displacement),
    )


def _forces(model: Potential, structures: Sequence[Atoms]) -> list[NDArray[np.float64]]:
    labels = model.predict(structures) if structures else []
    return [label.forces for label in labels if label.forces is not None]


def _displaced(atoms: Atoms, displacement: float, rng: np.random.Generator) -> Atoms:
    direction = rng.standard_normal(atoms.positions.shape)
    there = atoms.copy()
    there.positions += displacement / np.sqrt(np.mean(direction**2)) * direction
    return there


def known_structures(structures: Sequence[Atoms], model: Potential) -> list[Atoms]:
    """Those that a potential can be asked for: it knows all their elements."""
    return [atoms for atoms in structures if set(model.elements).issuperset(atoms.numbers)]


def _some(structures: list[Atoms], n: int, rng: np.random.Generator) -> list[Atoms]:
    chosen = np.sort(rng.permutation(len(structures))[:n])
    return [structures[index] for index in chosen]
