"""The pool: frames of simulations that may become training data."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ase import Atoms


class Frame(NamedTuple):
    """A structure that a simulation visited; never changes.

    Attributes
    ----------
    atoms
        The structure, without a calculator.
    walker
        Name of the simulation; empty if it has none.
    """

    atoms: Atoms
    walker: str = ""


class Pool:
    """Frames up to a limit.

    The first rounds come early, before a young potential has led the simulation astray: the pool is full
    with `first` frames to begin with, and with twice as many after each round, up to `size`.

    Parameters
    ----------
    size
        Number of frames that makes it full in the end; what comes after is not taken.
    first
        Number of frames that makes it full before the first round.

    Raises
    ------
    ValueError
        If a number is below 1.
    """

    def __init__(self, size: int, first: int) -> None:
        if size < 1 or first < 1:
            raise ValueError(f"expected sizes of at least 1, got {size} and {first}")
        self._size, self._first = size, first
        self.frames: list[Frame] = []
        self._seen = 0

    def capacity(self, n_rounds: int) -> int:
        """Number of frames that makes it full after so many rounds, whichever process did them."""
        return min(self._size, self._first << n_rounds)

    def is_full(self, n_rounds: int) -> bool:
        """Whether a round is due, after so many."""
        return len(self.frames) >= self.capacity(n_rounds)

    def offer(self, frame: Frame, n_rounds: int) -> bool:
        """Take a frame if there is room; say whether it was taken."""
        if self.is_full(n_rounds):
            return False
        self.frames.append(frame)
        self._seen += 1
        return True

    def replace(self, frame: Callable[[], Frame], rng: np.random.Generator) -> None:
        """Take a frame that comes after the pool was full, so that all there were have the same chance to be in it."""
        self._seen += 1
        place = int(rng.integers(self._seen))
        if place < len(self.frames):
            self.frames[place] = frame()

    def empty(self) -> list[Frame]:
        """Hand out all frames and forget them."""
        frames = self.frames
        self.frames, self._seen = [], 0
        return frames
