"""Energies, forces and virials of a batch: the one place where the energy is differentiated by positions."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from ase_bmdal.potential.compilation import Compiled
from ase_bmdal.potential.descriptor import gaussian_moments, invariants
from ase_bmdal.potential.network import Forward, forward
from ase_bmdal.potential.posterior import norm, posterior_features
from ase_bmdal.potential.repulsion import repulsion
from ase_bmdal.potential.settings import ModelSettings
from ase_bmdal.structures.batch import BatchShape

Parameters = dict[str, tf.Tensor]
BLOCK = 128  # atoms at least
MANY_ATOMS = 512  # from which on blocks are worth it


class Environments(NamedTuple):
    """What the energies of atoms depend on: species [A], those of the neighbours [A, K], pair vectors [A, K, 3]."""

    species: tf.Tensor
    neighbour_species: tf.Tensor
    pairs: tf.Tensor


class BatchTensors(NamedTuple):
    """The tensors of a `Batch`: see there."""

    species: tf.Tensor
    structure: tf.Tensor
    pairs: tf.Tensor
    reverse: tf.Tensor
    volumes: tf.Tensor

    @property
    def shape(self) -> BatchShape:
        """Padded size."""
        n_atoms, n_neighbours, _ = self.pairs.shape
        return BatchShape(n_atoms, n_neighbours, self.volumes.shape[0])

    @property
    def environments(self) -> Environments:
        """Of all atoms."""
        neighbour = self.reverse // self.pairs.shape[1]
        return Environments(self.species, tf.gather(self.species, neighbour), self.pairs)


class Evaluation(NamedTuple):
    """Energies of atoms [A] (eV, without the free-atom part), forces [A, 3] (eV/Å), virials [S, 3, 3] (eV)."""

    energies: tf.Tensor
    forces: tf.Tensor
    virials: tf.Tensor


def atomic_network(parameters: Parameters, environments: Environments, settings: ModelSettings) -> Forward:
    """The network of each atom, from pair vectors to outputs."""
    moments = gaussian_moments(parameters["beta"], *environments, settings)
    inputs = parameters["input_scale"] * (invariants(moments) - parameters["input_mean"])
    return forward(parameters, inputs)


def atomic_energies(parameters: Parameters, environments: Environments, settings: ModelSettings) -> tf.Tensor:
    """`E_i = c (sigma_Z y_i + mu_Z)` (paper, eq. 4), and the repulsion if there is one; zero for padding, [A]."""
    return _energies(parameters, environments, atomic_network(parameters, environments, settings), settings)


def _energies(
    parameters: Parameters, environments: Environments, network: Forward, settings: ModelSettings
) -> tf.Tensor:
    scale, shift = (of_species(parameters[name], environments.species) for name in ("scale", "shift"))
    energies = parameters["energy_scale"] * (scale * network.outputs + shift)
    if settings.repulsion is None:
        return energies
    numbers, neighbours = (
        of_species(parameters["numbers"], each)
        for each in (environments.species, environments.neighbour_species)
    )
    return energies + repulsion(environments.pairs, numbers, neighbours, settings.cutoff)


def of_species(values: tf.Tensor, species: tf.Tensor) -> tf.Tensor:
    """The value of each atom's element, zero for padding: [n_species] to the shape of `species`."""
    return tf.linalg.matvec(tf.one_hot(species, values.shape[0], dtype=values.dtype), values)


def evaluate(parameters: Parameters, arrays: BatchTensors, settings: ModelSettings) -> Evaluation:
    """Energies, forces and virials, which can be differentiated again.

    The energy is differentiated once, by the pair vectors `r_ij = r_j - r_i`. With `g_ij = dE/dr_ij`,
    `F_i = sum_j (g_ij - g_ji)` and the virial `dE/d(strain)` is `sum_ij r_ij g_ij`.
    """
    energies, gradients = _rows(parameters, arrays.environments, None, settings, with_bias=False)
    return _assemble(energies, gradients, arrays)


def evaluate_with_uncertainty(
    parameters: Parameters,
    arrays: BatchTensors,
    posterior: tf.Tensor | None,
    settings: ModelSettings,
    with_bias: bool = False,
) -> tuple[Evaluation, tuple[tf.Tensor, tf.Tensor] | None, Evaluation | None]:
    """`evaluate` for use, and how sure it is.

    Many atoms are worked through in blocks, whose intermediate results stay in the cache.

    Parameters
    ----------
    posterior
        `P` of an `ErrorModel`, or None.
    with_bias
        Whether to give as well, if there is a posterior, the energy `-sum_i |P phi_i|`, its forces and virials, which
        pull to where the potential knows least.

    Returns
    -------
    tuple
        An `Evaluation`; the square root of the posterior variance of each atom [A] and of their sum in each structure
        [S], which means something if all have as many atoms, or None without a posterior; the `Evaluation` that
        pulls, or None.
    """
    with_bias = with_bias and posterior is not None
    n_results = 2 if posterior is None else 4 + with_bias
    n_sums = 1 if posterior is None else arrays.volumes.shape[0]
    energies, gradients, *more = _in_blocks(
        lambda environments: _rows(parameters, environments, posterior, settings, with_bias, n_sums),
        arrays.environments,
        n_results,
        n_sums,
    )
    evaluation = _assemble(energies, gradients, arrays)
    if posterior is None:
        return evaluation, None, None
    deviations, mapped, *negative_sum = more
    bias = _assemble(-deviations, negative_sum[0], arrays) if with_bias else None
    sums = tf.reduce_sum(tf.reshape(mapped, (-1, n_sums, mapped.shape[1])), axis=0)  # over blocks
    return evaluation, (deviations, norm(sums)), bias


def _rows(
    parameters: Parameters,
    environments: Environments,
    posterior: tf.Tensor | None,
    settings: ModelSettings,
    with_bias: bool,
    n_sums: int = 1,
) -> list[tf.Tensor]:
    """Energies and their gradients; with a posterior `|P phi_i|`, sums of `P phi_i`, and gradients of the former.

    Each of the sums is over as many atoms in a row.
    """
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(environments.pairs)
        network = atomic_network(parameters, environments, settings)
        energies = _energies(parameters, environments, network, settings)
        total = tf.reduce_sum(energies)
        if posterior is not None:
            is_atom = tf.cast(environments.species >= 0, energies.dtype)
            mapped = posterior_features(network, is_atom, posterior)
            deviations = norm(mapped)
            negative_sum = -tf.reduce_sum(deviations)
    rows = [energies, tape.gradient(total, environments.pairs)]
    if posterior is not None:
        in_rows = tf.reshape(mapped, (n_sums, -1, mapped.shape[1]))
        rows += [deviations, tf.reduce_sum(in_rows, axis=1)]
    if with_bias:
        rows.append(tape.gradient(negative_sum, environments.pairs))
    return rows


def _in_blocks(
    function: Callable[[Environments], list[tf.Tensor]],
    environments: Environments,
    n_results: int,
    n_sums: int,
) -> list[tf.Tensor]:
    """The same as `function(environments)`, joined from blocks of atoms if there are many, and one sum over all."""
    n_blocks = _n_blocks(environments.species.shape[0])
    if n_blocks == 1 or n_sums > 1:
        return function(environments)
    blocks = [tf.reshape(rows, (n_blocks, -1, *rows.shape[1:])) for rows in environments]
    kinds = [environments.pairs.dtype] * n_results
    found = tf.map_fn(lambda block: function(Environments(*block)), blocks, fn_output_signature=kinds)
    return [tf.reshape(rows, (-1, *rows.shape[2:])) for rows in found]


def _n_blocks(n_atoms: int) -> int:
    """A power of two, as the sizes of buckets are divisible by: blocks of `BLOCK` to twice as many atoms."""
    n_blocks = 1 << max(0, n_atoms.bit_length() - BLOCK.bit_length())
    return n_blocks if n_atoms >= MANY_ATOMS and n_atoms % n_blocks == 0 else 1


def _assemble(energies: tf.Tensor, gradients: tf.Tensor, arrays: BatchTensors) -> Evaluation:
    """Forces and virials from the gradients by pair vectors [A, K, 3]."""
    forces = tf.reduce_sum(gradients - _seen_from_neighbour(gradients, arrays.reverse), axis=1)
    per_atom = tf.matmul(arrays.pairs, gradients, transpose_a=True)  # [A, 3, 3]
    virials = tf.math.unsorted_segment_sum(per_atom, arrays.structure, arrays.volumes.shape[0])
    return Evaluation(energies, forces, virials)


@cache
def compiled_evaluate(settings: ModelSettings, shape: BatchShape) -> Any:
    """Energies, forces and virials, compiled for an architecture and one shape of batch."""

    @Compiled
    def run(parameters: Parameters, arrays: BatchTensors) -> Evaluation:
        return evaluate_with_uncertainty(parameters, arrays, None, settings)[0]

    return run


@cache
def compiled_step(settings: ModelSettings, shape: tuple[int, int, int], with_bias: bool = False) -> Any:
    """`evaluate_with_uncertainty`, compiled for S moving structures of A atoms with K neighbours each.

    Pair vectors are made from positions, in float64.

    The compiled function takes parameters, species [S, A], reverse [S, A, K] (each structure counted from zero),
    positions [S, A, 3], the shifts [S, A, K, 3] that periodic images add to them (Å, float64; long enough to reach
    past the cutoff for padding), covalent radii (Å, [S, A]), and the posterior of an `ErrorModel` or None. It returns
    the smallest distance in each structure in units of the sum of two radii [S], and what `evaluate_with_uncertainty`
    does.
    """
    n_structures, n_atoms, width = shape

    @Compiled
    def run(
        parameters: Parameters,
        species: tf.Tensor,
        reverse: tf.Tensor,
        positions: tf.Tensor,
        shifts: tf.Tensor,
        radii: tf.Tensor,
        posterior: tf.Tensor | None,
    ) -> tuple[tf.Tensor, Evaluation, tuple[tf.Tensor, tf.Tensor] | None, Evaluation | None]:
        starts = tf.range(n_structures)[:, None, None] * (n_atoms * width)
        reverse = tf.reshape(reverse + starts, (-1, width))
        species, positions, shifts, radii = (
            tf.reshape(each, (-1, *each.shape[2:])) for each in (species, positions, shifts, radii)
        )
        neighbour = reverse // width
        pairs = tf.gather(positions, neighbour) - positions[:, None] + shifts
        touching = radii[:, None] + tf.gather(radii, neighbour)
        distances = tf.reshape(tf.norm(pairs, axis=-1) / touching, (n_structures, -1))
        structure = tf.repeat(tf.range(n_structures), n_atoms)
        volumes = tf.zeros(n_structures, settings.dtype)
        arrays = BatchTensors(species, structure, tf.cast(pairs, settings.dtype), reverse, volumes)
        found = evaluate_with_uncertainty(parameters, arrays, posterior, settings, with_bias)
        return tf.reduce_min(distances, axis=1), *found

    return run


@tf.custom_gradient
def _seen_from_neighbour(per_pair: tf.Tensor, reverse: tf.Tensor) -> Any:
    """Value of each pair as its neighbour has it. Done twice it changes nothing, so it is its own adjoint."""

    def swap(values: tf.Tensor) -> tf.Tensor:
        rows = tf.gather(tf.reshape(values, (-1, 3)), tf.reshape(reverse, [-1]))
        return tf.reshape(rows, values.shape)

    return swap(per_pair), lambda upstream: (swap(upstream), None)
