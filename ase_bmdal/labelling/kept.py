"""A finished label as a file, from when its worker has it until the driver has written it to where labels belong."""

import contextlib
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
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

log = logging.getLogger(__name__)

SUFFIX = ".npz"
UNFINISHED = "label.unfinished"
BATCH = "batch-"  # what folders of batches begin with


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
    """Write a label to a file, in one step: beside its scratch folder, which others may see, or on this disk alone.

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
    name, content = scratch.name, io.BytesIO()
    if task.settings.local_scratch is not None:
        _forget(scratch.parent, task.prefix, task.oldest)
        name = f"{task.prefix}{task.number:05d}"
    path = scratch.with_name(name + SUFFIX)
    np.savez(content, allow_pickle=False, **_arrays(label, task))
    with contextlib.suppress(OSError):
        # Without fsync: it is for the death of the driver, not of the machine; half a file is passed over.
        (scratch / UNFINISHED).write_bytes(content.getbuffer())
        (scratch / UNFINISHED).replace(path)
        return replace(label, kept=str(path))
    return label


def local_prefix(scratch: Path, identity: str) -> str:
    """By the driver: what the names of labels begin with that workers keep on disks of their own.

    Parameters
    ----------
    scratch
        Folder of the labeller, by whatever path.
    identity
        Who the labels are from.
    """
    return f"ase-bmdal-{hashlib.sha256(f'{scratch.resolve()} {identity}'.encode()).hexdigest()[:16]}-"


def contents(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Files with what is in them; those that cannot be read are passed over."""
    for path in sorted(paths):
        try:
            yield str(path), path.read_bytes()
        except OSError as error:
            log.warning("%s is passed over: %s", path, error)


def on_this_disk(folder: str, prefix: str) -> list[tuple[str, bytes]]:
    """Labels that workers of this user kept in a local scratch folder, as `contents` gives them."""
    paths = Path(os.path.expandvars(folder)).glob(f"{prefix}*{SUFFIX}")
    return list(contents(path for path in paths if _is_mine(path)))


def _is_mine(path: Path) -> bool:
    with contextlib.suppress(OSError):  # removed in the meantime
        return path.lstat().st_uid == os.getuid()
    return False


def decode(content: bytes, path: str) -> KeptLabel:
    """The content of such a file.

    Raises
    ------
    Exception
        Whatever a file raises that is broken, or of something else.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
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
        kept=path,
    )
    return KeptLabel(int(arrays["number"]), str(arrays["identity"]), atoms, label)


def remove(label: ComputedLabel) -> None:
    """Remove the file of a label, if this machine sees one, and the folder of its batch, if nothing is left there."""
    if label.kept is not None:
        path = Path(label.kept)
        with contextlib.suppress(OSError):
            path.unlink()
            if path.parent.name.startswith(BATCH):
                path.parent.rmdir()


def _forget(folder: Path, prefix: str, oldest: int) -> None:
    """Remove labels that were kept on this disk and are written by now: those that come before all in flight."""
    for path in folder.glob(f"{prefix}*{SUFFIX}"):
        with contextlib.suppress(OSError, ValueError):
            if int(path.stem.removeprefix(prefix)) < oldest:
                path.unlink()


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
