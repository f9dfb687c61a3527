"""What a label worker does with one structure, in a thread, a process or an MPI rank."""

import contextlib
import os
import platform
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.kept import keep
from ase_bmdal.labelling.outcome import ComputedLabel, NotFinished, Unseen
from ase_bmdal.labelling.parcel import packed
from ase_bmdal.labelling.task import LabelTask
from ase_bmdal.labelling.worker.checks import refusal_before, refusal_of
from ase_bmdal.labelling.worker.child import LOG
from ase_bmdal.labelling.worker.compute import label
from ase_bmdal.labelling.worker.environment import header
from ase_bmdal.labelling.worker.process import GIVEN_UP
from ase_bmdal.labelling.worker.processes import label_in_child


def label_structure(task: LabelTask) -> ComputedLabel | Failure:
    """Label one structure; nothing a reference does comes out as an exception.

    Parameters
    ----------
    task
        Structure, reference and limits.

    Returns
    -------
    ComputedLabel or Failure
        A label, or why there is none.

    Raises
    ------
    NotFinished
        What kept this worker from finding out.
    """
    start = time.monotonic()
    try:
        outcome = _outcome(task, start)
    except Unseen:
        raise
    except NotFinished as reason:
        raise NotFinished(f"{reason} (on {platform.node()})") from None
    except Exception as error:  # such as results that are no numbers
        outcome = Failure.of(error)
    return replace(outcome, seconds=time.monotonic() - start)


def _outcome(task: LabelTask, start: float) -> ComputedLabel | Failure:
    if refusal := refusal_before(task.atoms, task.settings):
        return Failure("Refused", refusal)
    is_shared = task.settings.local_scratch is None
    if not is_shared:
        task.lease.follow()
    elif unseen := task.lease.why_unseen():
        raise Unseen(platform.node(), str(task.lease.path.parent), unseen)
    if not task.lease.is_wanted():
        raise NotFinished(GIVEN_UP)
    scratch = _own_folder(task.scratch) if is_shared else _local_folder(task)
    try:
        outcome = _judge((label_in_child if task.isolated else _label_here)(task, scratch), task)
    except NotFinished:
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may not be through yet; the last one removes the folder
            if is_shared and not task.lease.is_wanted():
                scratch.parent.rmdir()
        raise
    except Exception as error:  # such as results that are no numbers
        outcome = Failure.of(error)
    if isinstance(outcome, Failure):
        if is_shared:
            return replace(outcome, scratch=str(scratch))
        outcome = replace(outcome, files=packed(scratch))
    elif task.identity:
        outcome = keep(replace(outcome, seconds=time.monotonic() - start), task, scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def _local_folder(task: LabelTask) -> Path:
    """Make a folder on a disk of this worker."""
    wanted = os.path.expandvars(task.settings.local_scratch or "")
    if not Path(wanted).is_absolute():
        raise NotFinished(f"local_scratch: expected an absolute path on the worker, got {wanted}")
    try:
        Path(wanted).mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"ase-bmdal-{task.scratch.name}-", dir=wanted))
    except OSError as error:
        raise NotFinished(f"cannot make a scratch folder in {wanted}: {error.strerror}") from error


def _own_folder(wanted: Path) -> Path:
    """Make a folder; an engine may run the same task twice, even at the same time."""
    folder, attempt = wanted, 1
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            attempt += 1
            folder = wanted.with_name(f"{wanted.name}-try-{attempt}")
        except OSError as error:
            raise NotFinished(f"cannot make the scratch folder {folder}: {error.strerror}") from error
        else:
            return folder


def _judge(outcome: ComputedLabel | Failure, task: LabelTask) -> ComputedLabel | Failure:
    if isinstance(outcome, Failure):
        return outcome
    refusal = refusal_of(outcome, task.atoms, task.settings)
    return Failure("Refused", refusal) if refusal else outcome


def _label_here(task: LabelTask, scratch: Path) -> ComputedLabel | Failure:
    try:
        loaded = task.reference.load()
    except Exception as error:
        raise NotFinished(f"the reference cannot be loaded: {Failure.of(error)}") from error
    try:
        with _inside(scratch):
            return label(loaded, task.atoms, task.wants_stress, Path(task.reference.folder))
    except (Exception, SystemExit) as error:
        (scratch / LOG).write_text(header() + traceback.format_exc(), errors="backslashreplace")
        return Failure.of(error)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    home = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(home)
