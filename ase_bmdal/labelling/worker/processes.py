"""The child processes of this label worker: one for each of its threads, kept between labels."""

import threading
import time
from pathlib import Path

from ase_bmdal.labelling.failure import Failure
from ase_bmdal.labelling.outcome import ComputedLabel, NotFinished
from ase_bmdal.labelling.task import LabelTask
from ase_bmdal.labelling.worker.child import LOG
from ase_bmdal.labelling.worker.guard import GRACE
from ase_bmdal.labelling.worker.process import CalculationEnded, LabelProcess


class _OfThisThread(threading.local):
    process: LabelProcess | None = None
    serves: tuple[str, str] = ("", "")


_mine = _OfThisThread()
_processes: dict[str, set[LabelProcess]] = {}
_processes_lock = threading.Lock()


def label_in_child(task: LabelTask, scratch: Path) -> ComputedLabel | Failure:
    """Label a structure in the child process of this thread.

    Parameters
    ----------
    task
        Structure, reference and limits.
    scratch
        Existing folder to work in.

    Returns
    -------
    ComputedLabel or Failure
        What the calculation came to, not checked.

    Raises
    ------
    NotFinished
        If the label is not wanted any more, the child was asked to end from outside, or it does not come up.
    """
    try:
        process = _process_for(task, scratch)
        return process.ask(
            task.atoms, task.wants_stress, scratch, task.settings.timeout, task.lease.is_wanted
        )
    except CalculationEnded as end:
        _end_process()
        # Its process may have been ended by the labeller, as it is not wanted any more.
        if not task.lease.is_wanted():
            raise NotFinished(str(end)) from None
        return Failure(type(end).__name__, str(end))
    except BaseException:
        _end_process()
        raise


def _process_for(task: LabelTask, scratch: Path) -> LabelProcess:
    wanted = (task.owner, task.reference.digest)
    if _mine.process is not None and _mine.serves == wanted and _mine.process.is_alive():
        return _mine.process
    _end_process()
    try:
        _mine.process, _mine.serves = LabelProcess(scratch / LOG, task.settings), wanted
        with _processes_lock:
            _processes.setdefault(task.owner, set()).add(_mine.process)
        _mine.process.load(task.reference, task.settings.timeout, task.lease.is_wanted)
    except (CalculationEnded, OSError) as error:
        why = "cannot start the process of a calculation: " if task.lease.is_wanted() else ""
        raise NotFinished(f"{why}{error}") from None
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
