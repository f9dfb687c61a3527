"""What is to be done next, as a function of what is on disk."""

from enum import StrEnum


class Phase(StrEnum):
    """What a run waits for."""

    EMPTY = "empty"  # structures to begin with
    LABELLING = "labelling"  # calculations that were begun
    TRAINING = "training"  # a potential that knows all labels
    IDLE = "idle"  # a frame that is due for a round
    FINISHED = "finished"  # nothing


def phase(*, n_pending: int, n_done: int, has_potential: bool, is_trained: bool, has_ended: bool) -> Phase:
    """What is to be done next.

    Parameters
    ----------
    n_pending
        Structures without an outcome that the budget allows to compute.
    n_done
        Labels.
    has_potential
        Whether there is anything to predict with.
    is_trained
        Whether the newest potential knows exactly these labels, and got its last training if that is due.
    has_ended
        Whether a budget is spent or nothing is left to learn.
    """
    if n_pending:
        return Phase.LABELLING
    if n_done and not is_trained:
        return Phase.TRAINING
    if not has_potential:
        return Phase.EMPTY
    return Phase.FINISHED if has_ended else Phase.IDLE
