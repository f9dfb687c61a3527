"""The combinations of selection method and kernel under the names of the paper: "LCMD + FEAT(RP)"."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_bmdal.kernels import GPPosterior
from ase_bmdal.selection import select

KERNELS = {
    "MAXDIAG": ("RND", "AE(E)", "AE(F)", "QBC(E)", "QBC(F)", "GP(LL)", "GP(RP)"),
    "MAXDET": ("GP(LL)", "GP(RP)"),
    "MAXDIST": ("GP(LL)", "GP(RP)", "FEAT(LL)", "FEAT(RP)"),
    "LCMD": ("FEAT(LL)", "FEAT(RP)"),
}
COMBINATIONS = tuple(f"{method} + {kernel}" for method, kernels in KERNELS.items() for kernel in kernels)
COMMITTEE = 3  # models of the paper's ensembles


@dataclass(frozen=True)
class Combination:
    """One of the fifteen combinations of the paper (Section 4).

    Parameters
    ----------
    method
        Selection method, for example ``"LCMD"``.
    kernel
        Kernel, for example ``"FEAT(RP)"``.

    Raises
    ------
    ValueError
        If the paper does not have this combination.
    """

    method: str
    kernel: str

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
        Combination
            Its `str` is the name as the paper writes it.

        Raises
        ------
        ValueError
            If the paper does not have this combination.
        """
        method, _, kernel = "".join(name.split()).upper().partition("+")
        try:
            return cls(method, kernel)
        except ValueError:
            raise ValueError(_unknown(name)) from None

    def __str__(self) -> str:
        return f"{self.method} + {self.kernel}"

    @property
    def feature(self) -> Literal["LL", "RP"] | None:
        """Feature map that the kernel is built on: last layer, random projections, or none."""
        if self.kernel.endswith("(LL)"):
            return "LL"
        return "RP" if self.kernel.endswith("(RP)") else None

    @property
    def posterior(self) -> bool:
        """Whether the kernel is conditioned on the training set by a Gaussian process."""
        return self.kernel.startswith("GP")

    @property
    def n_models(self) -> int:
        """Models that have to be trained."""
        return COMMITTEE if self.kernel.startswith("QBC") else 1

    @property
    def needs_labels(self) -> bool:
        """Whether the pool has to be labelled already: offline benchmarks only."""
        return self.kernel.startswith("AE")


def _unknown(name: str) -> str:
    return f"combination: expected one of {', '.join(COMBINATIONS)}; got {name!r}"


def pick(
    combination: Combination, n: int, *, pool: ArrayLike, train: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Pick structures from a pool.

    Parameters
    ----------
    combination
        What to select by.
    n
        Structures to pick.
    pool : [n_pool, n_features] or [n_pool]
        Base features of the pool, of the map that the combination names; if it names none, the diagonal kernel.
    train : [n_train, n_features]
        Base features of the training set, by the same map. Diagonal kernels do without.

    Returns
    -------
    array : [n]
        Indices into the pool, in the order picked.

    Raises
    ------
    ValueError
        If a GP kernel comes without training features, or the arrays do not fit; see `select`.
    """
    if combination.feature is None and np.ndim(pool) != 1:
        raise ValueError(f"pool: expected one number per structure, got shape {np.shape(pool)}")
    measures_distances = combination.method in ("MAXDIST", "LCMD")
    centres = train if measures_distances else None
    if combination.posterior:
        if train is None:
            raise ValueError(f"train: expected features, which {combination} is conditioned on, got none")
        posterior = GPPosterior(train)
        pool = posterior(pool)
        centres = posterior(train) if measures_distances else None
    return select(combination.method, pool, n, train=centres)
