"""Events for a reader: a line for each round, and at a terminal what goes on in between."""

from typing import TextIO

from ase_bmdal.common.terminal import StatusLines
from ase_bmdal.learner.events import Ended, Event, Finished, Labelling, Rewound, Round, Training

HEADER = "round  labels  failed  force MAE before training  select    label    train"


class Console:
    """Writes events to a stream.

    Parameters
    ----------
    stream
        Progress within a round is shown only if it is a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._lines = StatusLines(stream)
        self._has_header = False

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Round):
            self._show_round(event)
        elif isinstance(event, Finished):
            self._lines.line(f"learning has ended: {event.reason}")
        elif isinstance(event, Rewound):
            self._lines.line(f"step {event.from_step} back to step {event.to_step}: {event.reason}")
        elif isinstance(event, Ended):
            self._lines.line(_summary(event))
        elif isinstance(event, Labelling):
            self._lines.status(
                f"round {event.round}: labelled {event.finished} of {event.of}, {event.failed} failed"
            )
        elif isinstance(event, Training):
            self._lines.status(
                f"round {event.round}: epoch {event.epoch} of {event.of}, loss {event.train_loss:.4g}"
            )

    def _show_round(self, event: Round) -> None:
        if not self._has_header:
            self._lines.line(HEADER)
            self._has_header = True
        error = "—" if event.force_mae is None else f"{1000 * event.force_mae:.0f} meV/Å"
        self._lines.line(
            f"{event.round:5d}  {event.labels:6d}  {event.failed:6d}  {error:>25}  "
            f"{event.select_seconds:5.1f}s  {event.label_seconds:6.1f}s  {event.train_seconds:6.1f}s"
        )


def _summary(event: Ended) -> str:
    parts = [f"{event.reason}: {event.steps} steps, {event.rewinds} rewinds, {event.labels} labels"]
    if event.force_mae is not None:
        parts.append(f"expected force MAE {1000 * event.force_mae:.0f} meV/Å at most")
    if event.coverage is not None:
        parts.append(f"{event.coverage:.0%} of the last errors within their bounds")
    return ", ".join(parts)
