"""What a label worker does with one structure, in a thread, a process or an MPI rank."""

import contextlib
import os
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
from ase_bmdal.labelling.compute import compute
from ase_bmdal.labelling.process import Abandoned, CalculationEnded, LabelProcess, NotLoaded
from ase_bmdal.labelling.record import LabelRecord, describe, failure
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
        Folder for this structure alone; made by the worker.
    running
        File that vanishes when nobody wants the label any more.
    owner
        Name of the labeller, whose processes end with it.
    isolated
        Whether to compute in a child process.
    """

    reference: Reference
    atoms: Atoms
    settings: LabellingSettings
    scratch: Path
    running: Path
    owner: str
    isolated: bool = True


class _OfThisThread(threading.local):
    process: LabelProcess | None = None
    serves: tuple[str, str] = ("", "")


_mine = _OfThisThread()
_processes: dict[str, set[LabelProcess]] = {}
_processes_lock = threading.Lock()


def label_structure(task: LabelTask) -> LabelRecord:
    """Label one structure; nothing a reference does comes out as an exception.

    Parameters
    ----------
    task
        Structure, reference and limits.

    Returns
    -------
    LabelRecord
        A label, or why there is none.
    """
    start = time.monotonic()
    try:
        record = _label(task)
    except Exception as error:  # such as a disk without room for the scratch folder
        record = failure(*describe(error))
    return replace(record, seconds=time.monotonic() - start)


def _label(task: LabelTask) -> LabelRecord:
    reason = refusal_before(task.atoms, task.settings)
    if reason is not None:
        return failure("Refused", reason)
    if not task.running.exists():
        return failure("Abandoned", "the batch was given up")
    task.scratch.mkdir(parents=True)
    record = _judge(_in_child(task) if task.isolated else _in_this_process(task), task)
    if record.status == "done":
        shutil.rmtree(task.scratch, ignore_errors=True)
        return record
    if record.error_class == Abandoned.__name__:
        shutil.rmtree(task.scratch, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may not be through yet; the last one removes the folder
            task.scratch.parent.rmdir()
        return record
    return replace(record, scratch=str(task.scratch))


def _judge(reply: dict[str, Any], task: LabelTask) -> LabelRecord:
    if "error" in reply:
        return failure(*reply["error"])
    record = LabelRecord(status="done", **reply)
    reason = refusal_after(record, task.atoms, task.settings)
    return record if reason is None else failure("Refused", reason)


def _with_stress(task: LabelTask) -> bool:
    return task.settings.stress and bool(task.atoms.pbc.all())


def _in_child(task: LabelTask) -> dict[str, Any]:
    try:
        return _process_for(task).ask(
            task.atoms, _with_stress(task), task.scratch, task.settings.timeout, task.running
        )
    except NotLoaded as error:
        _end_process()
        return {"error": error.args}
    except CalculationEnded as end:
        _end_process()
        kind = type(end) if task.running.exists() else Abandoned  # whose process may be killed from outside
        return {"error": (kind.__name__, str(end))}
    except BaseException:
        _end_process()
        raise


def _process_for(task: LabelTask) -> LabelProcess:
    wanted = (task.owner, task.reference.digest)
    if _mine.process is not None and _mine.serves == wanted:
        return _mine.process
    _end_process()
    _mine.process, _mine.serves = LabelProcess(task.scratch / LOG), wanted
    with _processes_lock:
        _processes.setdefault(task.owner, set()).add(_mine.process)
    _mine.process.load(task.reference, task.settings.timeout, task.running)
    return _mine.process


def _end_process() -> None:
    process, _mine.process = _mine.process, None
    if process is None:
        return
    process.close()
    with _processes_lock:
        _processes.get(_mine.serves[0], set()).discard(process)


def end_processes(owner: str) -> None:
    """Kill the child processes of a labeller that run below this process.

    Parameters
    ----------
    owner
        Name of the labeller.
    """
    with _processes_lock:
        processes = _processes.pop(owner, set())
    for process in processes:
        process.close()


def _in_this_process(task: LabelTask) -> dict[str, Any]:
    try:
        with _folder(task.scratch):
            return compute(task.reference.load()(), task.atoms, _with_stress(task))
    except (Exception, SystemExit) as error:
        (task.scratch / LOG).write_text(traceback.format_exc(), errors="backslashreplace")
        return {"error": describe(error)}


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    home = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(home)
