"""When learning ends."""

from itertools import islice

from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.run.dataset import Dataset
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
    if tolerance:
        bounds = [largest_bound(dataset.of_round(number)) for number in recent]
        if all(bound and bound < tolerance for bound in bounds):
            return f"no force was expected to be wrong by {tolerance} eV/Å for {wanted.rounds} rounds"
    errors = [dataset.errors_before_training(number) for number in recent]
    if all(error and error.force_mae < wanted.force_mae for error in errors):
        return f"the force error before training was below {wanted.force_mae} eV/Å for {wanted.rounds} rounds"
    return None


def _last_rounds(dataset: Dataset, n: int) -> list[int]:
    """The last rounds of which nothing is missing."""
    missing = {entry.round for entry in dataset.pending}
    rounds = (number for number in range(dataset.n_rounds, 0, -1) if number not in missing)
    return list(islice(rounds, n))
