"""One label from the reference, in the working directory and the process of now."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_bmdal.labelling.outcome import ComputedLabel
from ase_bmdal.labelling.reference import Loaded
from ase_bmdal.labelling.worker.paths import anchor, missing_file, relative_paths
from ase_bmdal.structures.compute import compute
from ase_bmdal.structures.labels import Label


def label(loaded: Loaded, atoms: Atoms, with_stress: bool, folder: Path) -> ComputedLabel:
    """Compute one label, and before it what the baseline says, if there is one.

    The baseline costs next to nothing, and a label is of no use without it.

    Parameters
    ----------
    loaded
        The reference, and the baseline.
    atoms
        Structure without constraints.
    with_stress
        Whether stress is wanted.
    folder
        Working directory of the driver, from which relative paths to inputs count.

    Returns
    -------
    ComputedLabel
        As the calculators give it, not checked.

    Raises
    ------
    BaseException
        Whatever a calculator raises, with a note on relative paths that may be to blame, and on the baseline if it is.
    """
    baseline = None
    if loaded.baseline is not None:
        try:
            baseline = _computed(loaded.baseline, atoms.copy(), with_stress, folder)
        except BaseException as error:
            error.add_note("in the baseline; the reference was not asked")
            raise
    found = _computed(loaded.reference, atoms, with_stress, folder)
    return ComputedLabel(**vars(found), baseline=baseline)


def _computed(make_calculator: Callable[[], Any], atoms: Atoms, with_stress: bool, folder: Path) -> Label:
    calculator = None
    try:
        calculator = make_calculator()
        anchor(calculator, folder)
        return compute(calculator, atoms, with_stress)
    except BaseException as error:
        lost = [*relative_paths(calculator, folder), *missing_file(error, folder)]
        if lost:
            error.add_note(f"{', '.join(lost)}: {_why_lost(folder)}")
        raise


def _why_lost(folder: Path) -> str:
    if folder.exists():
        return (
            f"there is such a file or folder in {folder}, from which the reference comes, but a label is computed in a "
            "folder of its own; give absolute paths"
        )
    return (
        f"relative paths lead nowhere on {platform.node()}, which does not see {folder}, from which the reference "
        "comes; give absolute paths to what is there"
    )
