"""Screened repulsion of the nuclei where two atoms nearly coincide: a floor under the potential.

It acts at distances that no label covers, where a network alone may let two atoms fall into each other.
"""

import numpy as np
import tensorflow as tf
from ase import Atoms
from ase.data import covalent_radii
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.structures.batch import Geometry

COULOMB = Hartree * Bohr  # k_e e², eV Å
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
SCREENING_LENGTH = 0.46850  # Å
SCREENING_POWER = 0.23
REACH = 0.7  # of the sum of covalent radii; the shortest bonds of the G2 molecules are 0.77 of it


def zbl(distances: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """`V(d) = k_e Z_i Z_j / d phi(d / a)` with `a = 0.4685 Å / (Z_i^0.23 + Z_j^0.23)`, eV.

    `phi(x)` is the universal screening function, a sum of four exponentials.

    Parameters
    ----------
    distances
        Å, any shape.
    first, second
        Atomic numbers, of the type of `distances`; broadcast with them.

    References
    ----------
    Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Solids, Pergamon 1985.
    """
    x = distances * (first**SCREENING_POWER + second**SCREENING_POWER) / SCREENING_LENGTH
    return COULOMB * first * second / distances * sum(c * tf.exp(-b * x) for c, b in SCREENING)


def switch(distances: tf.Tensor, outer: tf.Tensor) -> tf.Tensor:
    """One up to half of `outer`, zero from `outer` on (Å); in between a quintic, twice continuously differentiable."""
    y = tf.clip_by_value(2 - 2 * distances / outer, 0.0, 1.0)
    return y**3 * (10 - 15 * y + 6 * y**2)


def repulsion(pairs: tf.Tensor, numbers: tf.Tensor, neighbours: tf.Tensor, cutoff: float) -> tf.Tensor:
    """Repulsive energy of each atom, half the sum over its pairs, eV, [A].

    Parameters
    ----------
    pairs
        Pair vectors, Å, [A, K, 3].
    numbers, neighbours
        Atomic number of each atom and of each pair's other atom, of the type of `pairs`, 0 for padding, [A] and [A, K].
    cutoff
        `r_max`, Å; pairs beyond it, as those that pad, contribute nothing.
    """
    distances = tf.sqrt(tf.reduce_sum(pairs * pairs, axis=-1))
    radii, others = (
        tf.gather(tf.constant(covalent_radii, pairs.dtype), tf.cast(each, tf.int32))
        for each in (numbers, neighbours)
    )
    outer = tf.minimum(REACH * (radii[:, None] + others), cutoff)
    energies = zbl(distances, numbers[:, None], neighbours) * switch(distances, outer)
    return 0.5 * tf.reduce_sum(energies, axis=1)


def repulsion_of(atoms: Atoms, settings: ModelSettings) -> tuple[float, NDArray[np.float64]]:
    """What the repulsion adds to the energy of a structure, eV, and to its forces, eV/Å, [n_atoms, 3].

    Zero for an architecture without it.
    """
    forces = np.zeros((len(atoms), 3))
    if settings.repulsion is None:
        return 0.0, forces
    geometry = Geometry.of(atoms, settings.cutoff)
    numbers, neighbour = geometry.numbers.astype(np.float64), geometry.table.neighbour
    pairs = tf.constant(geometry.pairs)
    with tf.GradientTape() as tape:
        tape.watch(pairs)
        energy = tf.reduce_sum(repulsion(pairs, numbers, numbers[neighbour], settings.cutoff))
    gradients = np.where(geometry.table.is_pair[..., None], tape.gradient(energy, pairs).numpy(), 0.0)
    forces += gradients.sum(axis=1)
    np.subtract.at(forces, neighbour, gradients)
    return float(energy), forces
