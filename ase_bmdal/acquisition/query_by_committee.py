"""QBC(E), QBC(F): spread of the predictions of a committee (paper, eq. 25)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from ase_bmdal.acquisition.kernel import Floats, Kernel
from ase_bmdal.kernels import query_by_committee_energy, query_by_committee_forces

if TYPE_CHECKING:
    from ase_bmdal.potential.gmnn import Potential


class QueryByCommitteeEnergy(Kernel):
    """QBC(E)."""

    name = "QBC(E)"
    needs_committee = True

    def evaluate(self, potential: Potential, structures: Sequence[Atoms], *, seed: int, draw: int) -> Floats:
        """Spread of the energy of each structure, eV; see `Kernel.evaluate`."""
        each = [member.predict(structures) for member in potential.members]
        return query_by_committee_energy([[label.energy for label in labels] for labels in each])


class QueryByCommitteeForces(Kernel):
    """QBC(F)."""

    name = "QBC(F)"
    needs_committee = True

    def evaluate(self, potential: Potential, structures: Sequence[Atoms], *, seed: int, draw: int) -> Floats:
        """Spread of the forces on each structure, eV/Å; see `Kernel.evaluate`."""
        each = zip(*(member.predict(structures) for member in potential.members), strict=True)
        return query_by_committee_forces([[label.forces_for(self.name) for label in one] for one in each])
