"""What the labels of a run say of the errors to come."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.acquisition.calibration import adapted_factor, conformal_factor, coverage, ratios
from ase_bmdal.acquisition.trust import Trust
from ase_bmdal.common.randomness import stream
from ase_bmdal.features.inputs import second_moments
from ase_bmdal.kernels.principal import principal_posterior
from ase_bmdal.labelling.store import StoredLabel
from ase_bmdal.potential.gmnn import GMNN, Potential
from ase_bmdal.potential.moving import MovingStructure
from ase_bmdal.potential.uncertainty import Raw, Uncertainty
from ase_bmdal.structures.labels import Label

RECENT = (
    20  # labels that bounds are made of, or those of two rounds: potentials long gone say little of this one
)
RAW = "inputs"  # what the raw uncertainty of a single network is made of
POWER = 1.5  # errors grow faster than the distance from what is known


def predictions(model: Potential, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
    """What a potential says of structures, with its uncertainty, as the label store keeps it."""
    moving = MovingStructure(varied=len(set(map(len, structures))) > 1)
    found = [moving.predict(model, atoms) for atoms in structures]
    kind = {"n_models": len(model.members), "raw": RAW}
    return [as_data(each.label, each.raw, model.uncertainty) | kind for each in found]


def comparable(rows: Sequence[StoredLabel], n_models: int) -> list[StoredLabel]:
    """Labels whose raw uncertainty, if any, is of the same kind: others have other units."""

    def is_same(prediction: Mapping[str, Any]) -> bool:
        if "raw_forces" not in prediction:
            return True
        return prediction.get("n_models", n_models) == n_models and (
            n_models > 1 or prediction.get("raw") == RAW
        )

    return [row for row in rows if is_same(row.prediction)]


def as_data(label: Label, raw: Raw, uncertainty: Uncertainty | None) -> dict[str, Any]:
    """A prediction as the label store keeps it, with its raw uncertainty and, if they are known, its bounds."""
    data = label.values
    if np.isfinite(raw.energy):
        data |= {"raw_forces": raw.atoms, "raw_energy": raw.energy}
    if uncertainty and uncertainty.is_calibrated:
        data |= {"forces_uncertainty": uncertainty.force_bounds(raw)}
    return data


def rehearsal(rows: Sequence[StoredLabel]) -> tuple[list[StoredLabel], list[StoredLabel]]:
    """Part the first labels of a run into those to learn from and those to find out how wrong the forces are.

    Parameters
    ----------
    rows
        Labels.

    Returns
    -------
    tuple
        Labels to train on, and every second label, but not more than 20, evenly spread; without those that hold an
        element which the others do not. No labels if there are predictions already, or one has no forces.
    """
    if any(row.prediction for row in rows) or not all("forces" in row.atoms.calc.results for row in rows):
        return [], []
    n_unseen = min(len(rows) // 2, RECENT)
    chosen = {(k + 1) * len(rows) // n_unseen - 1 for k in range(n_unseen)}
    known = [row for index, row in enumerate(rows) if index not in chosen]
    elements = {z for row in known for z in row.atoms.numbers}
    unseen = [rows[index] for index in sorted(chosen) if elements.issuperset(rows[index].atoms.numbers)]
    return known, unseen


def fit_uncertainty(model: Potential, rows: Sequence[StoredLabel], trust: Trust) -> Uncertainty:
    """Posterior of the labels a potential was trained on, and factors from the errors before training on them.

    Parameters
    ----------
    model
        Trained on all of the labels.
    rows
        Labels, oldest first.
    trust
        ``probability`` is used.
    """
    posterior, power = None, 1.0
    if isinstance(model, GMNN):
        moments = second_moments(model, [row.atoms for row in rows])
        matrix = principal_posterior(*moments, stream(0, "posterior"))
        posterior, power = matrix.astype(model.settings.dtype), POWER
    known = comparable(rows, len(model.members))
    energies = [ratios(_energy_error(row), row.prediction["raw_energy"]) for row in _recent(known)]
    return Uncertainty(
        posterior,
        calibrated(known, trust.probability, power)[0],
        conformal_factor(energies, trust.probability),
        trust.probability,
        power,
    )


def calibrated(
    rows: Sequence[StoredLabel], probability: float, power: float = 1.0
) -> tuple[float, dict[int, float]]:
    """Factor of the bounds on the errors to come, and how bounds of that probability did so far.

    The structures of first contact are disturbed more than any simulation does: they count until there are ten others.

    Parameters
    ----------
    rows
        Labels, oldest first.
    probability
        With which the bounds shall hold.
    power
        Of the raw number that bounds grow with.

    Returns
    -------
    tuple
        The factor, infinite if there are too few errors; and by round the part of the atoms whose force error was
        within the bound that the rounds before it gave.
    """
    factor, covered = np.inf, dict[int, float]()
    before: list[StoredLabel] = []
    for number, of_round in _predicted(rows).items():
        found = _force_ratios(of_round, power)
        if np.isfinite(factor):
            covered[number] = coverage(found, factor)
        before += of_round
        own = _recent([row for row in before if row.is_test])
        enough = len(own) >= RECENT // 2 and np.isfinite(
            conformal_factor(_force_ratios(own, power), probability)
        )
        recent = own if enough else _recent(before)
        factor = adapted_factor(_force_ratios(recent, power), probability, covered.values(), len(recent))
    return factor, covered


def _recent(rows: Sequence[StoredLabel]) -> list[StoredLabel]:
    """Labels that hold a raw uncertainty, of the last two rounds, 20 at least."""
    by_round = _predicted(rows)
    n_last = sum(len(by_round[number]) for number in list(by_round)[-2:])
    return [row for of_round in by_round.values() for row in of_round][-max(RECENT, n_last) :]


def _force_ratios(rows: Sequence[StoredLabel], power: float) -> NDArray[np.float64]:
    found = [ratios(force_errors(row), np.asarray(row.prediction["raw_forces"]) ** power) for row in rows]
    return np.concatenate(found) if found else np.empty(0)


def own_tolerance(
    rows: Sequence[StoredLabel], uncertainty: Uncertainty, trust: Trust, small_error: float
) -> float | None:
    """Twice the largest bound on the labels of the last round, as it was before training on them, eV/Å.

    After first contact the median of its structures counts: the most disturbed may be one that no simulation visits.
    It is not more than the largest force in those labels: a potential that may be wrong by that knows nothing,
    however usual its ignorance.

    A simulation that heats up or leaves a minimum meets a little more than it knows at every step, which is what the
    pool is for. What is twice as unknown as the most unusual frame of the last round cannot wait for it.

    Parameters
    ----------
    rows
        Labels.
    uncertainty
        The present bounds.
    trust
        How large it may be; twice is `Trust.novel`.
    small_error
        Mean error that is small enough, eV/Å; a tolerance is at least some times that.
    """
    by_round = _predicted(rows)
    if not by_round or not uncertainty.is_calibrated:
        return None
    last = by_round[max(by_round)]
    each = [
        uncertainty.force_factor * float(np.max(row.prediction["raw_forces"])) ** uncertainty.power
        for row in last
    ]
    largest = max(each) if last[0].is_test else float(np.median(each))
    strongest = max(np.linalg.norm(row.atoms.get_forces(), axis=1).max() for row in last)
    return float(max(min(trust.novel * largest, trust.ceiling * strongest), trust.floor * small_error))


def observed_coverage(rows: Sequence[StoredLabel]) -> float | None:
    """Part of the atoms whose force error was within the bound that was given before; None if none was."""
    known = [row for row in rows if row.status == "done" and "forces_uncertainty" in row.prediction]
    if not known:
        return None
    errors = np.concatenate([force_errors(row) for row in known])
    return coverage(errors, np.concatenate([row.prediction["forces_uncertainty"] for row in known]))


def largest_bound(rows: Sequence[StoredLabel]) -> float | None:
    """Largest bound on a force error that was given for these labels before training on them, eV/Å."""
    known = [
        np.max(row.prediction["forces_uncertainty"]) for row in rows if "forces_uncertainty" in row.prediction
    ]
    return float(max(known)) if known else None


def force_errors(row: StoredLabel) -> NDArray[np.float64]:
    """Norm of the force error of each atom before training, eV/Å, [n_atoms]."""
    found: NDArray[np.float64] = np.linalg.norm(
        np.asarray(row.prediction["forces"]) - row.atoms.get_forces(), axis=1
    )
    return found


def _predicted(rows: Sequence[StoredLabel]) -> dict[int, list[StoredLabel]]:
    """Rows that hold a raw uncertainty, by round, oldest first."""
    known = [row for row in rows if "raw_forces" in row.prediction]
    numbers = sorted({row.round for row in known})
    return {number: [row for row in known if row.round == number] for number in numbers}


def _energy_error(row: StoredLabel) -> float:
    return abs(float(row.prediction["energy"] - row.atoms.get_potential_energy()))
