"""What every potential has to be: one smooth energy of the structure alone, with its derivatives."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ase_bmdal.common.randomness import stream
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.moved import displaced, strained, turned

PURPOSE = "a check"
STEP = 1e-2  # Å, and as a strain: of single precision, too, differences of energies are then precise to 1e-3


class Potential(Protocol):
    """Whatever predicts labels for structures: a network, a committee, a sum with a baseline, one of yours."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers it knows, ascending."""

    def predict(self, structures: Sequence[Atoms]) -> list[Label]:
        """Energy, forces and, for fully periodic cells, stress of each structure, in their order."""


def check_potential(potential: Potential, structures: Sequence[Atoms], *, tolerance: float = 1e-2) -> None:
    """Hold a potential to what all of this package takes for granted.

    Parameters
    ----------
    potential
        What is checked; some forty predictions for each structure.
    structures
        Of elements that it knows, with atoms at usual distances; molecules, slabs and crystals.
    tolerance
        Differences of energies per atom (eV), forces (eV/Å) and stresses (eV/Å³) up to this are none; forces and
        stresses of derivatives by finite differences may differ by a hundredth of the largest more.

    Raises
    ------
    ValueError
        Naming the first property that does not hold, the structure, and by how much.
    """
    for index, atoms in enumerate(structures):
        if unknown := set(atoms.numbers.tolist()) - set(potential.elements):
            raise ValueError(
                f"structure {index}: expected elements that the potential knows, got also {sorted(unknown)}"
            )
    for index, atoms in enumerate(structures):
        (label,) = potential.predict([atoms])
        _check_form(label, atoms, index)
        for what, expected, found in _claims(potential, atoms, label, structures, index):
            worst = float(np.abs(np.asarray(expected) - np.asarray(found)).max())
            slack = 0.01 * float(np.abs(expected).max()) if "derivative" in what else 0.0
            if not worst <= tolerance + slack:
                raise ValueError(f"structure {index}: expected {what}, but it differs by {worst:.2g}")


def _check_form(label: Label, atoms: Atoms, index: int) -> None:
    forces = None if label.forces is None else label.forces.shape
    if forces != (len(atoms), 3):
        raise ValueError(f"structure {index}: expected forces of shape {(len(atoms), 3)}, got {forces}")
    has_stress, is_periodic = label.stress is not None, bool(atoms.pbc.all())
    if has_stress != is_periodic:
        raise ValueError(
            f"structure {index}: expected {'a' if is_periodic else 'no'} stress, got {'one' if has_stress else 'none'}"
        )
    for name, value in label.values.items():
        if not np.isfinite(value).all():
            raise ValueError(f"structure {index}: expected a finite {name}, got {value}")


Claim = tuple[str, NDArray[np.float64] | float, NDArray[np.float64] | float]


def _claims(
    potential: Potential, atoms: Atoms, label: Label, structures: Sequence[Atoms], index: int
) -> Iterator[Claim]:
    """What must hold, each with what is expected and what was found."""
    among_others = potential.predict(structures)[index]
    yield "the same energy whatever is predicted beside it", *_per_atom(label, among_others)
    yield "the same forces whatever is predicted beside it", *_forces(label, among_others)
    rng = stream(0, "check of a potential")
    yield from _symmetries(potential, atoms, label, rng)
    yield from _copies(potential, atoms, label)
    yield from _derivatives(potential, atoms, label, rng)


def _symmetries(
    potential: Potential, atoms: Atoms, label: Label, rng: np.random.Generator
) -> Iterator[Claim]:
    """Of order, direction and place."""
    forces = label.forces_for(PURPOSE)
    order = rng.permutation(len(atoms))
    (permuted,) = potential.predict([atoms[order]])
    yield "the same energy with atoms in another order", *_per_atom(label, permuted)
    yield "the same forces with atoms in another order", forces[order], permuted.forces_for(PURPOSE)
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    (rotated,) = potential.predict([turned(atoms, turn)])
    yield "the same energy when it is turned", *_per_atom(label, rotated)
    yield "forces that turn with the structure", forces @ turn.T, rotated.forces_for(PURPOSE)
    (elsewhere,) = potential.predict([displaced(atoms, rng.standard_normal(3) * 10)])
    yield "the same energy elsewhere", *_per_atom(label, elsewhere)
    yield "forces that add to nothing", np.zeros(3), forces.sum(axis=0)


def _copies(potential: Potential, atoms: Atoms, label: Label) -> Iterator[Claim]:
    """Of periodic cells, one and several."""
    if not atoms.pbc.any():
        return
    (repeated,) = potential.predict([atoms.repeat([1 + bool(each) for each in atoms.pbc])])
    n, n_copies = len(atoms), 2 ** int(atoms.pbc.sum())
    what = "the energy of a repeated cell to be so many times that of one"
    yield what, label.energy / n, repeated.energy / (n_copies * n)


def _derivatives(
    potential: Potential, atoms: Atoms, label: Label, rng: np.random.Generator
) -> Iterator[Claim]:
    """Of the energy, by finite differences."""

    def along(direction: NDArray[np.float64], by: float) -> float:
        return potential.predict([displaced(atoms, by * direction)])[0].energy

    def under_strain(component: int, by: float) -> float:
        return potential.predict([strained(atoms, by, component)])[0].energy

    direction = rng.standard_normal((len(atoms), 3))
    direction /= np.linalg.norm(direction)
    expected = -float(np.sum(label.forces_for(PURPOSE) * direction))
    yield "the forces to be the derivative of the energy", expected, _slope(partial(along, direction))
    if label.stress is not None:
        found = np.array([_slope(partial(under_strain, k)) for k in range(6)]) / atoms.get_volume()
        yield "the stress to be the derivative of the energy", label.stress, found


def _per_atom(one: Label, other: Label) -> tuple[float, float]:
    n = len(one.forces_for(PURPOSE))
    return one.energy / n, other.energy / n


def _forces(one: Label, other: Label) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return one.forces_for(PURPOSE), other.forces_for(PURPOSE)


def _slope(energy: Callable[[float], float]) -> float:
    """First derivative by four points, with an error of fourth order."""
    near, far = energy(STEP) - energy(-STEP), energy(2 * STEP) - energy(-2 * STEP)
    return (8 * near - far) / (12 * STEP)
