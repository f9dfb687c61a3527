"""Whether a calculator is a function of the structure alone, as a baseline has to be."""

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from ase_bmdal.baseline.baseline import Baseline, difference
from ase_bmdal.common.randomness import stream
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.moved import displaced, turned

FAR_ENOUGH = 0.05  # Å: standard deviation of a displacement after which the last result is of no use


def check_baseline(baseline: Baseline, atoms: Atoms, *, needs_stress: bool) -> None:
    """Compute a structure and what is the same: once more, with its atoms in another order, and turned.

    Parameters
    ----------
    baseline
        What is checked.
    atoms
        A structure.
    needs_stress
        Whether a fully periodic structure needs a stress.

    Raises
    ------
    BaselineError
        If it fails for the structure.
    ValueError
        If one of the results is another, or the stress is missing.
    """
    rng = stream(0, "check of the baseline")
    expected = baseline.label(atoms)
    if needs_stress and atoms.pbc.all() and expected.stress is None:
        raise ValueError(
            "baseline: expected a stress for a periodic cell, got none; use a method that has one, or "
            "LabellingSettings(stress=False)"
        )
    baseline.label(displaced(atoms, FAR_ENOUGH * rng.standard_normal(atoms.positions.shape)))
    order = rng.permutation(len(atoms))
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    permuted, rotated = baseline.label(atoms[order]), baseline.label(turned(atoms, turn))
    results = {
        "after another structure": baseline.label(atoms),
        "with its atoms in another order": _reordered(permuted, np.argsort(order)),
        "when it is turned": _turned(rotated, turn),
    }
    for what, found in results.items():
        if different := difference(expected, found):
            raise ValueError(
                f"baseline: expected the same result for the same structure {what}, but {different}"
            )


def _reordered(label: Label, order: np.ndarray) -> Label:
    return Label(label.energy, None if label.forces is None else label.forces[order])


def _turned(label: Label, turn: np.ndarray) -> Label:
    return Label(label.energy, None if label.forces is None else label.forces @ turn)
