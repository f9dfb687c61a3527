"""Gaussian moments and their rotational invariants.

The tensors `u⊗u` and `u⊗u⊗u` are symmetric. Only their 6 and 10 different components are kept, in the order of
`SYMMETRIC`, each with the number of times it stands in the full tensor, `MULTIPLICITY`.
"""

from collections import Counter
from functools import cache
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
    n = moments.shape[1]
    first, second, triple = _channels(n)
    weight2, weight3 = (tf.constant(MULTIPLICITY[rank][:, None], moments.dtype) for rank in (2, 3))
    psi = tf.transpose(moments, (1, 2, 0))  # [N_r, 20, A]
    psi0, psi1, psi2, psi3 = psi[:, 0], psi[:, 1:4], psi[:, 4:10], psi[:, 10:20]
    full2 = tf.gather(psi2, _FULL2, axis=1)  # [N_r, (i j), A]
    square2 = tf.reshape(full2, (n, 3, 3, -1))
    split3 = tf.reshape(tf.gather(psi3, _SPLIT3, axis=1), (n, 3, 6, -1))  # [N_r, k, (i j), A], 6 of (i j)

    def pairs(left: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Channels r and s of every pair r <= s."""
        return tf.gather(left, first), tf.gather(right, second)

    def square(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        r, s = pairs(left, right)
        return tf.reduce_sum(r * s, axis=1)

    def contract(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """[L, c, A] and [N_r, c, A] to [L · N_r, A]."""
        return tf.reshape(tf.reduce_sum(left[:, None] * right, axis=2), (left.shape[0] * n, -1))

    r, s = pairs(square2, square2)
    product22 = tf.reduce_sum(r[:, :, :, None] * s[:, None], axis=2)  # [pairs, i, k, A]
    r, s = pairs(split3 * weight2, split3)
    product33 = tf.reduce_sum(r[:, :, None] * s[:, None], axis=3)  # [pairs, k, l, A]
    product32 = tf.reduce_sum((split3 * weight2)[:, None] * psi2[:, None], axis=3)  # [r, s, k, A]
    rows = [
        psi0,
        square(psi1, psi1),
        square(psi2 * weight2, psi2),
        square(psi3 * weight3, psi3),
        tf.gather(contract(tf.reshape(product22, (len(first), 9, -1)), full2), triple),
        contract(_symmetric_outer(*pairs(psi1, psi1)) * weight2, psi2),
        contract(tf.reshape(product33, (len(first), 9, -1)), full2),
        contract(tf.reshape(product32, (n * n, 3, -1)), psi1),
    ]
    return tf.transpose(tf.concat(rows, axis=0))


def _monomials(unit: tf.Tensor) -> tf.Tensor:
    """Components of `u^(⊗L)`, L = 0 to 3: [A, K, 3] to [A, K, 20]."""
    axes = [unit[..., axis] for axis in range(3)]
    one = tf.ones_like(axes[0])
    components = [c for rank in range(4) for c in SYMMETRIC[rank]]
    return tf.stack([prod((axes[axis] for axis in c), start=one) for c in components], axis=-1)


def _symmetric_outer(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Symmetric part of `a⊗b`, its 6 components: [pairs, 3, A] twice to [pairs, 6, A]."""
    i, j = np.array(SYMMETRIC[2]).T
    a_i, a_j, b_i, b_j = (tf.gather(*which, axis=1) for which in ((a, i), (a, j), (b, i), (b, j)))
    return 0.5 * (a_i * b_j + a_j * b_i)


@cache
def _channels(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Channels r and s of each pair r <= s, and where each triple r <= s <= t stands among pairs · n."""
    pairs = list(combinations_with_replacement(range(n), 2))
    first, second = np.array(pairs).T
    triples = combinations_with_replacement(range(n), 3)
    return first, second, np.array([pairs.index((r, s)) * n + t for r, s, t in triples])


def _place(*component: int) -> int:
    return SYMMETRIC[len(component)].index(tuple(sorted(component)))


_FULL2 = np.array([_place(i, j) for i in range(3) for j in range(3)])
_SPLIT3 = np.array([_place(i, j, k) for k in range(3) for i, j in SYMMETRIC[2]])
