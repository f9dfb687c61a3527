"""Kernel transformations of the paper in kernel space, where the package works with features."""

import numpy as np


def gp_posterior(points, others, train):
    """k(S, S') - k(S, X) (k(X, X) + σ²)⁻¹ k(X, S') (paper, eq. 21)."""
    noise = np.trace(train.T @ train) / train.size
    covariance = train @ train.T + noise * np.eye(len(train))
    return points @ others.T - points @ train.T @ np.linalg.inv(covariance) @ train @ others.T


def mean_kernel(members):
    return np.mean([features @ features.T for features in members], axis=0)


def absolute_error_forces(reference, forces):
    errors = []
    for exact, predicted in zip(reference, forces, strict=True):
        total = 0.0
        for i in range(len(exact)):
            for j in range(3):
                total += abs(exact[i][j] - predicted[i][j])
        errors.append(total / (3 * len(exact)))
    return errors


def query_by_committee_forces(structures):
    spreads = []
    for forces in structures:
        n_models, n_atoms, _ = forces.shape
        total = 0.0
        for i in range(n_models):
            for j in range(n_atoms):
                deviation = forces[i, j] - sum(forces[k, j] for k in range(n_models)) / n_models
                total += deviation @ deviation / (3 * n_atoms)
        spreads.append((total / n_models) ** 0.5)
    return spreads
