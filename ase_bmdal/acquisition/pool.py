"""The pool: frames of the simulation that may become training data."""

from ase import Atoms


class Pool:
    """Every n-th frame it is offered, up to a limit.

    The first rounds come early, before a young potential has led the simulation astray: the pool is full
    with `first` frames to begin with, and with twice as many after each round, up to `size`.

    Parameters
    ----------
    size
        Number of frames that makes it full in the end; what comes after is not taken.
    interval
        Take one frame of so many.
    first
        Number of frames that makes it full before the first round; None for `size`.
    """

    def __init__(self, size: int, interval: int = 1, first: int | None = None) -> None:
        if size < 1 or interval < 1 or (first is not None and first < 1):
            raise ValueError(
                f"expected sizes and an interval of at least 1, got {size}, {first} and {interval}"
            )
        self._size, self._interval = size, interval
        self._first = size if first is None else first
        self._offered = 0
        self.frames: list[Atoms] = []

    def capacity(self, n_rounds: int) -> int:
        """Number of frames that makes it full after so many rounds, whichever process did them."""
        return min(self._size, self._first << n_rounds)

    def is_full(self, n_rounds: int) -> bool:
        """Whether a round is due, after so many."""
        return len(self.frames) >= self.capacity(n_rounds)

    def offer(self, atoms: Atoms, n_rounds: int) -> bool:
        """Take the frame if it is its turn and there is room; say whether it was taken. It must not change any more."""
        self._offered += 1
        if self.is_full(n_rounds) or self._offered % self._interval:
            return False
        self.frames.append(atoms)
        return True

    def clear(self) -> None:
        """Forget all frames."""
        self.frames = []
