"""The pool: frames of the simulation that may become training data."""

from ase import Atoms

from ase_bmdal.structures.bare import bare_copy


class Pool:
    """Every n-th frame it is offered, up to a limit.

    Parameters
    ----------
    size
        Number of frames that makes it full; what comes after is not taken.
    interval
        Take one frame of so many.
    """

    def __init__(self, size: int, interval: int = 1) -> None:
        if size < 1 or interval < 1:
            raise ValueError(f"expected a size and an interval of at least 1, got {size} and {interval}")
        self._size, self._interval = size, interval
        self._offered = 0
        self.frames: list[Atoms] = []

    @property
    def is_full(self) -> bool:
        """Whether a round is due."""
        return len(self.frames) >= self._size

    def offer(self, atoms: Atoms) -> bool:
        """Take a copy of the frame if it is its turn and there is room; say whether it was taken."""
        self._offered += 1
        if self.is_full or self._offered % self._interval:
            return False
        self.frames.append(bare_copy(atoms))
        return True

    def clear(self) -> None:
        """Start anew."""
        self.frames = []
