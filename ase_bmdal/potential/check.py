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
    n, forces, rng = len(atoms), label.forces_for("a check"), stream(0, "check of a potential")

    def energies(changed: Sequence[Atoms]) -> NDArray[np.float64]:
        return np.array([each.energy for each in potential.predict(changed)])

    def strained_energy(component: int, by: float) -> float:
        return float(energies([_strained(atoms, by, component)])[0])

    among_others = potential.predict(structures)[index]
    yield "the same energy whatever is predicted beside it", label.energy / n, among_others.energy / n
    yield "the same forces whatever is predicted beside it", forces, among_others.forces_for("a check")
    order = rng.permutation(n)
    (permuted,) = potential.predict([atoms[order]])
    yield "the same energy with atoms in another order", label.energy / n, permuted.energy / n
    yield "the same forces with atoms in another order", forces[order], permuted.forces_for("a check")
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    (turned,) = potential.predict([_turned(atoms, turn)])
    yield "the same energy when it is turned", label.energy / n, turned.energy / n
    yield "forces that turn with the structure", forces @ turn.T, turned.forces_for("a check")
    (moved,) = potential.predict([_moved(atoms, rng.standard_normal(3) * 10)])
    yield "the same energy elsewhere", label.energy / n, moved.energy / n
    yield "forces that add to nothing", np.zeros(3), forces.sum(axis=0)
    if atoms.pbc.any():
        (repeated,) = potential.predict([atoms.repeat([1 + bool(each) for each in atoms.pbc])])
        n_copies = 2 ** int(atoms.pbc.sum())
        yield (
            "the energy of a repeated cell to be so many times that of one",
            label.energy / n,
            (repeated.energy / (n_copies * n)),
        )
    along = rng.standard_normal((n, 3))
    along /= np.linalg.norm(along)
    slope = _slope(lambda step: energies([_displaced(atoms, step * along)])[0])
    yield (
        "the forces to be the derivative of the energy",
        np.array([-np.sum(forces * along)]),
        np.array([slope]),
    )
    if label.stress is not None:
        numerical = [_slope(partial(strained_energy, k)) for k in range(6)]
        yield (
            "the stress to be the derivative of the energy",
            label.stress,
            np.array(numerical) / atoms.get_volume(),
        )


def _slope(energy: Callable[[float], float]) -> float:
    """First derivative by four points, with an error of fourth order."""
    near, far = energy(STEP) - energy(-STEP), energy(2 * STEP) - energy(-2 * STEP)
    return (8 * near - far) / (12 * STEP)


def _turned(atoms: Atoms, turn: NDArray[np.float64]) -> Atoms:
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T
    return turned


def _moved(atoms: Atoms, by: NDArray[np.float64]) -> Atoms:
    return _displaced(atoms, np.broadcast_to(by, (len(atoms), 3)))


def _displaced(atoms: Atoms, by: NDArray[np.float64]) -> Atoms:
    displaced = atoms.copy()
    displaced.positions += by
    return displaced


def _strained(atoms: Atoms, by: float, component: int) -> Atoms:
    """With a strain in one of the directions of Voigt."""
    voigt = np.eye(6)[component]
    strain = np.array([[voigt[k] for k in row] for row in ((0, 5, 4), (5, 1, 3), (4, 3, 2))])
    strain[~np.eye(3, dtype=bool)] /= 2
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + by * strain), scale_atoms=True)
    return strained
