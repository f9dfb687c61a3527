"""What a label worker does with one structure, in a thread, a process or an MPI rank."""

import contextlib
import os
import platform
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_bmdal.labelling.checks import refusal_after, refusal_before
from ase_bmdal.labelling.child import LOG
from ase_bmdal.labelling.compute import label
from ase_bmdal.labelling.environment import header
from ase_bmdal.labelling.guard import GRACE
from ase_bmdal.labelling.lease import Lease
from ase_bmdal.labelling.process import (
    GIVEN_UP,
    Abandoned,
    CalculationEnded,
    LabelProcess,
    NotLoaded,
    Terminated,
)
from ase_bmdal.labelling.record import LabelRecord, Unfinished, describe, failure
from ase_bmdal.labelling.reference import Reference
from ase_bmdal.labelling.settings import LabellingSettings


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """One structure to label, with all a worker needs to know.

    Parameters
    ----------
    reference
        Makes the calculator.
    atoms
        Structure without calculator and constraints.
    settings
        Limits.
    scratch
        Folder for this structure; made by the worker, under another name if there is one already.
    lease
        Whether the label is wanted still.
    owner
        Name of the labeller, whose processes end with it.
    isolated
        Whether to compute in a child process.
    """

    reference: Reference
    atoms: Atoms
    settings: LabellingSettings
    scratch: Path
    lease: Lease
    owner: str
    isolated: bool = True


class _OfThisThread(threading.local):
    process: LabelProcess | None = None
    serves: tuple[str, str] = ("", "")


_mine = _OfThisThread()
_processes: dict[str, set[LabelProcess]] = {}
_processes_lock = threading.Lock()


class WorkerFault(Exception):  # noqa: N818 - what happened, not an error of the program
    """A worker cannot do its work, whatever the structure."""


def label_structure(task: LabelTask) -> LabelRecord | Unfinished:
    """Label one structure; nothing a reference does comes out as an exception.

    Parameters
    ----------
    task
        Structure, reference and limits.

    Returns
    -------
    LabelRecord or Unfinished
        A label, or why there is none; or what kept this worker from finding out.
    """
    start = time.monotonic()
    try:
        record = _label(task)
    except (Abandoned, WorkerFault) as reason:
        return Unfinished(reason=str(reason), host=platform.node())
    except Exception as error:  # such as results that are no numbers
        record = failure(*describe(error))
    return replace(record, seconds=time.monotonic() - start) if isinstance(record, LabelRecord) else record


def _label(task: LabelTask) -> LabelRecord | Unfinished:
    reason = refusal_before(task.atoms, task.settings)
    if reason is not None:
        return failure("Refused", reason)
    if unseen := task.lease.why_unseen():
        return Unfinished(reason=f"{task.lease.path.parent}: {unseen}", host=platform.node(), is_unseen=True)
    if not task.lease.is_wanted():
        raise Abandoned(GIVEN_UP)
    scratch = _own_folder(task.scratch)
    try:
        record = _judge(_in_child(task, scratch) if task.isolated else _in_this_process(task, scratch), task)
    except (Abandoned, WorkerFault):
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may not be through yet; the last one removes the folder
            if not task.lease.is_wanted():
                scratch.parent.rmdir()
        raise
    if record.status == "done":
        shutil.rmtree(scratch, ignore_errors=True)
        return record
    return replace(record, scratch=str(scratch))


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
            raise WorkerFault(f"cannot make the scratch folder {folder}: {error.strerror}") from error
        else:
            return folder


def _judge(reply: dict[str, Any], task: LabelTask) -> LabelRecord:
    if "error" in reply:
        return failure(*reply["error"])
    record = LabelRecord(status="done", **reply)
    reason = refusal_after(record, task.atoms, task.settings)
    return record if reason is None else failure("Refused", reason)


def _with_stress(task: LabelTask) -> bool:
    return task.settings.stress and bool(task.atoms.pbc.all())


def _in_child(task: LabelTask, scratch: Path) -> dict[str, Any]:
    try:
        process = _process_for(task, scratch)
        return process.ask(
            task.atoms, _with_stress(task), scratch, task.settings.timeout, task.lease.is_wanted
        )
    except CalculationEnded as end:
        _end_process()
        # Its process may have been ended by the labeller, as it is not wanted any more.
        if isinstance(end, Abandoned) or not task.lease.is_wanted():
            raise Abandoned(str(end)) from None
        if isinstance(end, Terminated):
            raise WorkerFault(str(end)) from None
        return {"error": (type(end).__name__, str(end))}
    except BaseException:
        _end_process()
        raise


def _process_for(task: LabelTask, scratch: Path) -> LabelProcess:
    wanted = (task.owner, task.reference.digest)
    if _mine.process is not None and _mine.serves == wanted and _mine.process.is_alive():
        return _mine.process
    _end_process()
    try:
        _mine.process, _mine.serves = LabelProcess(scratch / LOG, task.settings.environment), wanted
        with _processes_lock:
            _processes.setdefault(task.owner, set()).add(_mine.process)
        _mine.process.load(task.reference, task.settings.timeout, task.lease.is_wanted)
    except NotLoaded as error:
        raise WorkerFault(f"the reference cannot be loaded: {': '.join(error.args)}") from None
    except (CalculationEnded, OSError) as error:
        if isinstance(error, Abandoned) or not task.lease.is_wanted():
            raise Abandoned(str(error)) from None
        raise WorkerFault(f"cannot start the process of a calculation: {error}") from None
    return _mine.process


def _end_process() -> None:
    process, _mine.process = _mine.process, None
    if process is None:
        return
    process.close()
    with _processes_lock:
        _processes.get(_mine.serves[0], set()).discard(process)


def end_processes(owner: str) -> None:
    """End the child processes of a labeller that run below this process.

    Parameters
    ----------
    owner
        Name of the labeller.
    """
    with _processes_lock:
        processes = _processes.pop(owner, set())
    for process in processes:
        process.ask_to_end()
    limit = time.monotonic() + GRACE
    for process in processes:
        process.close(max(0.0, limit - time.monotonic()))


def _in_this_process(task: LabelTask, scratch: Path) -> dict[str, Any]:
    try:
        make_calculator = task.reference.load()
    except Exception as error:
        raise WorkerFault(f"the reference cannot be loaded: {': '.join(describe(error))}") from error
    try:
        with _folder(scratch):
            return label(make_calculator, task.atoms, _with_stress(task), Path(task.reference.folder))
    except (Exception, SystemExit) as error:
        (scratch / LOG).write_text(header() + traceback.format_exc(), errors="backslashreplace")
        return {"error": describe(error)}


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    home = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(home)
