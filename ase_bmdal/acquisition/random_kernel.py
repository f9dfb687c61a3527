"""RND: random numbers, so that selection by them is random selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from ase_bmdal.acquisition.kernel import Floats, Kernel
from ase_bmdal.common.randomness import stream
from ase_bmdal.kernels import random_diagonal

if TYPE_CHECKING:
    from ase_bmdal.potential.gmnn import Potential


class RandomKernel(Kernel):
    """RND; depends on nothing but the seed and the draw."""

    name = "RND"

    def evaluate(self, potential: Potential, structures: Sequence[Atoms], *, seed: int, draw: int) -> Floats:
        """One random number per structure; see `Kernel.evaluate`."""
        return random_diagonal(len(structures), stream(seed, "random selection", draw))
