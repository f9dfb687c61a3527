"""Mean absolute and root-mean-square deviation: the one place where errors are averaged."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Deviation"]


@dataclass(frozen=True)
class Deviation:
    """Mean absolute and root-mean-square deviation of many numbers, in their unit."""

    mae: float
    rmse: float

    @staticmethod
    def of(differences: ArrayLike) -> "Deviation":
        """Average over all entries, such as the components of forces.

        Parameters
        ----------
        differences
            Predicted minus reference, of any shape, at least one.
        """
        each = np.asarray(differences, np.float64)
        return Deviation(float(np.mean(np.abs(each))), float(np.sqrt(np.mean(each**2))))

    @staticmethod
    def between(found: Iterable[ArrayLike], expected: Iterable[ArrayLike]) -> "Deviation":
        """Average over all entries of several arrays, such as the forces of structures of any size.

        Parameters
        ----------
        found, expected
            Arrays of the same shapes, at least one.
        """
        pairs = zip(found, expected, strict=True)
        return Deviation.of(np.concatenate([np.ravel(np.subtract(one, other)) for one, other in pairs]))
