"""What is measured of a potential on labelled structures: errors and their tail, curvature, bounds, weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from curvature import Curvature
from results import Record

from ase_bmdal import UncertaintyLimits
from ase_bmdal.common.deviation import Deviation
from ase_bmdal.run.store import Entry
from ase_bmdal.structures.labels import Label
from ase_bmdal.uncertainty.calibrate import fit_error_model, predictions
from ase_bmdal.uncertainty.conformal import conformal_factor, coverage, ratios
from ase_bmdal.uncertainty.error_model import ErrorModel

PROBABILITY = 0.95
TAIL = 0.01  # part of the errors that are the largest ones


def errors(predicted: Sequence[Label], structures: Sequence[Atoms]) -> Record:
    """Errors of energies in meV, of force components in meV/Å; the largest ones in eV/Å.

    ``energy_shifted_mae`` has the mean error taken off, as a profile along a torsion is compared.
    ``largest_median`` is the median over structures of the largest error of a component.
    """
    sizes = np.array([len(atoms) for atoms in structures])
    energy = 1e3 * np.array(
        [
            label.energy - atoms.get_potential_energy()
            for label, atoms in zip(predicted, structures, strict=True)
        ]
    )
    each = [label.forces - atoms.get_forces() for label, atoms in zip(predicted, structures, strict=True)]
    components = np.abs(np.concatenate([error.ravel() for error in each]))
    largest = np.array([np.abs(error).max() for error in each])
    energies, forces = Deviation.of(energy), Deviation.of(components)
    found = {
        "energy_mae": energies.mae,
        "energy_rmse": energies.rmse,
        "energy_rmse_per_atom": Deviation.of(energy / sizes).rmse,
        "energy_shifted_mae": Deviation.of(energy - energy.mean()).mae,
        "force_mae": 1e3 * forces.mae,
        "force_rmse": 1e3 * forces.rmse,
        "force_p999": np.quantile(components, 0.999),
        "force_largest": components.max(),
        "force_largest_norm": max(np.linalg.norm(error, axis=1).max() for error in each),
        "force_largest_median": np.median(largest),
    }
    return {"structures": len(structures)} | _rounded(found)


def curvature_errors(model: Any, pairs: Sequence[Curvature]) -> Record:
    """Second derivatives of the energy along directions: RMS error relative to the RMS of the reference.

    Nothing for sets without a reference.
    """
    if not pairs:
        return {}
    ends = [atoms for pair in pairs for atoms in (pair.before, pair.after)]
    forces = [label.forces for label in model.predict(ends)]
    ours = np.array([pair.of(*forces[2 * k : 2 * k + 2]) for k, pair in enumerate(pairs)])
    theirs = np.array([pair.reference for pair in pairs])
    kinds = sorted({pair.kind for pair in pairs})
    found = {}
    for kind in kinds:
        of_kind = np.array([pair.kind == kind for pair in pairs])
        found[kind] = _rms((ours - theirs)[of_kind]) / _rms(theirs[of_kind])
    return _rounded(found)


def bounds(model: Any, train: Sequence[Atoms], held_out: Sequence[Atoms], tests: dict[str, Any]) -> Record:
    """Bounds made of the errors on held-out structures, and how they hold on others.

    Parameters
    ----------
    model
        A potential.
    train
        What it was trained on.
    held_out
        What the bounds are made of.
    tests
        Structures by name.
    """
    rows = [
        Entry(id=k, atoms=atoms, status="done", round=0, source="initial", prediction={})
        for k, atoms in enumerate(train)
    ]
    fitted = fit_error_model(model, rows, UncertaintyLimits(probability=PROBABILITY))
    unscaled = replace(fitted, force_factor=1.0)
    factor = conformal_factor(ratios(*_errors_and_bounds(model, unscaled, held_out)), PROBABILITY)
    found = {name: _errors_and_bounds(model, unscaled, structures) for name, structures in tests.items()}
    return {name: held(error, factor * bound) for name, (error, bound) in found.items()}


def held(error: np.ndarray, bound: np.ndarray) -> Record:
    """How bounds hold: on all errors, and on the largest of them."""
    worst = error >= np.quantile(error, 1 - TAIL)
    return _rounded(
        {
            "coverage": coverage(error, bound),
            "coverage_largest": coverage(error[worst], bound[worst]),
            "sharpness": bound.mean() / error.mean(),
            "mean_error": error.mean(),
            "spearman": float(np.corrcoef(_ranks(error), _ranks(bound))[0, 1]),
        }
    )


def _errors_and_bounds(
    model: Any, error_model: ErrorModel, structures: Sequence[Atoms]
) -> tuple[np.ndarray, np.ndarray]:
    found = predictions(model, error_model, structures)
    error = [
        np.linalg.norm(said["forces"] - atoms.get_forces(), axis=1)
        for said, atoms in zip(found, structures, strict=True)
    ]
    return np.concatenate(error), np.concatenate([said["forces_uncertainty"] for said in found])


def weights(model: Any) -> Record:
    """RMS and largest entry of each group of parameters of the first network."""
    return {
        name: _rounded({"rms": _rms(value), "largest": np.abs(value).max()})
        for name, value in model.members[0].parameters.items()
    } | {"energy_scale": model.members[0].energy_scale}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values))


def _rounded(found: dict[str, Any]) -> Record:
    return {name: float(f"{float(value):.4g}") for name, value in found.items()}
