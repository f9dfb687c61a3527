"""The journal of a run: one JSON object a line for everything that happened, appended and never changed."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ase_bmdal.common.errors import RunFolderError
from ase_bmdal.run.events import (
    Arrived,
    BaselineCompared,
    Cause,
    Event,
    LearningEnded,
    Rewound,
    Round,
    SimulationEnded,
    TakenOver,
)

log = logging.getLogger(__name__)

NAME = "journal.jsonl"
FORMER = "rounds.jsonl"  # the log of rounds that runs had before
KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (Arrived, TakenOver, Round, BaselineCompared, LearningEnded, Rewound, SimulationEnded)
}


def append(folder: Path, event: Event) -> None:
    """Add an event with the time, if it is of a kind that is kept.

    Raises
    ------
    OSError
        If it cannot be written; what was written before stays.
    """
    if type(event).__name__ not in KINDS:
        return
    line = {"event": type(event).__name__, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    _append(folder / NAME, json.dumps(line | asdict(event)))


def read(folder: Path) -> list[Event]:
    """Events of a run, oldest first; of a run that was begun before there were journals, its rounds.

    A line that a kill left unfinished is passed over, and so is what a newer version has written; a cause that only
    that version knows is an unknown one.

    Raises
    ------
    RunFolderError
        If the journal cannot be read.
    """
    return [*_events(folder / FORMER, {"event": Round.__name__}), *_events(folder / NAME)]


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, ("\n" * is_torn + line + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _events(path: Path, common: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Event]:
    """Events of a file whose lines say what is not common to them."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(content.splitlines(), 1):
        try:
            event = _event({**common, **dict(json.loads(line))})
        except (ValueError, TypeError) as error:
            log.warning("%s, line %d is unfinished or damaged: %s", path, number, error)
            continue
        if event is not None:
            yield event


def _event(line: dict[str, Any]) -> Event | None:
    kind = KINDS.get(line.get("event", ""))
    if kind is None:
        return None
    known = {field.name for field in fields(kind)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in line.items()
        if name in known
    }
    return kind(**values | ({"cause": _cause(values["cause"])} if "cause" in values else {}))


def _cause(text: Any) -> Cause:
    """The cause of that name; unknown if a newer version has one more."""
    return Cause(text) if text in list(Cause) else Cause.UNKNOWN
