"""AE(E), AE(F): true errors of the prediction (paper, eq. 24), where labels are known already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from ase_bmdal.acquisition.kernel import Floats, Kernel
from ase_bmdal.kernels import absolute_error_energy, absolute_error_forces
from ase_bmdal.structures.labels import labels_of

if TYPE_CHECKING:
    from ase_bmdal.potential.gmnn import Potential


class AbsoluteErrorEnergy(Kernel):
    """AE(E)."""

    name = "AE(E)"
    needs_labels = True

    def evaluate(self, potential: Potential, structures: Sequence[Atoms], *, seed: int, draw: int) -> Floats:
        """Error of each energy, eV; see `Kernel.evaluate`."""
        predicted, labels = potential.predict(structures), labels_of(structures)
        return absolute_error_energy(
            [label.energy for label in labels], [label.energy for label in predicted]
        )


class AbsoluteErrorForces(Kernel):
    """AE(F)."""

    name = "AE(F)"
    needs_labels = True

    def evaluate(self, potential: Potential, structures: Sequence[Atoms], *, seed: int, draw: int) -> Floats:
        """Mean error of the force components of each structure, eV/Å; see `Kernel.evaluate`."""
        predicted, labels = potential.predict(structures), labels_of(structures)
        return absolute_error_forces(
            [label.forces_for(self.name) for label in labels],
            [label.forces_for(self.name) for label in predicted],
        )
