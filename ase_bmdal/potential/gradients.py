"""Energies, forces and virials of a batch: the one place where the energy is differentiated by positions."""

from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from ase_bmdal.potential.compilation import compiled
from ase_bmdal.potential.descriptor import gaussian_moments, invariants
from ase_bmdal.potential.network import Forward, forward
from ase_bmdal.potential.posterior import posterior_deviations
from ase_bmdal.potential.repulsion import repulsion
from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.structures.batch import Shape

Parameters = dict[str, tf.Tensor]


class Arrays(NamedTuple):
    """The tensors of a `Batch`: see there."""

    species: tf.Tensor
    structure: tf.Tensor
    pairs: tf.Tensor
    reverse: tf.Tensor
    volumes: tf.Tensor

    @property
    def shape(self) -> Shape:
        """Padded size."""
        n_atoms, n_neighbours, _ = self.pairs.shape
        return Shape(n_atoms, n_neighbours, self.volumes.shape[0])


class Evaluation(NamedTuple):
    """Energies of atoms [A] (eV, without the free-atom part), forces [A, 3] (eV/Å), virials [S, 3, 3] (eV)."""

    energies: tf.Tensor
    forces: tf.Tensor
    virials: tf.Tensor


def atomic_network(parameters: Parameters, arrays: Arrays, settings: ModelSettings) -> Forward:
    """The network of each atom, from pair vectors to outputs."""
    moments = gaussian_moments(parameters["beta"], arrays.pairs, arrays.species, arrays.reverse, settings)
    return forward(parameters, invariants(moments))


def atomic_energies(parameters: Parameters, arrays: Arrays, settings: ModelSettings) -> tf.Tensor:
    """`E_i = c (sigma_Z y_i + mu_Z)` (paper, eq. 4), and the repulsion if there is one; zero for padding, [A]."""
    return _energies(parameters, arrays, atomic_network(parameters, arrays, settings), settings)


def _energies(parameters: Parameters, arrays: Arrays, network: Forward, settings: ModelSettings) -> tf.Tensor:
    scale, shift = (_by_species(parameters[name], arrays) for name in ("scale", "shift"))
    energies = parameters["energy_scale"] * (scale * network.outputs + shift)
    if settings.repulsion is None:
        return energies
    numbers, neighbour = _by_species(parameters["numbers"], arrays), arrays.reverse // arrays.pairs.shape[1]
    return energies + repulsion(arrays.pairs, numbers, neighbour, settings.cutoff)


def _by_species(values: tf.Tensor, arrays: Arrays) -> tf.Tensor:
    """The value of each atom's element, zero for padding: [n_species] to [A]."""
    return tf.linalg.matvec(tf.one_hot(arrays.species, values.shape[0], dtype=values.dtype), values)


def evaluate(parameters: Parameters, arrays: Arrays, settings: ModelSettings) -> Evaluation:
    """Energies, forces and virials.

    The energy is differentiated once, by the pair vectors `r_ij = r_j - r_i`. With `g_ij = dE/dr_ij`,
    `F_i = sum_j (g_ij - g_ji)` and the virial `dE/d(strain)` is `sum_ij r_ij g_ij`.
    """
    with tf.GradientTape() as tape:
        tape.watch(arrays.pairs)
        energies = atomic_energies(parameters, arrays, settings)
        total = tf.reduce_sum(energies)
    return _assemble(energies, tape.gradient(total, arrays.pairs), arrays)


def examine(
    parameters: Parameters, arrays: Arrays, posterior: tf.Tensor, settings: ModelSettings, pulled: bool
) -> tuple[Evaluation, tuple[tf.Tensor, tf.Tensor], Evaluation | None]:
    """`evaluate` of one structure, with its `posterior_deviations`.

    Parameters
    ----------
    pulled
        Whether to give as well the energy `-sum_i |P phi_i|`, its forces and virials, which pull to where the
        potential knows least.
    """
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arrays.pairs)
        network = atomic_network(parameters, arrays, settings)
        energies = _energies(parameters, arrays, network, settings)
        scale = parameters["energy_scale"] * _by_species(parameters["scale"], arrays)
        deviations = posterior_deviations(network, scale, posterior)
        total, doubt = tf.reduce_sum(energies), -tf.reduce_sum(deviations[0])
    evaluation = _assemble(energies, tape.gradient(total, arrays.pairs), arrays)
    if not pulled:
        return evaluation, deviations, None
    return evaluation, deviations, _assemble(-deviations[0], tape.gradient(doubt, arrays.pairs), arrays)


def _assemble(energies: tf.Tensor, gradients: tf.Tensor, arrays: Arrays) -> Evaluation:
    """Forces and virials from the gradients by pair vectors [A, K, 3]."""
    forces = tf.reduce_sum(gradients - _seen_from_neighbour(gradients, arrays.reverse), axis=1)
    per_atom = tf.matmul(arrays.pairs, gradients, transpose_a=True)  # [A, 3, 3]
    virials = tf.math.unsorted_segment_sum(per_atom, arrays.structure, arrays.volumes.shape[0])
    return Evaluation(energies, forces, virials)


@cache
def compiled_evaluate(settings: ModelSettings, shape: Shape) -> Any:
    """`evaluate` compiled for an architecture and one shape of batch."""

    @compiled
    def run(parameters: Parameters, arrays: Arrays) -> Evaluation:
        return evaluate(parameters, arrays, settings)

    return run


@cache
def compiled_step(settings: ModelSettings, shape: tuple[int, int], pulled: bool = False) -> Any:
    """`evaluate`, or `examine`, compiled for one moving structure of A atoms and K neighbours.

    Pair vectors are made from positions, in float64.

    The compiled function takes parameters, species [A], reverse [A, K], positions [A, 3], the shifts [A, K, 3]
    that periodic images add to them (Å, float64; long enough to reach past the cutoff for padding), covalent radii
    (Å, [A]), and the posterior of an `Uncertainty` or None. It returns the smallest distance in units of the sum of two
    radii, an `Evaluation`, and with a posterior what `examine` gives besides.
    """

    @compiled
    def run(
        parameters: Parameters,
        species: tf.Tensor,
        reverse: tf.Tensor,
        positions: tf.Tensor,
        shifts: tf.Tensor,
        radii: tf.Tensor,
        posterior: tf.Tensor | None,
    ) -> tuple[tf.Tensor, Evaluation, tuple[tf.Tensor, tf.Tensor] | None, Evaluation | None]:
        neighbour = reverse // reverse.shape[1]
        pairs = tf.gather(positions, neighbour) - positions[:, None] + shifts
        touching = radii[:, None] + tf.gather(radii, neighbour)
        closest = tf.reduce_min(tf.norm(pairs, axis=-1) / touching)
        structure, volumes = tf.zeros_like(species), tf.zeros(1, settings.dtype)
        arrays = Arrays(species, structure, tf.cast(pairs, settings.dtype), reverse, volumes)
        if posterior is None:
            return closest, evaluate(parameters, arrays, settings), None, None
        return closest, *examine(parameters, arrays, posterior, settings, pulled)

    return run


@tf.custom_gradient
def _seen_from_neighbour(per_pair: tf.Tensor, reverse: tf.Tensor) -> Any:
    """Value of each pair as its neighbour has it. Done twice it changes nothing, so it is its own adjoint."""

    def swap(values: tf.Tensor) -> tf.Tensor:
        rows = tf.gather(tf.reshape(values, (-1, 3)), tf.reshape(reverse, [-1]))
        return tf.reshape(rows, values.shape)

    return swap(per_pair), lambda upstream: (swap(upstream), None)
