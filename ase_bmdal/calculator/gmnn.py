"""A trained potential as an ASE calculator."""

from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_bmdal.calculator.results import PROPERTIES, changes_between, results_of
from ase_bmdal.learner.loading import load_model
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.moving import SKIN, MovingStructure
from ase_bmdal.potential.settings import Precision


class GMNNCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces and stress of a fixed potential.

    Parameters
    ----------
    model
        A saved model, a run folder, whose newest potential is taken, or a potential.
    skin
        Verlet skin of the neighbour list, Å; changes speed, never results.
    dtype
        Precision of the predictions; None takes that of the model. Line searches, phonons and other finite differences
        want ``"float64"``, which takes twice as long or more.

    Raises
    ------
    ModelError
        If there is no model, or none that this version can read.
    ValueError
        If there is no such precision.

    Examples
    --------
    >>> atoms.calc = GMNNCalculator("ethanol")  # doctest: +SKIP
    """

    implemented_properties = PROPERTIES

    def __init__(
        self, model: str | Path | Potential, *, skin: float = SKIN, dtype: Precision | None = None
    ) -> None:
        super().__init__()
        found = load_model(model) if isinstance(model, str | Path) else model
        self.model = found.with_dtype(dtype) if dtype else found
        self._moving = MovingStructure(skin)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Predict everything at once; called by ASE.

        Raises
        ------
        UnknownElementError
            If the potential does not know an element.
        PredictionError, ValueError
            If the prediction, or a position, is not a number.
        """
        super().calculate(atoms, properties, system_changes)
        label, raw, _ = self._moving.predict(self.model, self.atoms)
        self.results = results_of(label, raw, self.model.uncertainty, self.atoms)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last prediction."""
        return changes_between(self.atoms, atoms)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model})"

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or another process needs: all but the neighbours of the last structure."""
        return {**self.__dict__, "_moving": self._moving.empty()}
