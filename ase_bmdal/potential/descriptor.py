"""Gaussian moments and their rotational invariants.

The tensors `u⊗u` and `u⊗u⊗u` are symmetric. Only their 6 and 10 different components are kept, in the order of
`SYMMETRIC`.
"""

from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ase_bmdal.potential.radial import by_species, mix, radial_basis
from ase_bmdal.potential.settings import ModelSettings

SYMMETRIC = {rank: list(combinations_with_replacement(range(3), rank)) for rank in range(4)}
TIMES = np.array([1 if i == j else 2 for i, j in SYMMETRIC[2]])  # that each stands in the full matrix


def gaussian_moments(
    beta: tf.Tensor,
    species: tf.Tensor,
    neighbour_species: tf.Tensor,
    pairs: tf.Tensor,
    settings: ModelSettings,
) -> tf.Tensor:
    """Moments `Psi_{i,L,s} = sum_j R_{Zi,Zj,s}(d) u^(⊗L)` (paper, eq. 2), L = 0 to 3.

    Parameters
    ----------
    beta
        Radial coefficients, [n_species, N_r, n_species · N_b].
    species, neighbour_species
        Of each atom and of its neighbours, -1 for padding, [A] and [A, K].
    pairs
        Pair vectors, Å, [A, K, 3].
    settings
        Architecture.

    Returns
    -------
    Tensor
        [A, N_r, 1 + 3 + 6 + 10].
    """
    distances = tf.sqrt(tf.reduce_sum(pairs * pairs, axis=-1))
    basis = radial_basis(distances, settings)
    columns = by_species(basis, neighbour_species, beta.shape[0])  # [A, K, n_species · N_b]
    moments = tf.matmul(columns, _monomials(pairs / distances[..., None]), transpose_a=True)
    return mix(moments, beta, species)


def invariants(moments: tf.Tensor) -> tf.Tensor:
    """All contractions of up to three moments to scalars (method, section 1, table).

    Atoms stand in the last axis meanwhile: each contraction is then an elementwise product and a sum, which the
    compiler fuses and vectorises over atoms.

    Parameters
    ----------
    moments
        [A, N_r, 20].

    Returns
    -------
    Tensor
        [A, n_invariants]; 360 for N_r = 5.

    References
    ----------
    Zaverkin and Kästner, J. Chem. Theory Comput. 2020, 16, 5410.
    """
    first, second, triple = _channels(moments.shape[1])
    psi = tf.gather(tf.transpose(moments, (1, 2, 0)), _COMPONENTS, axis=1)
    one, r, s = (_by_rank(of) for of in (psi, tf.gather(psi, first), tf.gather(psi, second)))
    times = tf.constant(TIMES[:, None], moments.dtype)

    def contract(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """[L, c, A] and [N_r, c, A] to [L · N_r, A]."""
        return tf.reshape(tf.reduce_sum(left[:, None] * right, axis=2), (-1, left.shape[2]))

    product11 = r.vector[:, :, None] * s.vector[:, None]  # [pairs, i, k, A]
    product22 = tf.reduce_sum(r.matrix[:, :, :, None] * s.matrix[:, None], axis=2)  # [pairs, i, k, A]
    product33 = tf.reduce_sum((times * r.split)[:, :, None] * s.split[:, None], axis=3)  # [pairs, k, l, A]
    product32 = tf.reduce_sum((times * one.split)[:, None] * one.symmetric[:, None], axis=3)  # [r, s, k, A]
    products = tf.reshape(tf.concat([product11, product22, product33], axis=0), (-1, 9, psi.shape[2]))
    matrix = tf.reshape(one.matrix, (-1, 9, psi.shape[2]))
    contracted11, contracted22, contracted33 = tf.split(contract(products, matrix), 3)
    rows = [
        one.scalar,
        tf.reduce_sum(products[:, ::4], axis=1),  # traces
        tf.gather(contracted22, triple),
        contracted11,
        contracted33,
        contract(tf.reshape(product32, (-1, 3, psi.shape[2])), one.vector),
    ]
    return tf.transpose(tf.concat(rows, axis=0))


class _ByRank(NamedTuple):
    """Moments of C channels: `Psi_0` [C, A], `Psi_1` [C, i, A], `Psi_2` of 6 [C, (i j), A] and of all components
    [C, i, j, A], `Psi_3` [C, k, (i j), A] with 6 of (i j).
    """

    scalar: tf.Tensor
    vector: tf.Tensor
    symmetric: tf.Tensor
    matrix: tf.Tensor
    split: tf.Tensor


def _by_rank(psi: tf.Tensor) -> _ByRank:
    """From the components in the order of `_COMPONENTS`, [C, 37, A]."""
    scalar, vector, symmetric, matrix, split = tf.split(psi, [1, 3, 6, 9, 18], axis=1)
    n = psi.shape[0]
    return _ByRank(
        scalar[:, 0], vector, symmetric, tf.reshape(matrix, (n, 3, 3, -1)), tf.reshape(split, (n, 3, 6, -1))
    )


def _monomials(unit: tf.Tensor) -> tf.Tensor:
    """Components of `u^(⊗L)`, L = 0 to 3: [A, K, 3] to [A, K, 20]."""
    axes = tf.unstack(unit, axis=-1)
    second = {(i, j): axes[i] * axes[j] for i, j in SYMMETRIC[2]}
    third = [second[i, j] * axes[k] for i, j, k in SYMMETRIC[3]]
    return tf.stack([tf.ones_like(axes[0]), *axes, *second.values(), *third], axis=-1)


@cache
def _channels(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Channels r and s of each pair r <= s, and where each triple r <= s <= t stands among pairs · n."""
    pairs = list(combinations_with_replacement(range(n), 2))
    first, second = np.array(pairs).T
    triples = combinations_with_replacement(range(n), 3)
    return first, second, np.array([pairs.index((r, s)) * n + t for r, s, t in triples])


def _place(*component: int) -> int:
    """Where a component of a moment stands among the 20."""
    rank = len(component)
    return sum(len(SYMMETRIC[lower]) for lower in range(rank)) + SYMMETRIC[rank].index(
        tuple(sorted(component))
    )


_COMPONENTS = np.array(
    [
        *(_place(*component) for rank in range(3) for component in SYMMETRIC[rank]),
        *(_place(i, j) for i in range(3) for j in range(3)),
        *(_place(i, j, k) for k in range(3) for i, j in SYMMETRIC[2]),
    ]
)
