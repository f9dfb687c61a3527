"""The pool: frames of the simulation that may become training data."""

from ase import Atoms


class Pool:
    """Every n-th frame it is offered, up to a limit.

    The first rounds come early, before a young potential has led the simulation astray: the pool is full
    with `first` frames to begin with, and with twice as many each time it is emptied, up to `size`.

    Parameters
    ----------
    size
        Number of frames that makes it full in the end; what comes after is not taken.
    interval
        Take one frame of so many.
    first
        Number of frames that makes it full for the first time; None for `size`.
    """

    def __init__(self, size: int, interval: int = 1, first: int | None = None) -> None:
        if size < 1 or interval < 1 or (first is not None and first < 1):
            raise ValueError(
                f"expected sizes and an interval of at least 1, got {size}, {first} and {interval}"
            )
        self._size, self._interval = size, interval
        self._full = size if first is None else min(size, first)
        self._offered = 0
        self.frames: list[Atoms] = []

    @property
    def is_full(self) -> bool:
        """Whether a round is due."""
        return len(self.frames) >= self._full

    def offer(self, atoms: Atoms) -> bool:
        """Take the frame if it is its turn and there is room; say whether it was taken. It must not change any more."""
        self._offered += 1
        if self.is_full or self._offered % self._interval:
            return False
        self.frames.append(atoms)
        return True

    def clear(self) -> None:
        """Start anew, with room for twice as many."""
        self.frames = []
        self._full = min(self._size, 2 * self._full)
