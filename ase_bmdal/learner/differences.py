"""Labels of a run with a baseline: what it says of each structure is kept beside the label."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from ase_bmdal.baseline.baseline import Baseline, difference
from ase_bmdal.common.errors import RunFolderError
from ase_bmdal.labelling.outcome import ComputedLabel
from ase_bmdal.run.store import Entry
from ase_bmdal.structures.labels import Label

log = logging.getLogger(__name__)


def with_baselines(
    baseline: Baseline, structures: Sequence[Atoms], labels: Sequence[Label | None]
) -> list[Label | None]:
    """Labels that were given, each with the result of the baseline for its structure.

    Raises
    ------
    BaselineError
        If the baseline gives no result for one of them.
    """
    known = sum(label is not None for label in labels)
    if known:
        log.info("the baseline computes %d structures that have labels", known)
    return [
        label and ComputedLabel(**vars(label), baseline=baseline.label(atoms))
        for atoms, label in zip(structures, labels, strict=True)
    ]


def refuse_other_baseline(path: Path, entries: Sequence[Entry], baseline: Baseline | None) -> None:
    """Refuse to go on with labels that another baseline belongs to; found out by computing one of them again.

    Raises
    ------
    RunFolderError
        Saying how to have labels with the new one without asking the reference.
    BaselineError
        If the baseline gives no result for a structure.
    """
    if why := _other_baseline(entries, baseline):
        raise RunFolderError(
            f"baseline: {why} in the run in {path}. Use another directory; the labels of this one, given there as "
            f'initial="{path}", are taken over without asking the reference'
        )


def _other_baseline(entries: Sequence[Entry], baseline: Baseline | None) -> str | None:
    without = [entry for entry in entries if entry.baseline is None]
    if baseline is None:
        return None if without == list(entries) else "expected the one of before, got none"
    if without:
        return "expected none, as there was none before"
    for entry in entries[:1]:
        if entry.baseline and (different := difference(entry.baseline, baseline.label(entry.atoms))):
            return f"expected the one of before, got another, whose {different}"
    return None
