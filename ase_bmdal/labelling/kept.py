"""A finished label as a file, from when its worker has it until the driver has written it to where labels belong."""

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_bmdal.labelling.outcome import ComputedLabel
from ase_bmdal.labelling.task import LabelTask
from ase_bmdal.structures.labels import Label
from ase_bmdal.structures.same import exact_changes
from ase_bmdal.structures.structure_only import structure_only

SUFFIX = ".npz"
UNFINISHED = "label.unfinished"


class KeptLabel(NamedTuple):
    """What such a file holds.

    Attributes
    ----------
    number, identity
        Of the task.
    atoms
        Structure of the task.
    label
        The label; it knows its file.
    """

    number: int
    identity: str
    atoms: Atoms
    label: ComputedLabel

    def is_of(self, atoms: Atoms, identity: str) -> bool:
        """Whether it is the label of exactly this structure, by this reference."""
        wanted = structure_only(atoms)
        is_same = not exact_changes(wanted, self.atoms) and wanted.info == self.atoms.info
        return is_same and self.identity == identity


def keep(label: ComputedLabel, task: LabelTask, scratch: Path) -> ComputedLabel:
    """Write a label to a file beside its scratch folder, in one step.

    Parameters
    ----------
    label
        Of the task.
    task
        The task.
    scratch
        Folder in which it was computed.

    Returns
    -------
    ComputedLabel
        The label, which knows its file; as it was, if the file system refuses.
    """
    path, content = scratch.with_name(scratch.name + SUFFIX), io.BytesIO()
    np.savez(content, allow_pickle=False, **_arrays(label, task))
    with contextlib.suppress(OSError):
        # Without fsync: it is for the death of the driver, not of the machine; half a file is passed over.
        (scratch / UNFINISHED).write_bytes(content.getbuffer())
        (scratch / UNFINISHED).replace(path)
        return replace(label, kept=str(path))
    return label


def read(path: Path) -> KeptLabel:
    """The content of such a file.

    Raises
    ------
    Exception
        Whatever a file raises that is broken, or of something else.
    """
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    atoms = Atoms(arrays["atoms.numbers"], arrays["atoms.positions"], cell=arrays["cell"], pbc=arrays["pbc"])
    for name, array in _part("atoms", arrays).items():
        atoms.set_array(name, array)
    atoms.info = json.loads(str(arrays["info"]))
    baseline = _part("baseline", arrays)
    label = ComputedLabel(
        **_numbers(_part("label", arrays)),
        seconds=float(arrays["seconds"]),
        baseline=Label(**_numbers(baseline)) if baseline else None,
        kept=str(path),
    )
    return KeptLabel(int(arrays["number"]), str(arrays["identity"]), atoms, label)


def remove(label: ComputedLabel) -> None:
    """Remove the file of a label, if it has one, and the folder of its batch, if nothing is left there."""
    if label.kept is not None:
        with contextlib.suppress(OSError):
            Path(label.kept).unlink()
            Path(label.kept).parent.rmdir()


def _arrays(label: ComputedLabel, task: LabelTask) -> dict[str, Any]:
    atoms = task.atoms
    found = {f"atoms.{name}": array for name, array in atoms.arrays.items()}
    found |= {f"label.{name}": value for name, value in label.values.items()}
    if label.baseline is not None:
        found |= {f"baseline.{name}": value for name, value in label.baseline.values.items()}
    about = {"number": task.number, "identity": task.identity, "seconds": label.seconds}
    return found | about | {"cell": atoms.cell.array, "pbc": atoms.pbc, "info": json.dumps(atoms.info)}


def _part(part: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _numbers(values: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: float(value) if name == "energy" else value for name, value in values.items()}
