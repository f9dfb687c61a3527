"""The calculator that learns while a simulation runs."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_bmdal.acquisition.pool import Pool
from ase_bmdal.calculator.console import Console
from ase_bmdal.calculator.gmnn import find_model
from ase_bmdal.calculator.results import PROPERTIES, results_of
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.learner.events import Listener
from ase_bmdal.learner.learner import Learner
from ase_bmdal.learner.settings import Convergence, FirstContact, LearnerSettings, Retraining
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.moving import MovingStructure
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.potential.training import architecture_for


class OnTheFlyCalculator(Calculator):  # type: ignore[misc]
    """A potential that trains itself on the structures a simulation visits.

    Predicts, collects every ``pool_interval``-th frame, and when ``pool_size`` of them are there has a diverse batch of
    them labelled by the reference and learns from it. Starting again with the same directory goes on where the last
    run ended.

    Parameters
    ----------
    reference
        Function, class or `functools.partial` that makes an ASE calculator; called without arguments, where a label
        is computed.
    directory
        Run folder: labels, potentials, log.
    cutoff
        `r_max`, Å; None takes that of `model` or `architecture`.
    selection
        One of the paper's combinations, such as ``"LCMD + FEAT(RP)"``.
    batch_size
        New labels in a round.
    pool_size
        Frames collected before a round; the first rounds come earlier, after 2, 4, 8 ... times `batch_size` frames.
    pool_interval
        Collect one frame of so many.
    initial
        Structures to learn from first, labelled or not; None lets first contact make them from the first frame.
    model
        Trained potential to begin with: the object, its file, or a run folder.
    epochs
        Of a training from scratch.
    executor
        Where labels are computed: ``"local"`` (a process for each core), ``"in-process"``, ``"mpi"``, or any
        `concurrent.futures.Executor`.
    label_timeout
        Longest time for one label, seconds; None for no limit.
    max_labels, max_rounds
        Learning ends after so many labels or rounds; None for no limit.
    seed
        Of all random numbers.
    architecture, training, retraining, first_contact, convergence, labelling
        Further settings; the arguments above override theirs.
    on_event
        Called with every `learner.events.Event`. None shows progress if standard error is a terminal.

    Raises
    ------
    ValueError
        If a setting makes no sense, or contradicts `model`.
    LabellingError
        If the reference cannot be sent to a worker.
    RunFolderError, StoreError
        If the directory cannot be used.
    """

    implemented_properties = PROPERTIES

    def __init__(
        self,
        reference: Callable[[], Any],
        directory: str | Path,
        *,
        cutoff: float | None = None,
        selection: str = "LCMD + FEAT(RP)",
        batch_size: int = 10,
        pool_size: int = 200,
        pool_interval: int = 1,
        initial: Sequence[Atoms] | None = None,
        model: str | Path | Potential | None = None,
        epochs: int | None = None,
        executor: Any = "local",
        label_timeout: float | None = None,
        max_labels: int | None = None,
        max_rounds: int | None = None,
        seed: int = 0,
        architecture: ModelSettings | None = None,
        training: TrainingSettings | None = None,
        retraining: Retraining | None = None,
        first_contact: FirstContact | None = None,
        convergence: Convergence | None = None,
        labelling: LabellingSettings | None = None,
        on_event: Listener | None = None,
    ) -> None:
        super().__init__()
        self._pool = Pool(pool_size, pool_interval, first=2 * batch_size)
        potential = find_model(Path(model)) if isinstance(model, str | Path) else model
        how, limits = training or TrainingSettings(), labelling or LabellingSettings()
        settings = LearnerSettings(
            selection=selection,
            batch_size=batch_size,
            max_labels=max_labels,
            max_rounds=max_rounds,
            seed=seed,
            architecture=architecture_for(cutoff, architecture, potential),
            training=how if epochs is None else replace(how, epochs=epochs),
            retraining=retraining or Retraining(),
            first_contact=first_contact or FirstContact(),
            convergence=convergence or Convergence(),
        )
        if batch_size > pool_size:
            raise ValueError(f"batch_size: expected at most the pool_size of {pool_size}, got {batch_size}")
        self.learner = Learner(
            reference,
            Path(directory),
            settings,
            executor=executor,
            labelling=limits if label_timeout is None else replace(limits, timeout=label_timeout),
            initial=initial,
            model=potential,
            on_event=on_event or (Console(sys.stderr) if sys.stderr.isatty() else None),
        )
        self._moving = MovingStructure()
        self._version = self.learner.version

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Predict; learn first if there is nothing to predict with, or a round is due. Called by ASE.

        Raises
        ------
        Error
            As `Learner.prepare`, `Learner.learn` and `GMNNCalculator.calculate`.
        """
        super().calculate(atoms, properties, system_changes)
        learner = self.learner
        with learner.lock:
            learner.prepare(self.atoms)
            self._predict()
            if learner.is_learning:
                self._pool.offer(self.atoms)
            if learner.is_learning and self._pool.is_full:
                self._learn()

    def _learn(self) -> None:
        self.results: dict[str, Any] = {}  # they are of the potential that is about to change
        try:
            self.learner.learn(self._pool.frames)
        finally:  # frames that ended in an error would end in it again
            self._pool.clear()
        self._predict()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last prediction; everything, if the potential has."""
        if self._version != self.learner.version:
            return list(all_changes)
        return list(super().check_state(atoms, tol))

    def share(self) -> Self:
        """Another calculator on the same learner and pool, as each image of a NEB needs one.

        Copies, shallow and deep, are the same.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.atoms, twin.results, twin._moving = None, {}, MovingStructure()
        return twin

    def __copy__(self) -> Self:
        return self.share()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.share()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "expected something that can be pickled, got a calculator that learns: it holds a run folder; "
            "send GMNNCalculator(directory) instead"
        )

    def close(self) -> None:
        """End label workers and leave the run folder to others; predictions go on."""
        self.learner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _predict(self) -> None:
        model = self.learner.model
        if model is None:
            raise RuntimeError("expected a potential, the learner has none")
        self.results = results_of(self._moving.predict(model, self.atoms), self.atoms)
        self._version = self.learner.version
