"""When learning ends."""

from collections.abc import Sequence
from itertools import islice

from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.run.dataset import Dataset, errors_before_training
from ase_bmdal.run.store import Entry
from ase_bmdal.uncertainty.calibrate import largest_bound


def labels_left(settings: LearnerSettings, dataset: Dataset) -> int | None:
    """Labels that the budget still allows; None for any number."""
    return None if settings.max_labels is None else max(0, settings.max_labels - len(dataset.done))


def spent(settings: LearnerSettings, dataset: Dataset) -> str | None:
    """Which budget is spent; None while none is."""
    if labels_left(settings, dataset) == 0:
        return f"the budget of {settings.max_labels} labels is spent"
    if settings.max_rounds is not None and dataset.n_rounds >= settings.max_rounds:
        return f"the budget of {settings.max_rounds} rounds is spent"
    return None


def converged(settings: LearnerSettings, dataset: Dataset) -> str | None:
    """Why the last rounds left nothing to learn; None if they did."""
    rounds, wanted = dataset.n_rounds, settings.convergence
    if rounds < wanted.rounds:
        return None
    recent = _last_rounds(dataset, wanted.rounds)
    if len(recent) < wanted.rounds:
        return None
    tolerance = settings.uncertainty.force_tolerance if settings.uncertainty.enabled else None
    bounds = [largest_bound(entries) for entries in recent]
    if tolerance and all(bound and bound < tolerance for bound in bounds):
        return f"no force was expected to be wrong by {tolerance} eV/Å for {wanted.rounds} rounds"
    errors = [errors_before_training(entries) for entries in recent]
    if all(error and error[0] < wanted.force_mae for error in errors):
        return f"the force error before training was below {wanted.force_mae} eV/Å for {wanted.rounds} rounds"
    return None


def _last_rounds(dataset: Dataset, n: int) -> list[Sequence[Entry]]:
    """Entries of the last rounds of which nothing is missing."""
    rounds = (dataset.of_round(number) for number in range(dataset.n_rounds, 0, -1))
    return list(islice((entries for entries in rounds if all(map(_is_known, entries))), n))


def _is_known(entry: Entry) -> bool:
    return entry.status != "pending"
