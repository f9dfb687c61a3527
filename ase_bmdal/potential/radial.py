"""Radial part of the descriptor: cutoff function, Gaussians, species-dependent mixing."""

import math

import tensorflow as tf

from ase_bmdal.potential.settings import ModelSettings


def cutoff_function(distances: tf.Tensor, settings: ModelSettings) -> tf.Tensor:
    """Cosine cutoff `f_c(d) = (cos(pi d / r_max) + 1) / 2`, zero from `r_max` on, or its square.

    Parameters
    ----------
    distances
        Å, any shape.
    settings
        Cutoff and envelope.
    """
    cutoff = settings.cutoff
    cosine = tf.where(distances < cutoff, 0.5 * (tf.cos(math.pi / cutoff * distances) + 1.0), 0.0)
    return cosine if settings.envelope == "cosine" else cosine * cosine


def radial_basis(distances: tf.Tensor, settings: ModelSettings) -> tf.Tensor:
    """`f_c(d) N_b^(-1/2) Phi_s(d)` with Gaussians on equidistant centres.

    Parameters
    ----------
    distances
        Å, [A, K].
    settings
        Cutoff, envelope, first centre and number of Gaussians.

    Returns
    -------
    Tensor
        [A, K, N_b].

    References
    ----------
    Zaverkin and Kästner, J. Chem. Theory Comput. 2020, 16, 5410; method, section 1.
    """
    n = settings.n_gaussians
    spacing = (settings.cutoff - settings.r_min) / n
    centres = settings.r_min + spacing * tf.range(n, dtype=distances.dtype)
    gamma = (n / settings.cutoff) ** 2
    gaussians = (2 * gamma / math.pi) ** 0.25 * tf.exp(-gamma * (distances[..., None] - centres) ** 2)
    return n**-0.5 * cutoff_function(distances, settings)[..., None] * gaussians


def by_species(basis: tf.Tensor, neighbour_species: tf.Tensor, n_species: int) -> tf.Tensor:
    """Give the neighbours of each species columns of their own.

    Parameters
    ----------
    basis
        [A, K, N_b].
    neighbour_species
        Place in the list of elements, -1 for padding, [A, K].
    n_species
        Length of that list.

    Returns
    -------
    Tensor
        [A, K, n_species · N_b], species outermost.
    """
    if n_species == 1:
        return basis
    one_hot = tf.one_hot(neighbour_species, n_species, dtype=basis.dtype)
    split = one_hot[..., :, None] * basis[..., None, :]
    return tf.reshape(split, (*basis.shape[:2], n_species * basis.shape[2]))


def mix(moments: tf.Tensor, beta: tf.Tensor, species: tf.Tensor) -> tf.Tensor:
    """Apply the coefficients `beta` of each atom's species to its moments.

    Mixing commutes with the sum over neighbours, so it is done per atom and never per pair.

    Parameters
    ----------
    moments
        Moments of the plain Gaussians, [A, n_species · N_b, m].
    beta
        [n_species, N_r, n_species · N_b].
    species
        Species of the atoms, -1 for padding, [A].

    Returns
    -------
    Tensor
        [A, N_r, m].
    """
    n_species, n_radial, n_columns = beta.shape
    one_hot = tf.one_hot(species, n_species, dtype=beta.dtype)
    per_atom = tf.reshape(one_hot @ tf.reshape(beta, (n_species, -1)), (-1, n_radial, n_columns))
    return per_atom @ moments
