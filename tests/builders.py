"""Structures and models that many tests use."""

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from ase_bmdal.common.randomness import stream
from ase_bmdal.potential.gmnn import GMNN
from ase_bmdal.potential.network import InputScaling, initial_parameters
from ase_bmdal.potential.settings import ModelSettings


def rattled(atoms, seed=0, by=0.05):
    """Copy with displaced atoms."""
    atoms = atoms.copy()
    atoms.rattle(by, seed=seed)
    return atoms


def every_geometry():
    """One of each kind that `pbc` and the cell can make."""
    left_handed = bulk("Si", cubic=True)
    left_handed.set_cell(left_handed.cell.array[[1, 0, 2]], scale_atoms=False)
    skewed = bulk("NaCl", "rocksalt", a=4.0)
    skewed.set_cell(skewed.cell.array @ np.array([[1, 0.4, 0], [0, 1, 0.3], [0.2, 0, 1]]), scale_atoms=True)
    wire = Atoms("SiO", [[0, 0, 0], [1.6, 0.3, 0]], cell=[3.0, 0, 0], pbc=(True, False, False))
    slab = fcc111("Cu", (1, 1, 3), vacuum=None)
    slab.pbc = (True, True, False)
    return {
        "molecule": rattled(molecule("CH3CH2OH")),
        "molecule in a box": Atoms("OH", [[0, 0, 0], [0.9, 0.2, 0]], cell=[10, 10, 10]),
        "one atom": Atoms("H"),
        "one atom, its images": bulk("Cu"),
        "far apart": Atoms("HO", [[0, 0, 0], [50, 0, 0]]),
        "crystal": rattled(bulk("Si", cubic=True)),
        "small cell": rattled(bulk("NaCl", "rocksalt", a=3.9)),
        "left-handed": rattled(left_handed),
        "skewed": rattled(skewed),
        "slab": rattled(slab),
        "wire": wire,
    }


def random_model(elements, seed=0, **settings):
    """A model with random parameters, none of them at its starting value."""
    chosen = ModelSettings(
        **{"cutoff": 4.0, "hidden": (16, 12), "n_gaussians": 5, "dtype": "float64", **settings}
    )
    rng = stream(seed, "test")
    parameters = initial_parameters(chosen, len(elements), rng)
    for name in parameters:
        if name.startswith("b") or name in ("scale", "shift"):
            noise = rng.standard_normal(parameters[name].shape) * (0.3 if name != "beta" else 0)
            parameters[name] = (parameters[name] + noise).astype(chosen.numpy_dtype)
    inputs = InputScaling(0.1 * rng.standard_normal(chosen.n_invariants), 1.3)
    return GMNN(chosen, sorted(elements), parameters, rng.standard_normal(len(elements)) * 10, 0.7, inputs)


def model_for(structures, **settings):
    """A random model that knows the elements of these structures."""
    return random_model(sorted({int(z) for atoms in structures for z in atoms.numbers}), **settings)
