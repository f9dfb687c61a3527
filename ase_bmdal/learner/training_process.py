"""Trainings in a process of their own, one after the other; it is started for the first and ends with its parent."""

import contextlib
import logging
import os
import select
import tempfile
import time
from collections.abc import Callable
from threading import Lock, Thread
from typing import IO, Any, Protocol

from ase_bmdal.common.errors import TrainingError
from ase_bmdal.labelling.worker.environment import THREADS, clean_environment
from ase_bmdal.labelling.worker.guard import end_session
from ase_bmdal.labelling.worker.last_words import how_it_ended, last_words
from ase_bmdal.labelling.worker.messages import packed, receive, send, write
from ase_bmdal.labelling.worker.start import Child, start_child
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.learner.training import PotentialTrainer, TrainingJob, TrainingResult
from ase_bmdal.run.events import EpochDone, Event, Listener
from ase_bmdal.run.store import Entry

log = logging.getLogger(__name__)

THREADS_OF_TENSORFLOW = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
GRACE = 0.5  # seconds to end in; it holds nothing that could be lost
BETWEEN_EPOCHS = 0.5  # seconds at least between two reports, which nobody may read for long


class Trainings(Protocol):
    """Where the trainings of a background loop are carried out, one at a time."""

    def start(self, job: TrainingJob) -> None:
        """Begin a training."""

    def poll(self) -> TrainingResult | None:
        """What it gave, once it has ended; raises what it raised. Never waits."""

    def close(self) -> None:
        """Give up what is not finished; may be used again."""


class TrainingProcess:
    """A process for trainings, with so many threads.

    Parameters
    ----------
    settings
        Of the run; ``background.training_threads`` is used here.
    report
        Called with epochs, at most twice a second, in `poll`.
    """

    def __init__(self, settings: LearnerSettings, report: Listener) -> None:
        self._settings, self._report = settings, report
        self._child: Child | None = None
        self._known: set[int] = set()  # labels that the process has
        self._output: IO[bytes] | None = None
        self._ending, self._tail = Lock(), ""

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._child.popen.pid if self._child else None

    def start(self, job: TrainingJob) -> None:
        """Have the process begin a training.

        Raises
        ------
        TrainingError
            If it cannot be started.
        """
        content = b"" if self._child else packed(self._settings)
        try:
            child = self._child = self._child or self._start()
        except OSError as error:
            raise self._gone(f"cannot be started: {error}") from error
        ids = [entry.id for entry in job.entries]
        new = [entry for entry in job.entries if entry.id not in self._known]
        self._known.update(ids)
        content += packed((job._replace(entries=new), ids))
        # In a thread, for a pipe takes no more than a little before the process has come up; with a descriptor of its
        # own, which is nobody else's when the process is ended meanwhile.
        Thread(target=_write, args=(os.dup(child.pipe.fileno()), content), daemon=True).start()

    def poll(self) -> TrainingResult | None:
        """What the training gave; None while it goes on, and if there is none.

        Raises
        ------
        TrainingError
            If the process has ended.
        Exception
            What the training raised.
        """
        while self._child is not None and _has_message(self._child.pipe.fileno()):
            try:
                kind, content = receive(self._child.pipe.fileno())
            except (EOFError, OSError):
                raise self._gone("") from None
            if kind == "result":
                return content  # type: ignore[no-any-return]
            self._handle(kind, content)
        return None

    def close(self) -> None:
        """End the process, with a training that is under way."""
        with self._ending:
            child, self._child, self._known = self._child, None, set()
            if child is None:
                return
            end_session(child.popen.pid, GRACE)
            child.popen.wait()
            os.close(child.parent_pipe)
            child.pipe.close()
            self._tail = self._last_words()

    def _last_words(self) -> str:
        output, self._output = self._output, None
        if output is None:
            return ""
        with output:
            output.seek(0)
            return last_words(output.read())

    def _start(self) -> Child:
        threads = str(self._settings.background.training_threads)
        wanted: dict[str, str | None] = dict.fromkeys((*THREADS, *THREADS_OF_TENSORFLOW), threads)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        return start_child(__name__, clean_environment(os.environ, wanted), self._output)

    def _handle(self, kind: str, content: Any) -> None:
        if kind == "error":
            raise content
        if kind == "event":
            self._report(content)
        else:
            log.log(*content)

    def _gone(self, why: str) -> TrainingError:
        popen = self._child.popen if self._child else None
        self.close()
        code = popen.returncode if popen else None
        how = why or "has ended" + (f": {how_it_ended(code)}" if code is not None else "")
        return TrainingError(
            f"the training process {how}; the labels are kept, and the next training is tried anew{self._tail}"
        )


def _write(descriptor: int, content: bytes) -> None:
    try:
        with contextlib.suppress(OSError):  # the process is gone, as `poll` finds out
            write(descriptor, content)
    finally:
        os.close(descriptor)


def _has_message(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def main(pipe: int) -> None:
    """Carry out one training after the other, until the pipe closes.

    Parameters
    ----------
    pipe
        Descriptor of this end of it.
    """
    logging.getLogger("ase_bmdal").addHandler(_ToParent(pipe))
    with contextlib.suppress(EOFError, BrokenPipeError):
        serve(pipe, PotentialTrainer(receive(pipe), _reporter(pipe)))


def serve(pipe: int, trainer: PotentialTrainer) -> None:
    """Answer each training that comes over a pipe with its result, or with what it raised."""
    known: dict[int, Entry] = {}
    while True:
        job, ids = receive(pipe)
        known |= {entry.id: entry for entry in job.entries}
        job = job._replace(entries=[known[id] for id in ids])
        try:
            answer = "result", trainer.described(trainer.carry_out(job), job)
        except Exception as error:
            _send_error(pipe, error)
        else:
            send(pipe, answer)


def _send_error(pipe: int, error: Exception) -> None:
    try:
        send(pipe, ("error", error))
    except (TypeError, AttributeError, ValueError):  # cannot be pickled
        send(pipe, ("error", TrainingError(f"{type(error).__name__}: {error}")))


def _reporter(pipe: int) -> Callable[[Event], None]:
    last = 0.0

    def report(event: Event) -> None:
        nonlocal last
        is_last = isinstance(event, EpochDone) and event.epoch == event.of
        if is_last or time.monotonic() - last > BETWEEN_EPOCHS:
            last = time.monotonic()
            send(pipe, ("event", event))

    return report


class _ToParent(logging.Handler):
    def __init__(self, pipe: int) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        send(self._pipe, ("log", (record.levelno, "%s", record.getMessage())))
