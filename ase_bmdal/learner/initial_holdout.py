"""Which of the initial labels are held out, so that the first potential has bounds."""

from collections.abc import Sequence

from ase_bmdal.run.store import Entry


def initial_holdout(entries: Sequence[Entry], most: int) -> tuple[list[Entry], list[Entry]]:
    """Split the initial labels of a run into a training part and a held-out part.

    Parameters
    ----------
    entries
        Labels.
    most
        That are held out.

    Returns
    -------
    tuple
        Labels to train on, and every second label, but not more than `most`, evenly spread; without those that hold an
        element which the others do not. No labels if there are predictions already, or one has no forces.
    """
    if any(entry.prediction for entry in entries) or not all(
        "forces" in entry.atoms.calc.results for entry in entries
    ):
        return [], []
    n_unseen = min(len(entries) // 2, most)
    chosen = {(k + 1) * len(entries) // n_unseen - 1 for k in range(n_unseen)}
    known = [entry for index, entry in enumerate(entries) if index not in chosen]
    elements = {z for entry in known for z in entry.atoms.numbers}
    unseen = [entries[index] for index in sorted(chosen) if elements.issuperset(entries[index].atoms.numbers)]
    return known, unseen
