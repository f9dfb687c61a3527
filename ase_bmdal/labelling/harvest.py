"""Labels that were finished, and not written by the driver, when a run was interrupted."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ase import Atoms

from ase_bmdal.labelling.backends.base import file_lease
from ase_bmdal.labelling.kept import BATCH, SUFFIX, KeptLabel, contents, decode, remove
from ase_bmdal.labelling.lease import RUNNING, Lease
from ase_bmdal.labelling.outcome import ComputedLabel
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.labelling.worker.checks import refusal_before, refusal_of

log = logging.getLogger(__name__)


def harvest(
    scratch: Path,
    pending: Mapping[int, Atoms],
    identity: str,
    settings: LabellingSettings,
    elsewhere: Iterable[tuple[str, bytes]] = (),
    left: Callable[[Path], Lease] = file_lease,
) -> dict[int, ComputedLabel]:
    """Find finished labels; to be called while no driver but this one works in the folder, and nothing is in flight.

    Workers that were left over end soon. Files of labels that are of no use are removed, those that cannot be read are
    left alone.

    Parameters
    ----------
    scratch
        Folder of the labeller.
    pending
        Structures without a label, by number.
    identity
        Who their labels are from.
    settings
        Limits that a label has to keep.
    elsewhere
        Path and content of files on disks of workers.
    left
        See `Backend`.

    Returns
    -------
    dict
        Labels by number; `kept.remove` removes their files.
    """
    found: dict[int, ComputedLabel] = {}
    here = contents(scratch.glob(f"{BATCH}*/structure-*{SUFFIX}"))
    for path, content in (*here, *dict.fromkeys(elsewhere)):
        kept = _read(path, content)
        if kept is None:
            continue
        if kept.number not in found and _is_wanted(kept, pending.get(kept.number), identity, settings):
            found[kept.number] = kept.label
        else:
            remove(kept.label)
    _end_leases(scratch, left)
    return found


def _read(path: str, content: bytes) -> KeptLabel | None:
    try:
        return decode(content, path)
    except Exception as error:  # whatever is in it
        log.warning("%s is passed over, it holds no label: %s", path, error)
        return None


def _is_wanted(kept: KeptLabel, atoms: Atoms | None, identity: str, settings: LabellingSettings) -> bool:
    if atoms is None or not kept.is_of(atoms, identity):
        return False
    return not (refusal_before(atoms, settings) or refusal_of(kept.label, atoms, settings))


def _end_leases(scratch: Path, left: Callable[[Path], Lease]) -> None:
    for batch in scratch.glob(f"{BATCH}*"):
        with contextlib.suppress(OSError):
            left(batch / RUNNING).end()
        with contextlib.suppress(OSError):
            batch.rmdir()
