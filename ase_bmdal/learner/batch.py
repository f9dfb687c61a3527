"""A batch that is being labelled: chosen from frames, and what replaces those whose calculation fails."""

from collections.abc import Sequence

from ase_bmdal.acquisition.ranking import Ranking
from ase_bmdal.learner.pool import Frame
from ase_bmdal.run.events import Cause

SPARE = 2  # failures in a row that are not yet taken for a reference that always fails


class Batch:
    """Frames to choose from, and what was chosen so far.

    Parameters
    ----------
    frames
        Those that are labelled in any case come first, the newest of them last.
    n_required
        Number of these.
    ranking
        What a kernel says of the frames, in their order.
    wanted
        Number of labels.
    round
        Number of the round.
    cause, reason
        Why it is due, and the same in words.
    walker
        Name of the simulation that it is due for.
    n_pool
        Number of frames it was chosen from, before those that make no sense were left out.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        n_required: int,
        ranking: Ranking,
        wanted: int,
        *,
        round: int,
        cause: Cause,
        reason: str,
        walker: str,
        n_pool: int,
    ) -> None:
        self.frames, self._n_required, self._ranking, self._wanted = frames, n_required, ranking, wanted
        self.round, self.cause, self.reason, self.walker, self.n_pool = round, cause, reason, walker, n_pool
        self._limit = wanted + max(wanted, SPARE)
        self._tried: list[int] = []
        self._labelled: list[int] = []
        self._waiting: dict[int, int] = {}  # id of an entry: its frame

    def next(self) -> list[int]:
        """Indices of the frames to label next: the batch to begin with, later the next best for what failed.

        Until as many again as are wanted have been tried, or `SPARE` and one more have failed without a single label.
        """
        known = [*self._labelled, *self._waiting.values()]
        n = min(self._wanted - len(known), self._limit - len(self._tried))
        if n <= 0 or (len(self._tried) - len(known) > SPARE and not self._labelled):
            return []
        first = [] if self._tried else list(range(self._n_required))[-n:]
        others = self._ranking.best(n - len(first), tried=self._tried + first, labelled=known + first)
        self._tried += [*first, *others]
        return [*first, *others]

    def wait_for(self, ids: Sequence[int], frames: Sequence[int]) -> None:
        """Take note of the entries of some frames."""
        self._waiting.update(zip(ids, frames, strict=True))

    def told(self, id: int, *, is_done: bool) -> None:
        """Take note of an outcome."""
        index = self._waiting.pop(id, None)
        if is_done and index is not None:
            self._labelled.append(index)

    def holds(self, id: int) -> bool:
        """Whether the outcome of an entry is missing."""
        return id in self._waiting

    @property
    def is_waiting(self) -> bool:
        """Whether outcomes are missing."""
        return bool(self._waiting)
