"""Energies referred to free atoms, so that the network learns only what remains (paper, eq. 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.potential.gmnn import GMNN, atomic_invariants
from ase_bmdal.potential.network import InputScaling
from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.structures.labels import Label

SMALLEST_SCALE = 0.01
ENOUGH = 100  # structures to find the mean of the invariants


@dataclass(frozen=True)
class Reference:
    """Zero and unit of the energies a network learns.

    Attributes
    ----------
    elements
        Atomic numbers, ascending.
    atomic_energies
        `c mu_Z` at the start of training, eV, [n_species], float64.
    energy_scale
        `c`, eV.
    """

    elements: tuple[int, ...]
    atomic_energies: NDArray[np.float64]
    energy_scale: float

    def of(self, atoms: Atoms) -> float:
        """Energy of the free atoms of a structure, eV."""
        return float(composition([atoms], self.elements)[0] @ self.atomic_energies)


def fit_reference(
    structures: Sequence[Atoms],
    energies: Sequence[float],
    known_elements: Sequence[int] = (),
    force_scale: float | None = None,
    free_atoms: Mapping[int, float] | None = None,
    near: Mapping[int, float] | None = None,
) -> Reference:
    """Linear regression of the energies per atom on the composition, least squares of least change, in float64.

    The solution stays finite when all structures have one composition. Energies per atom, since a large cell has no
    more to say of the energy of an atom than a small one. The unit `c` must be of the size of what the network is to
    give, or its weights have to grow.

    Parameters
    ----------
    structures
        At least one.
    energies
        eV, one per structure.
    known_elements
        Elements to have a place even if no structure holds them.
    force_scale
        `c`, if forces tell it (`TrainingSettings.force_length`), eV; None takes the root-mean-square residual per atom,
        but not below 0.01 eV, so that a few equal energies do not switch the network off.
    free_atoms
        Energies, eV, by atomic number, of elements that are not regressed.
    near
        Energies, eV, by atomic number, from which the regression departs no further than it must; else zero. They
        decide how the energy of one composition is split among its elements.
    """
    elements = tuple(sorted({int(z) for atoms in structures for z in atoms.numbers} | set(known_elements)))
    counts = composition(structures, elements)
    n_atoms = counts.sum(axis=1)
    targets, concentrations = np.asarray(energies, np.float64) / n_atoms, counts / n_atoms[:, None]
    fixed, begin = free_atoms or {}, {**(near or {}), **(free_atoms or {})}
    atomic_energies = np.array([begin.get(element, 0.0) for element in elements])
    open_to = [element not in fixed for element in elements]
    remainder = targets - concentrations @ atomic_energies
    atomic_energies[open_to] += np.linalg.lstsq(concentrations[:, open_to], remainder, rcond=None)[0]
    residuals = targets - concentrations @ atomic_energies
    scale = max(SMALLEST_SCALE, float(np.sqrt(np.mean(residuals**2))))
    return Reference(elements, atomic_energies, force_scale or scale)


def scale_of_forces(labels: Sequence[Label], force_length: float | None) -> float | None:
    """`c`: the root mean square of all force components times a length (Å), eV.

    None without a length, without forces, or where all of them vanish.
    """
    forces = [label.forces.ravel() for label in labels if label.forces is not None]
    if force_length is None or not forces:
        return None
    return force_length * float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) or None


def first_model(
    settings: ModelSettings,
    reference: Reference,
    fresh: Mapping[str, NDArray[np.floating]],
    structures: Sequence[Atoms],
) -> GMNN:
    """The untrained network with the given initial parameters, its inputs scaled by those of some structures."""
    model = GMNN(settings, reference.elements, fresh, reference.atomic_energies, reference.energy_scale)
    if settings.input_spread is None:
        return model
    some = structures[:: max(1, len(structures) // ENOUGH)]
    return model.with_inputs(InputScaling.of(atomic_invariants(model, some), settings.input_spread))


def rebase(model: GMNN, reference: Reference, fresh: Mapping[str, NDArray[np.floating]]) -> GMNN:
    """The same potential, its energies counted from another reference, perhaps with more elements.

    Parameters
    ----------
    model
        Potential to go on from.
    reference
        Elements, among them all of the model's, their energies, and the scale.
    fresh
        Initial parameters for the new list of elements, from which unknown elements take theirs.

    Returns
    -------
    GMNN
        Predicts what `model` does for structures without new elements.
    """
    old = np.searchsorted(reference.elements, model.elements)
    beta, scale, shift = (np.array(fresh[name]) for name in ("beta", "scale", "shift"))
    columns = (old[:, None] * model.settings.n_gaussians + np.arange(model.settings.n_gaussians)).ravel()
    beta[np.ix_(old, np.arange(beta.shape[1]), columns)] = model.parameters["beta"]
    ratio = model.energy_scale / reference.energy_scale
    offset = (model.atomic_energies - reference.atomic_energies[old]) / reference.energy_scale
    scale[old] = ratio * model.parameters["scale"]
    shift[old] = ratio * model.parameters["shift"] + offset
    parameters = {**model.parameters, "beta": beta, "scale": scale, "shift": shift}
    return GMNN(
        model.settings,
        reference.elements,
        parameters,
        reference.atomic_energies,
        reference.energy_scale,
        model.inputs,
    )


def composition(structures: Sequence[Atoms], elements: Sequence[int]) -> NDArray[np.float64]:
    """Number of atoms of each element in each structure, [n_structures, n_elements]."""
    return np.array([[np.count_nonzero(atoms.numbers == z) for z in elements] for atoms in structures], float)
