"""What the labels of a run say of the errors to come: the error model of a potential, and its tolerance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.common.randomness import stream
from ase_bmdal.features.inputs import STRUCTURES_AT_ONCE, input_features, second_moments
from ase_bmdal.kernels.principal import principal_posterior
from ase_bmdal.potential.evaluator import Evaluator, Prediction
from ase_bmdal.potential.gmnn import GMNN, Potential
from ase_bmdal.run.store import Entry
from ase_bmdal.uncertainty.conformal import adapted_factor, conformal_factor, coverage, ratios
from ase_bmdal.uncertainty.error_model import ErrorModel
from ase_bmdal.uncertainty.limits import UncertaintyLimits

DEVIATION_OF = "inputs"  # of the network: what the deviation of a single network is that of


def predictions(
    potential: Potential, error_model: ErrorModel | None, structures: Sequence[Atoms]
) -> list[dict[str, Any]]:
    """What a potential says of structures, with its uncertainty and bounds, as the label store keeps it."""
    evaluator = Evaluator(varied=len(set(map(len, structures))) > 1)
    posterior = error_model.posterior if error_model else None
    found = [evaluator.predict(potential, atoms, posterior) for atoms in structures]
    kind = {"n_models": len(potential.members), "raw": DEVIATION_OF}
    return [as_data(each, error_model) | kind for each in found]


def as_data(prediction: Prediction, error_model: ErrorModel | None) -> dict[str, Any]:
    """A prediction as the label store keeps it, with its uncertainty and, if they are known, its bounds."""
    data, uncertainty = prediction.label.values, prediction.uncertainty
    if np.isfinite(uncertainty.energy):
        data |= {"raw_forces": uncertainty.atoms, "raw_energy": uncertainty.energy}
    bounds = error_model.bounds(uncertainty) if error_model else None
    return data | {"forces_uncertainty": bounds.forces} if bounds else data


def comparable(entries: Sequence[Entry], n_models: int) -> list[Entry]:
    """Labels whose uncertainty, if any, is of the same kind: others have other units."""

    def is_same(prediction: Mapping[str, Any]) -> bool:
        if "raw_forces" not in prediction:
            return True
        return prediction.get("n_models", n_models) == n_models and (
            n_models > 1 or prediction.get("raw") == DEVIATION_OF
        )

    return [entry for entry in entries if is_same(entry.prediction)]


def fit_error_model(potential: Potential, entries: Sequence[Entry], limits: UncertaintyLimits) -> ErrorModel:
    """Posterior of the labels a potential was trained on, and factors from the errors before training on them.

    Parameters
    ----------
    potential
        Trained on all of the labels.
    entries
        Labels, oldest first.
    limits
        ``probability``, ``power``, ``recent`` and ``adaptation`` are used.
    """
    posterior, power = None, 1.0
    known = comparable(entries, len(potential.members))
    by_round = list(_predicted(known).values())
    if isinstance(potential, GMNN):
        matrix = _posterior(potential, entries, by_round[-1] if by_round else [])
        posterior, power = matrix.astype(potential.settings.dtype), limits.power
    in_order = [entry for of_round in by_round for entry in of_round]
    energies = [
        ratios(_energy_error(entry), entry.prediction["raw_energy"])
        for entry in _recent(in_order, limits.recent)
    ]
    return ErrorModel(
        posterior,
        calibrated(known, limits, power)[0],
        conformal_factor(energies, limits.probability),
        limits.probability,
        power,
    )


def calibrated(
    entries: Sequence[Entry], limits: UncertaintyLimits, power: float = 1.0
) -> tuple[float, dict[int, float]]:
    """Factor of the bounds on the errors to come, and how bounds of that probability did so far.

    The initial structures are perturbed more than any simulation does: they count until there are ten others.

    Parameters
    ----------
    entries
        Labels, oldest first.
    limits
        ``probability``, ``recent`` and ``adaptation`` are used.
    power
        Of the deviation that bounds grow with.

    Returns
    -------
    tuple
        The factor, infinite if there are too few errors; and by round the part of the atoms whose force error was
        within the bound that the rounds before it gave.
    """
    probability, recent = limits.probability, limits.recent
    factor, covered = np.inf, dict[int, float]()
    before: list[Entry] = []
    own_before: list[Entry] = []
    for number, of_round in _predicted(entries).items():
        found = _force_ratios(of_round, power)
        if np.isfinite(factor):
            covered[number] = coverage(found, factor)
        before += of_round
        own_before += [entry for entry in of_round if entry.is_test]
        own = _recent(own_before, recent)
        enough = len(own) >= recent // 2 and np.isfinite(
            conformal_factor(_force_ratios(own, power), probability)
        )
        used = own if enough else _recent(before, recent)
        factor = adapted_factor(
            _force_ratios(used, power), probability, covered.values(), len(used), adaptation=limits.adaptation
        )
    return factor, covered


def automatic_tolerance(
    entries: Sequence[Entry], error_model: ErrorModel, limits: UncertaintyLimits, small_error: float
) -> float | None:
    """Twice the largest bound on the labels of the last round, as it was before training on them, eV/Å.

    For the initial structures the median counts: the most perturbed may be one that no simulation visits. It is not
    more than the largest force in those labels: a potential that may be wrong by that knows nothing, however usual its
    ignorance. With a baseline it is not less than a part of that largest force, which is then one of a difference.

    A simulation that heats up or leaves a minimum meets a little more than it knows at every step, which is what the
    pool is for. What is twice as unknown as the most unusual frame of the last round cannot wait for it.

    Parameters
    ----------
    entries
        Labels.
    error_model
        The present one.
    limits
        How large it may be; twice is `UncertaintyLimits.novel`.
    small_error
        Mean error that is small enough, eV/Å; a tolerance is at least some times that.
    """
    by_round = _predicted(entries)
    if not by_round or not error_model.is_calibrated:
        return None
    last = by_round[max(by_round)]
    each = [
        error_model.force_factor * float(np.max(entry.prediction["raw_forces"])) ** error_model.power
        for entry in last
    ]
    largest = max(each) if last[0].is_test else float(np.median(each))
    strongest = max(np.linalg.norm(entry.label.forces_for("a tolerance"), axis=1).max() for entry in last)
    least = limits.floor * small_error
    if last[0].baseline:
        least = max(least, limits.difference * strongest)
    return float(max(min(limits.novel * largest, limits.ceiling * strongest), least))


def observed_coverage(entries: Sequence[Entry]) -> float | None:
    """Part of the atoms whose force error was within the bound that was given before; None if none was."""
    known = [
        entry for entry in entries if entry.status == "done" and "forces_uncertainty" in entry.prediction
    ]
    if not known:
        return None
    errors = np.concatenate([force_errors(entry) for entry in known])
    return coverage(errors, np.concatenate([entry.prediction["forces_uncertainty"] for entry in known]))


def largest_bound(entries: Sequence[Entry]) -> float | None:
    """Largest bound on a force error that was given for these labels before training on them, eV/Å."""
    known = [
        np.max(entry.prediction["forces_uncertainty"])
        for entry in entries
        if "forces_uncertainty" in entry.prediction
    ]
    return float(max(known)) if known else None


def force_errors(entry: Entry) -> NDArray[np.float64]:
    """Norm of the force error of each atom before training, eV/Å, [n_atoms]."""
    found: NDArray[np.float64] = np.linalg.norm(
        np.asarray(entry.prediction["forces"]) - entry.label.forces_for("an error"), axis=1
    )
    return found


def _posterior(potential: GMNN, entries: Sequence[Entry], last: Sequence[Entry]) -> NDArray[np.float64]:
    """Posterior of all labels, in the units of the deviations that those of the last round had before.

    The features of a network that was trained anew, or for longer, spread otherwise: the deviations that the factors
    were found with are of other potentials. What the labels of the last round would have without them in this one is
    what compares with them.
    """
    ids = {entry.id for entry in last}
    rest = [entry.atoms for entry in entries if entry.id not in ids]
    of_rest = second_moments(potential, rest)
    of_last = second_moments(potential, [entry.atoms for entry in last])
    matrix = principal_posterior(of_rest[0] + of_last[0], of_rest[1] + of_last[1], stream(0, "posterior"))
    if not last or not rest:
        return matrix
    before = principal_posterior(*of_rest, stream(0, "posterior"))
    shown = last[:STRUCTURES_AT_ONCE]
    now = np.linalg.norm(input_features(potential, [entry.atoms for entry in shown]) @ before.T, axis=1)
    then = np.concatenate([np.asarray(entry.prediction["raw_forces"]) for entry in shown])
    change = float(np.median(then)) / float(np.median(now)) if np.median(now) > 0 else 1.0
    return matrix * change if 0 < change < np.inf else matrix


def _recent(entries: Sequence[Entry], n: int) -> Sequence[Entry]:
    """Those of the last two rounds, `n` at least, of entries in the order of their rounds."""
    first, rounds = len(entries), set[int]()
    while first > 0 and len(rounds | {entries[first - 1].round}) <= 2:
        first -= 1
        rounds.add(entries[first].round)
    return entries[min(first, max(0, len(entries) - n)) :]


def _force_ratios(entries: Sequence[Entry], power: float) -> NDArray[np.float64]:
    found = [
        ratios(force_errors(entry), np.asarray(entry.prediction["raw_forces"]) ** power) for entry in entries
    ]
    return np.concatenate(found) if found else np.empty(0)


def _predicted(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    """Entries that hold an uncertainty, by round, oldest first."""
    by_round: dict[int, list[Entry]] = {}
    for entry in entries:
        if "raw_forces" in entry.prediction:
            by_round.setdefault(entry.round, []).append(entry)
    return dict(sorted(by_round.items()))


def _energy_error(entry: Entry) -> float:
    return abs(float(entry.prediction["energy"] - entry.label.energy))
