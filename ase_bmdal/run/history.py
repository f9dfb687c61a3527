"""What became of a run, read from its journal: the one view that console, report, figures and tests share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ase_bmdal.run import journal
from ase_bmdal.run.events import (
    Arrived,
    BaselineCompared,
    Cause,
    Event,
    LearningEnded,
    Rewound,
    Round,
    SimulationEnded,
)


@dataclass(frozen=True)
class History:
    """Events of a run.

    Attributes
    ----------
    events
        Oldest first.
    """

    events: tuple[Event, ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """History of a run folder.

        Raises
        ------
        RunFolderError
            If its journal cannot be read.
        """
        return cls(tuple(journal.read(folder)))

    @property
    def rounds(self) -> list[Round]:
        """Rounds in their order; of one that was done again, as after a kill or with other settings, the last."""
        by_number = {event.round: event for event in self.events if isinstance(event, Round)}
        return [by_number[number] for number in sorted(by_number)]

    @property
    def arrivals(self) -> list[Arrived]:
        """What came to simulations that did not wait for it."""
        return [event for event in self.events if isinstance(event, Arrived)]

    @property
    def rewinds(self) -> list[Rewound]:
        """How often simulations went back, and why."""
        return [event for event in self.events if isinstance(event, Rewound)]

    @property
    def simulations(self) -> list[SimulationEnded]:
        """Simulations that have ended."""
        return [event for event in self.events if isinstance(event, SimulationEnded)]

    @property
    def end(self) -> LearningEnded | None:
        """Why learning ended the last time; None if it has not."""
        return next((event for event in reversed(self.events) if isinstance(event, LearningEnded)), None)

    @property
    def baseline(self) -> BaselineCompared | None:
        """What the first labels say of the baseline; None if there is none."""
        return next((event for event in reversed(self.events) if isinstance(event, BaselineCompared)), None)

    def rounds_by_cause(self) -> dict[Cause, int]:
        """Number of rounds for each cause that there was."""
        causes = [each.cause for each in self.rounds]
        return {cause: causes.count(cause) for cause in Cause if cause in causes}
