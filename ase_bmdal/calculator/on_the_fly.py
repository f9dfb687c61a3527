"""The calculator that learns while a simulation runs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_bmdal.acquisition.pool import Pool
from ase_bmdal.acquisition.trust import Trigger, Trust, Verdict
from ase_bmdal.calculator.bias import Bias
from ase_bmdal.calculator.console import Console
from ase_bmdal.calculator.deadline import Deadline
from ase_bmdal.calculator.results import PROPERTIES, changes_between, results_of
from ase_bmdal.calculator.rewind import Guard, guard
from ase_bmdal.common.errors import SimulationStopped, UntrustedError
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.learner.events import Listener
from ase_bmdal.learner.learner import Learner
from ase_bmdal.learner.loading import load_model
from ase_bmdal.learner.settings import Convergence, FirstContact, LearnerSettings, Retraining
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.moving import MovingStructure
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.potential.training import architecture_for
from ase_bmdal.structures.bare import bare_copy
from ase_bmdal.structures.dialects import LabelKeys

BIASED = ("energy", "forces", "stress")


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
    bias
        Strength of forces that pull to where the potential knows least, as a fraction of the physical ones; `results`
        then hold ``unbiased_energy``, ``unbiased_forces`` and ``unbiased_stress`` as well. Labels know nothing of it.
    force_tolerance
        A frame on which the force error of an atom may exceed this bound, eV/Å, starts a round at once; None lets the
        run find its own.
    initial
        Structures to learn from first, labelled or not; None lets first contact make them from the first frame. Results
        of one of our potentials, or of a calculator that is known not to be the reference, are no labels.
    energy_key, forces_key, stress_key
        Names of their labels, where they are none of the known ones (``energy``, ``REF_forces``, ``dft_virial`` ...).
    atomic_energies
        Energy of a free atom of each element, eV, such as ``{"H": -13.6}``: decides what the labels leave open, as how
        the energy of one composition is split among its elements. Isolated atoms among the labels say the same.
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
    max_wall_time
        Seconds after which the simulation is stopped, once the round in hand is finished; None for no limit.
    seed
        Of all random numbers.
    architecture, training, retraining, first_contact, convergence, trust, labelling
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
        bias: float = 0.0,
        force_tolerance: float | None = None,
        initial: Sequence[Atoms] | None = None,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        atomic_energies: Mapping[str, float] | None = None,
        model: str | Path | Potential | None = None,
        epochs: int | None = None,
        executor: Any = "local",
        label_timeout: float | None = None,
        max_labels: int | None = None,
        max_rounds: int | None = None,
        max_wall_time: float | None = None,
        seed: int = 0,
        architecture: ModelSettings | None = None,
        training: TrainingSettings | None = None,
        retraining: Retraining | None = None,
        first_contact: FirstContact | None = None,
        convergence: Convergence | None = None,
        trust: Trust | None = None,
        labelling: LabellingSettings | None = None,
        on_event: Listener | None = None,
    ) -> None:
        super().__init__()
        self._pool = Pool(pool_size, pool_interval, first=2 * batch_size)
        potential = load_model(model) if isinstance(model, str | Path) else model
        how, limits = training or TrainingSettings(), labelling or LabellingSettings()
        trust = trust or Trust()
        self._bias, self._deadline = Bias(bias), Deadline(max_wall_time)
        settings = LearnerSettings(
            selection=selection,
            batch_size=batch_size,
            max_labels=max_labels,
            max_rounds=max_rounds,
            seed=seed,
            atomic_energies=None if atomic_energies is None else dict(atomic_energies),
            architecture=architecture_for(cutoff, architecture, potential),
            training=how if epochs is None else replace(how, epochs=epochs),
            retraining=retraining or Retraining(),
            first_contact=first_contact or FirstContact(),
            convergence=convergence or Convergence(),
            trust=replace(trust, force_tolerance=force_tolerance) if force_tolerance is not None else trust,
        )
        if bias and settings.combination.n_models > 1:
            raise ValueError(f"bias: expected a selection with one network, got {selection}")
        if batch_size > pool_size:
            raise ValueError(f"batch_size: expected at most the pool_size of {pool_size}, got {batch_size}")
        self.learner = Learner(
            reference,
            Path(directory),
            settings,
            executor=executor,
            labelling=limits if label_timeout is None else replace(limits, timeout=label_timeout),
            initial=initial,
            keys=LabelKeys(energy_key, forces_key, stress_key),
            model=potential,
            on_event=on_event or (Console(sys.stderr) if sys.stderr.isatty() else None),
        )
        self._trigger = Trigger(settings.trust, limits.closest_pair, keep=batch_size)
        self._moving = MovingStructure()
        self._version = self.learner.version
        self._verdict: Verdict = "trusted"

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Predict; learn first if there is nothing to predict with, or a round is due. Called by ASE.

        Raises
        ------
        UntrustedError
            If the potential cannot be trusted for this structure, so far that it must not be followed.
        SimulationStopped
            If the time is up.
        Error
            As `Learner.prepare`, `Learner.learn` and `GMNNCalculator.calculate`.
        """
        super().calculate(atoms, properties, system_changes)
        learner = self.learner
        with learner.lock:
            self._deadline.check()
            learner.prepare(self.atoms)
            self._predict()
            if not learner.is_learning:
                return
            self._trigger.keep(self.atoms, self._verdict)  # ASE's own copy, another one at each call
            self._pool.offer(self.atoms)
            if self._trigger.is_due:
                self._learn((self.atoms,), self._trigger.reason)
                self._predict()
            elif self._pool.is_full:
                self._learn((), "the pool is full")
                self._predict()

    def _learn(self, urgent: Sequence[Atoms], reason: str) -> None:
        self.results: dict[str, Any] = {}  # they are of the potential that is about to change
        try:
            pool, first = ([bare_copy(frame) for frame in frames] for frames in (self._pool.frames, urgent))
            self.learner.learn(pool, first, reason)
        finally:  # frames that ended in an error would end in it again
            self._pool.clear()
            self._trigger.round_done()

    def run(self, dyn: Any, steps: int, **how: Any) -> bool:
        """Run a simulation or a relaxation that uses this calculator, and go back where it leaves known ground.

        Parameters
        ----------
        dyn
            ASE dynamics or optimizer.
        steps
            At most so many.
        how
            What else its `run` takes, such as ``fmax``.

        Returns
        -------
        bool
            What its `run` returns; False if the time was up, or SIGTERM came.

        Raises
        ------
        UntrustedError
            If going back did not help; says what was tried.
        Error
            As `calculate`.
        """
        held = self.attach(dyn)
        reason = "all steps are done"
        try:
            with self._deadline.catching_sigterm():
                return bool(dyn.run(steps=steps, **how))
        except SimulationStopped as stop:
            reason = str(stop)
            return False
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            held.release()
            self.learner.report_end(reason, dyn.nsteps, held.rewinds)

    def attach(self, dyn: Any) -> Guard:
        """The same for a script with a loop of its own.

        From here on steps of `dyn` that leave known ground are undone, until the guard that is returned is released.
        """
        return guard(
            dyn,
            recover=self._recover,
            is_trusted=lambda: self._verdict == "trusted",
            report=self.learner.report_rewind,
            max_rewinds=self.learner.settings.trust.max_rewinds,
        )

    def _recover(self, error: UntrustedError) -> None:
        """Learn from the frames on the way to one that is refused."""
        with self.learner.lock:
            urgent = self._trigger.urgent()
            if not self.learner.is_learning or not (urgent or self._pool.frames):
                raise error
            self._learn(urgent, f"{error}")

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last prediction; everything, if the potential has."""
        if self._version != self.learner.version:
            return list(all_changes)
        return changes_between(self.atoms, atoms)

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
        biased = bool(self._bias.strength) and self.learner.is_learning and model.uncertainty is not None
        label, raw, pull = self._moving.predict(model, self.atoms, pulled=biased)
        learner = self.learner
        self._verdict = self._trigger.judge(
            raw, model.uncertainty, learner.tolerance, can_learn=learner.is_learning
        )
        if self._verdict == "refused":
            raise UntrustedError(self._trigger.reason)
        self.results = results_of(label, raw, model.uncertainty, self.atoms)
        if pull is not None:
            unbiased = {f"unbiased_{name}": value for name, value in self.results.items() if name in BIASED}
            total = results_of(self._bias(label, pull), raw, model.uncertainty, self.atoms)
            self.results = {**total, **unbiased}
        self._version = self.learner.version
