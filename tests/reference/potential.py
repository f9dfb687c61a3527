"""The Gaussian-moment neural network, slow and obvious: full tensors, loops over atoms, NumPy float64."""

import numpy as np
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list


def gaussian_moments(atoms, i, elements, beta, settings):
    """Psi_L [N_r, 3, ..., 3] of atom i for L = 0 to 3."""
    first, second, vectors = neighbor_list("ijD", atoms, settings.cutoff)
    n_b, r_max, r_min = settings.n_gaussians, settings.cutoff, settings.r_min
    moments = [np.zeros((settings.n_radial,) + (3,) * rank) for rank in range(4)]
    z_i = elements.index(atoms.numbers[i])
    for j, vector in zip(second[first == i], vectors[first == i], strict=True):
        d = np.linalg.norm(vector)
        u = vector / d
        z_j = elements.index(atoms.numbers[j])
        f_c = 0.5 * (np.cos(np.pi * d / r_max) + 1)
        f_c = f_c if settings.envelope == "cosine" else f_c**2
        gamma = n_b**2 / r_max**2
        phi = [
            (2 * gamma / np.pi) ** 0.25 * np.exp(-gamma * (d - (r_min + s * (r_max - r_min) / n_b)) ** 2)
            for s in range(n_b)
        ]
        for channel in range(settings.n_radial):
            coefficients = beta[z_i, channel, z_j * n_b : (z_j + 1) * n_b]
            radial = f_c / np.sqrt(n_b) * sum(c * p for c, p in zip(coefficients, phi, strict=True))
            moments[0][channel] += radial
            moments[1][channel] += radial * u
            moments[2][channel] += radial * np.einsum("i,j->ij", u, u)
            moments[3][channel] += radial * np.einsum("i,j,k->ijk", u, u, u)
    return moments


def invariants(moments):
    """The table of the method, row by row."""
    psi0, psi1, psi2, psi3 = moments
    n = len(psi0)
    pairs = [(r, s) for r in range(n) for s in range(r, n)]
    out = [psi0[r] for r in range(n)]
    out += [np.einsum("i,i", psi1[r], psi1[s]) for r, s in pairs]
    out += [np.einsum("ij,ij", psi2[r], psi2[s]) for r, s in pairs]
    out += [np.einsum("ijk,ijk", psi3[r], psi3[s]) for r, s in pairs]
    out += [
        np.einsum("ij,jk,ik", psi2[r], psi2[s], psi2[t])
        for r in range(n)
        for s in range(r, n)
        for t in range(s, n)
    ]
    out += [np.einsum("i,j,ij", psi1[r], psi1[s], psi2[t]) for r, s in pairs for t in range(n)]
    out += [np.einsum("ijk,ijl,kl", psi3[r], psi3[s], psi2[t]) for r, s in pairs for t in range(n)]
    out += [
        np.einsum("ijk,ij,k", psi3[r], psi2[s], psi1[t]) for r in range(n) for s in range(n) for t in range(n)
    ]
    return np.array(out)


def inputs(atoms, i, model):
    """What the network gets for atom i."""
    moments = gaussian_moments(atoms, i, model.elements, model.parameters["beta"], model.settings)
    return model.inputs.scale * (invariants(moments) - model.inputs.mean)


def network(x, parameters):
    """Output, inputs and sums of every layer."""
    inputs, sums = [], []
    for layer in range(1, 1 + sum(name.startswith("W") for name in parameters)):
        weights = parameters[f"W{layer}"]
        z = 0.1 * parameters[f"b{layer}"] + x @ weights / np.sqrt(len(weights))
        inputs.append(x)
        sums.append(z)
        x = 1.6765 * z / (1 + np.exp(-z))
    return sums[-1][0], inputs, sums


def zbl(d, z_i, z_j, cutoff):
    """Screened repulsion of two nuclei, switched off; eV."""
    x = d / (0.46850 / (z_i**0.23 + z_j**0.23))
    phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
    phi += 0.28022 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.20162 * x)
    outer = min(0.7 * (covalent_radii[z_i] + covalent_radii[z_j]), cutoff)
    inner = outer / 2
    t = (d - inner) / (outer - inner)
    on = 1 if t < 0 else 0 if t > 1 else 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
    return 14.39964535 * z_i * z_j / d * phi * on


def repulsion(atoms, cutoff):
    """Every pair twice, each time half."""
    z = atoms.numbers
    pairs = zip(*neighbor_list("ijd", atoms, cutoff), strict=True)
    return sum(zbl(d, z[i], z[j], cutoff) / 2 for i, j, d in pairs)


def energy(atoms, model):
    """Total energy, eV."""
    p = model.parameters
    total = repulsion(atoms, model.settings.cutoff) if model.settings.repulsion else 0.0
    for i, number in enumerate(atoms.numbers):
        z = model.elements.index(number)
        y = network(inputs(atoms, i, model), p)[0]
        total += model.energy_scale * (p["scale"][z] * y + p["shift"][z]) + model.atomic_energies[z]
    return total
