"""The acquisitions of the paper, a selection method with a kernel, under their names there: "LCMD + FEAT(RP)"."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_bmdal.acquisition.kernel import Kernel
from ase_bmdal.acquisition.registry import KERNELS
from ase_bmdal.selection import METHODS, select

KERNELS_OF = {
    "MAXDIAG": ("RND", "AE(E)", "AE(F)", "QBC(E)", "QBC(F)", "GP(LL)", "GP(RP)"),
    "MAXDET": ("GP(LL)", "GP(RP)"),
    "MAXDIST": ("GP(LL)", "GP(RP)", "FEAT(LL)", "FEAT(RP)"),
    "LCMD": ("FEAT(LL)", "FEAT(RP)"),
}
COMBINATIONS = tuple(f"{method} + {kernel}" for method, kernels in KERNELS_OF.items() for kernel in kernels)
COMMITTEE = 3  # models of the paper's ensembles


@dataclass(frozen=True)
class Acquisition:
    """One of the fifteen combinations of the paper (Section 4).

    Parameters
    ----------
    kernel
        Kernel; see `KERNELS`.
    method
        Selection method, for example ``"LCMD"``.

    Raises
    ------
    ValueError
        If the paper does not have this combination.
    """

    kernel: Kernel
    method: str

    def __post_init__(self) -> None:
        if str(self) not in COMBINATIONS:
            raise ValueError(_unknown(str(self)))

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name, whatever its spaces and its case.

        Parameters
        ----------
        name
            For example ``"LCMD + FEAT(RP)"``.

        Returns
        -------
        Acquisition
            Its `str` is the name as the paper writes it.

        Raises
        ------
        ValueError
            If the paper does not have this combination.
        """
        method, _, kernel = "".join(name.split()).upper().partition("+")
        if f"{method} + {kernel}" not in COMBINATIONS:
            raise ValueError(_unknown(name))
        return cls(KERNELS[kernel], method)

    def __str__(self) -> str:
        return f"{self.method} + {self.kernel.name}"

    @property
    def n_models(self) -> int:
        """Networks that the paper trains for it."""
        return COMMITTEE if self.kernel.needs_committee else 1

    def select(self, n: int, *, pool: ArrayLike, known: ArrayLike | None = None) -> NDArray[np.int64]:
        """Pick structures from a pool that the kernel has described.

        Parameters
        ----------
        n
            Structures to pick.
        pool : [n_pool, n_features] or [n_pool]
            Features of the pool; for a diagonal kernel its diagonal.
        known : [n_known, n_features]
            Features of the training set; may be empty. Diagonal kernels do without.

        Returns
        -------
        array : [n]
            Indices into the pool, in the order picked.

        Raises
        ------
        ValueError
            If a GP kernel comes without training features, or the arrays do not fit; see `selection.select`.
        """
        if self.kernel.is_diagonal:
            if np.ndim(pool) != 1:
                raise ValueError(f"pool: expected one number per structure, got shape {np.shape(pool)}")
            return select(self.method, pool, n)
        if known is None:
            raise ValueError(f"known: expected features of the training set for {self}, got none")
        features, centres = self.kernel.given(np.asarray(pool), np.asarray(known))
        return select(self.method, features, n, train=centres if METHODS[self.method].takes_train else None)


def _unknown(name: str) -> str:
    return f"combination: expected one of {', '.join(COMBINATIONS)}; got {name!r}"
