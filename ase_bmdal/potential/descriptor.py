"""Gaussian moments and their rotational invariants.

The tensors `u⊗u` and `u⊗u⊗u` are symmetric. Only their 6 and 10 different components are kept, in the order of
`SYMMETRIC`, each with the number of times it stands in the full tensor, `MULTIPLICITY`.
"""

from collections import Counter
from functools import lru_cache
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np
import tensorflow as tf

from ase_bmdal.potential.radial import by_species, mix, radial_basis
from ase_bmdal.potential.settings import ModelSettings

SYMMETRIC = {rank: list(combinations_with_replacement(range(3), rank)) for rank in range(4)}
MULTIPLICITY = {
    rank: np.array([factorial(rank) // prod(map(factorial, Counter(c).values())) for c in components], float)
    for rank, components in SYMMETRIC.items()
}


def gaussian_moments(
    beta: tf.Tensor, pairs: tf.Tensor, species: tf.Tensor, reverse: tf.Tensor, settings: ModelSettings
) -> tf.Tensor:
    """Moments `Psi_{i,L,s} = sum_j R_{Zi,Zj,s}(d) u^(⊗L)` (paper, eq. 2), L = 0 to 3.

    Parameters
    ----------
    beta
        Radial coefficients, [n_species, N_r, n_species · N_b].
    pairs
        Pair vectors, Å, [A, K, 3].
    species
        [A], -1 for padding.
    reverse
        Place of the same pair in the neighbour's row, [A, K].
    settings
        Architecture.

    Returns
    -------
    Tensor
        [A, N_r, 1 + 3 + 6 + 10].
    """
    distances = tf.sqrt(tf.reduce_sum(pairs * pairs, axis=-1))
    basis = radial_basis(distances, settings)
    neighbour_species = tf.gather(species, reverse // pairs.shape[1])
    columns = by_species(basis, neighbour_species, beta.shape[0])  # [A, K, n_species · N_b]
    moments = tf.matmul(columns, _monomials(pairs / distances[..., None]), transpose_a=True)
    return mix(moments, beta, species)


def invariants(moments: tf.Tensor) -> tf.Tensor:
    """All contractions of up to three moments to scalars (method, section 1, table).

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
    n = moments.shape[1]
    first, second, pair, triple = _channel_indices(n)
    weight = {rank: tf.constant(MULTIPLICITY[rank], moments.dtype) for rank in (2, 3)}
    psi0, psi1, psi2, psi3 = moments[..., 0], moments[..., 1:4], moments[..., 4:10], moments[..., 10:20]
    full2 = tf.gather(psi2, _FULL2, axis=2)  # [A, N_r, (i j)], 9
    split3 = tf.reshape(tf.gather(psi3, _SPLIT3, axis=2), (-1, 3 * n, 6))  # [A, (r k), (i j)], k of 3

    def dots(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.matmul(a, b, transpose_b=True)

    def flat(a: tf.Tensor, columns: int) -> tf.Tensor:
        return tf.reshape(a, (-1, columns))

    squares = [dots(psi1, psi1), dots(psi2 * weight[2], psi2), dots(psi3 * weight[3], psi3)]
    matrix = tf.reshape(full2, (-1, n, 3, 3))
    product22 = tf.gather(matrix, first, axis=1) @ tf.gather(matrix, second, axis=1)
    outer11 = _symmetric_outer(tf.gather(psi1, first, axis=1), tf.gather(psi1, second, axis=1)) * weight[2]
    product33 = tf.reshape(dots(split3 * weight[2], split3), (-1, n, 3, n, 3))
    product33 = tf.gather(flat_channels(tf.transpose(product33, (0, 1, 3, 2, 4)), n, 9), pair, axis=1)
    product32 = tf.reshape(dots(split3 * weight[2], psi2), (-1, n, 3, n))
    product32 = flat_channels(tf.transpose(product32, (0, 1, 3, 2)), n, 3)
    n_pairs = len(pair)
    return tf.concat(
        [
            psi0,
            *(tf.gather(flat(square, n * n), pair, axis=1) for square in squares),
            tf.gather(
                flat(dots(tf.reshape(product22, (-1, n_pairs, 9)), full2), n_pairs * n), triple, axis=1
            ),
            flat(dots(outer11, psi2), n_pairs * n),
            flat(dots(product33, full2), n_pairs * n),
            flat(dots(product32, psi1), n**3),
        ],
        axis=1,
    )


def flat_channels(tensor: tf.Tensor, n_radial: int, components: int) -> tf.Tensor:
    """Join two axes of radial channels into one: [A, N_r, N_r, ...] to [A, N_r², components]."""
    return tf.reshape(tensor, (-1, n_radial * n_radial, components))


def _monomials(unit: tf.Tensor) -> tf.Tensor:
    """Components of `u^(⊗L)`, L = 0 to 3: [A, K, 3] to [A, K, 20]."""
    axes = [unit[..., axis] for axis in range(3)]
    one = tf.ones_like(axes[0])
    components = [c for rank in range(4) for c in SYMMETRIC[rank]]
    return tf.stack([prod((axes[axis] for axis in c), start=one) for c in components], axis=-1)


def _symmetric_outer(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Symmetric part of `a⊗b`, its 6 components."""
    i, j = np.array(SYMMETRIC[2]).T
    return 0.5 * (
        tf.gather(a, i, axis=2) * tf.gather(b, j, axis=2) + tf.gather(a, j, axis=2) * tf.gather(b, i, axis=2)
    )


@lru_cache
def _channel_indices(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Channels r and s of each pair r <= s; where (r, s) stands in n², and where (r, s, t) in pairs · n."""
    pairs = list(combinations_with_replacement(range(n), 2))
    first, second = np.array(pairs).T
    triples = combinations_with_replacement(range(n), 3)
    triple = np.array([pairs.index((r, s)) * n + t for r, s, t in triples])
    return first, second, first * n + second, triple


def _place(*component: int) -> int:
    return SYMMETRIC[len(component)].index(tuple(sorted(component)))


_FULL2 = np.array([_place(i, j) for i in range(3) for j in range(3)])
_SPLIT3 = np.array([_place(i, j, k) for k in range(3) for i, j in SYMMETRIC[2]])
