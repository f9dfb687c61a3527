"""Features of structures that are known or in flight, computed once for each potential."""

from collections.abc import Sequence

import numpy as np

from ase_bmdal.acquisition.kernel import Floats, Kernel
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.run.store import Entry


def known_features(kernel: Kernel, potential: Potential, entries: Sequence[Entry], seed: int) -> Floats:
    """Features of entries, at least one, [n_entries, n_features], by a kernel that is no diagonal one."""
    return kernel.evaluate(potential, [entry.atoms for entry in entries], seed=seed, draw=0)


class KnownFeatures:
    """Features by a kernel, kept until there is another potential.

    Parameters
    ----------
    kernel
        Of the selection; no diagonal one.
    seed
        Of the run.
    """

    def __init__(self, kernel: Kernel, seed: int) -> None:
        self._kernel, self._seed = kernel, seed
        self._generation = -1
        self._rows: dict[int, int] = {}  # of an entry, by its number
        self._features: Floats = np.empty((0, 0))

    def take(self, ids: Sequence[int], features: Floats, generation: int) -> None:
        """Take over what was computed where the potential was trained.

        Parameters
        ----------
        ids
            Numbers of entries.
        features : [n_entries, n_features]
            Theirs.
        generation
            Of the potential.
        """
        self._generation, self._features = generation, features
        self._rows = {id: row for row, id in enumerate(ids)}

    def of(self, entries: Sequence[Entry], potential: Potential, generation: int) -> Floats:
        """Features of entries, at least one, [n_entries, n_features].

        Parameters
        ----------
        entries
            Structures.
        potential, generation
            The present potential, and a number that no other has.
        """
        if generation != self._generation:
            self._generation, self._rows = generation, {}
        new = [entry for entry in entries if entry.id not in self._rows]
        if new:
            found = known_features(self._kernel, potential, new, self._seed)
            self._features = np.concatenate([self._features, found]) if self._rows else found
            self._rows |= {entry.id: len(self._rows) + place for place, entry in enumerate(new)}
        return self._features[[self._rows[entry.id] for entry in entries]]
