"""When learning ends."""

from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.run.dataset import Dataset
from ase_bmdal.run.events import Cause
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
    wanted = settings.convergence
    recent = _last_rounds(dataset, wanted.rounds, settings.batch_size)
    if not recent:
        return None
    tolerance = settings.uncertainty.force_tolerance if settings.uncertainty.enabled else None
    if tolerance:
        bounds = [largest_bound(dataset.of_round(number)) for number in recent]
        if all(bound and bound < tolerance for bound in bounds):
            return f"no force was expected to be wrong by {tolerance} eV/Å for {len(recent)} rounds"
        return None
    if any(dataset.of_round(number)[0].cause is Cause.REJECTED for number in recent):
        return None  # however small the mean error is
    errors = [dataset.errors_before_training(number) for number in recent]
    if all(error and error.force_mae < wanted.force_mae for error in errors):
        return f"the force error before training was below {wanted.force_mae} eV/Å for {len(recent)} rounds"
    return None


def _last_rounds(dataset: Dataset, n_rounds: int, n_labels: int) -> list[int]:
    """So many of the last rounds of which nothing is missing, or more of them until they hold so many labels.

    None if there are not enough: a round for a single frame, as the first steps of a simulation ask for, says little,
    and one whose calculations all failed says nothing.
    """
    missing = {entry.round for entry in dataset.pending}
    found: list[int] = []
    for number in range(dataset.n_rounds, 0, -1):
        n_done = sum(entry.status == "done" for entry in dataset.of_round(number))
        if n_done and number not in missing:
            found.append(number)
            n_labels -= n_done
            if len(found) >= n_rounds and n_labels <= 0:
                return found
    return []
