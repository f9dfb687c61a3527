"""The calculator that learns while a simulation runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from weakref import WeakSet

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_bmdal.acquisition.pool import Pool
from ase_bmdal.acquisition.trust import Trigger, Trust, Verdict
from ase_bmdal.calculator.bias import Bias
from ase_bmdal.calculator.console import on_standard_error
from ase_bmdal.calculator.deadline import Deadline, explained
from ase_bmdal.calculator.results import PROPERTIES, UNBIASED, changes_between, results_of
from ase_bmdal.calculator.rewind import Guard, guard
from ase_bmdal.calculator.snapshot import calculators
from ase_bmdal.common.errors import SimulationStopped, UntrustedError
from ase_bmdal.labelling.checks import refusal_before
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
GO_BACK = "Instead of dynamics.run(steps), calc.run(dynamics, steps) goes back to the last trusted state"


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
        Run folder: labels, potentials, log. A calculator that was made before for the same folder in this process is
        closed: it only predicts from then on.
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
        Of a training from scratch; None leaves it to `training`.
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
        Called with every event, see there (`LabelDone`, `EpochDone`, `Round`, `LearningEnded`, `Rewound`,
        `SimulationEnded`). None writes a line a round to standard error, unless logging writes it there; and at a
        terminal what goes on in between.

    Raises
    ------
    ValueError
        If a setting makes no sense, or contradicts `model`.
    LabellingError
        If the reference cannot be sent to a worker.
    RunFolderError, StoreError
        If the directory cannot be used.
    """

    implemented_properties = PROPERTIES + UNBIASED

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
            told={
                "simulation": {
                    "pool_size": int(pool_size),
                    "pool_interval": int(pool_interval),
                    "bias": float(bias),
                    "max_wall_time": None if max_wall_time is None else float(max_wall_time),
                },
                "executor": executor if isinstance(executor, str) else type(executor).__name__,
            },
            on_event=on_event or on_standard_error(),
        )
        self._trigger = Trigger(settings.trust, limits.closest_pair, keep=batch_size)
        self._moving = MovingStructure()
        self._version = self.learner.version
        self._verdict: Verdict = "trusted"
        self._guards: WeakSet[Guard] = WeakSet()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Predict; learn first if there is nothing to predict with, or a round is due. Called by ASE.

        A structure for which the potential cannot be trusted at all is labelled and learned, if a reference can make
        sense of it, a budget is left, and no guarded simulation can go back instead.

        Raises
        ------
        UntrustedError
            If such a structure cannot be learned, or is no better after it; or for a guard to go back.
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
            before = self._version
            if not self._answer() and learner.can_learn:
                self._collect()
        if self._version != before:
            for held in self._guards:
                held.surface_changed()

    def _collect(self) -> None:
        """Take the frame for what it may teach, and learn if a round is due."""
        self._trigger.keep(self.atoms, self._verdict)  # ASE's own copy, another one at each call
        if self.learner.is_learning:
            self._pool.offer(self.atoms, self.learner.n_rounds)
        if self._trigger.is_due(self.learner.n_rounds):
            self._learn((self.atoms,), self._trigger.reason)
            self._predict()
        elif self.learner.is_learning and self._pool.is_full(self.learner.n_rounds):
            self._learn((), "the pool is full")
            self._answer()

    def _answer(self) -> bool:
        """Predict; where that must not be followed and nobody can go back, learn first. Says whether it did."""
        try:
            self._predict()
            return False
        except UntrustedError as error:
            if any(held.is_stepping for held in self._guards):
                raise
            self._require_that_it_can_be_learned(error)
            self._learn((self.atoms,), f"{error}")
        try:
            self._predict()
        except UntrustedError as error:
            raise type(error)(
                f"{error}; it has just been asked for a label and trained on what came"
            ) from error
        return True

    def _require_that_it_can_be_learned(self, error: UntrustedError) -> None:
        refusal, reason = refusal_before(self.atoms, self.learner.limits), self.learner.reason_to_finish
        if refusal:
            why = f"no reference could make sense of it ({refusal}); of a trial move, it is a rejection"
        elif not self.learner.can_learn:
            why = f"it would be learned, but {reason}; allow more, and start again with the same directory"
        else:
            return
        go_back = "" if self._guards else f". {GO_BACK}"
        raise type(error)(f"{error}; {why}{go_back}") from error

    def _learn(self, urgent: Sequence[Atoms], reason: str) -> None:
        self.results: dict[str, Any] = {}  # they are of the potential that is about to change
        if not self.learner.is_learning:
            reason = f"learning starts again: {reason}"
        try:
            pool, first = ([bare_copy(frame) for frame in frames] for frames in (self._pool.frames, urgent))
            self.learner.learn(pool, first, reason)
        finally:  # frames that ended in an error would end in it again
            self._pool.clear()
            self._trigger.round_done()

    def run(self, dyn: Any, steps: int, **how: Any) -> bool:
        """Run a simulation or a relaxation that uses this calculator, and go back where it leaves known ground.

        An optimizer starts afresh where it is after each round: what it made up of the forces before is of another
        potential. If a budget is spent and forces cannot be trusted any more, the run ends: the simulation is set back
        to its last trusted state, which is written to ``last_trusted.traj`` in the run folder.

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
            What its `run` returns; False if the time was up, SIGTERM came, or it ended on ground that is not known
            and cannot be learned.

        Raises
        ------
        UntrustedError
            If going back did not help; says what was tried.
        Error
            As `calculate`.
        KeyboardInterrupt
            If Ctrl-C came; shown as a sentence that says what is kept and how to go on.
        """
        held = self.attach(dyn)
        reason = "all steps are done"
        try:
            with self._deadline.catching_sigterm(self.learner.stop):
                return held.run(steps, **how)
        except SimulationStopped as stop:
            reason = str(stop)
            return False
        except KeyboardInterrupt:
            reason = "interrupted"
            raise explained(
                f"Interrupted after step {dyn.nsteps}: all labels and the newest potential are kept in "
                f"{self.learner.directory}, and the same script or command goes on from there."
            ) from None
        except UntrustedError as error:
            reason = f"stopped after step {dyn.nsteps}: {error}{self._set_back(held)}"
            if self.learner.can_learn:
                raise
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
        images = [each for each in calculators(dyn, type(self)) if each.learner is self.learner] or [self]
        held = guard(
            dyn,
            recover=lambda error: self._recover(error, images),
            is_trusted=lambda: all(image._verdict == "trusted" for image in images),
            surface=lambda: self.learner.version,
            report=self.learner.report_rewind,
            max_rewinds=self.learner.settings.trust.max_rewinds,
        )
        for image in images:
            image._guards.add(held)
        return held

    def _recover(self, error: UntrustedError, images: Sequence["OnTheFlyCalculator"]) -> None:
        """Learn from the frames on the way to one that is refused."""
        with self.learner.lock:
            urgent = [frame for image in images for frame in image._trigger.urgent()]
            if not self.learner.can_learn:
                raise type(error)(f"{error}; {self.learner.reason_to_finish}") from error
            if not (urgent or self._pool.frames):
                raise error
            self._learn(urgent, f"{error}")
            for image in images:
                image._trigger.round_done()

    def _set_back(self, held: Guard) -> str:
        """Put a simulation into its last trusted state and keep that; in words."""
        step = held.set_back()
        if step is None or self.learner.is_closed:
            return ""
        path = self.learner.keep_last_trusted(held.frames)
        return f". It is set back to step {step}, its last trusted state, which is kept in {path}"

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
        twin.atoms, twin.results, twin._moving = None, {}, self._moving.empty()
        twin._trigger, twin._verdict, twin._guards = self._trigger.twin(), "trusted", WeakSet()
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
        """End label workers and leave the run folder to others; predictions go on. A ``with`` statement does it too."""
        self.learner.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.learner})"

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
            raw, model.uncertainty, learner.tolerance, can_learn=learner.can_learn
        )
        if self._verdict == "refused":
            raise UntrustedError(self._trigger.reason)
        self.results = results_of(label, raw, model.uncertainty, self.atoms)
        if pull is not None:
            unbiased = {f"unbiased_{name}": value for name, value in self.results.items() if name in BIASED}
            total = results_of(self._bias(label, pull), raw, model.uncertainty, self.atoms)
            self.results = {**total, **unbiased}
        self._version = self.learner.version
