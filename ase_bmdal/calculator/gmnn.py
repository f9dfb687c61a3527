"""A trained potential as an ASE calculator."""

from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_bmdal.baseline.baseline import OneOrMore
from ase_bmdal.calculator.results import PROPERTIES, changes_between, results_of
from ase_bmdal.learner.loading import read_potential
from ase_bmdal.potential.evaluator import SKIN, Evaluator, refuse_if_not_finite
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.settings import Precision
from ase_bmdal.potential.with_baseline import WithBaseline, network_of, with_baseline
from ase_bmdal.uncertainty.error_model import ErrorModel


class GMNNCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces and stress of a fixed potential.

    Parameters
    ----------
    model
        A saved model, a run folder, whose newest potential is taken, or a potential.
    baseline
        Function, class or `functools.partial` that makes the calculator of the method that `model` was trained on the
        difference to; None for none, or that of the potential. Known again by its result for one structure.
    error_model
        Gives bounds on the errors; None takes what is saved with the model, if anything is.
    skin
        Verlet skin of the neighbour list, Å; changes speed, never results.
    dtype
        Precision of the predictions; None takes that of the model. Line searches, phonons and other finite differences
        want ``"float64"``, which takes twice as long or more.

    Raises
    ------
    ModelError
        If there is no model, or none that this version can read; if it needs a baseline, or another one.
    ValueError
        If there is no such precision.

    Examples
    --------
    >>> atoms.calc = GMNNCalculator("ethanol")  # doctest: +SKIP
    """

    implemented_properties = PROPERTIES

    def __init__(
        self,
        model: str | Path | Potential | WithBaseline,
        *,
        baseline: OneOrMore | None = None,
        error_model: ErrorModel | None = None,
        skin: float = SKIN,
        dtype: Precision | None = None,
    ) -> None:
        super().__init__()
        saved = None
        if isinstance(model, str | Path):
            model, saved, _ = read_potential(model)
        whole = with_baseline(model, baseline)
        self.model = whole.with_dtype(dtype) if dtype else whole
        self.error_model = error_model or saved
        self._evaluator = Evaluator(skin)

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
        BaselineError
            If the baseline gives no result.
        PredictionError, ValueError
            If the prediction, or a position, is not a number.
        """
        if atoms is not None:
            self.atoms = atoms.copy()  # all that ASE's own does besides looking for a folder on the disk
        errors = self.error_model
        found = self._evaluator.predict(
            network_of(self.model), self.atoms, errors.posterior if errors else None
        )
        refuse_if_not_finite(found.label, self.atoms)
        label = found.label
        if isinstance(self.model, WithBaseline):
            label = label.plus(self.model.baseline.label(self.atoms))
        self.results = results_of(label, errors.bounds(found.uncertainty) if errors else None)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last prediction."""
        return changes_between(self.atoms, atoms)

    def __repr__(self) -> str:
        bounds = ", with bounds" if self.error_model and self.error_model.is_calibrated else ""
        return f"{type(self).__name__}({self.model}{bounds})"

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or another process needs: all but the neighbours of the last structure."""
        return {**self.__dict__, "_evaluator": self._evaluator.empty()}
