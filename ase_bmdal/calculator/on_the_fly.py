"""The calculator that learns while a simulation runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, overload

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes

from ase_bmdal.baseline.baseline import Baseline, OneOrMore
from ase_bmdal.calculator.distillation import Distilled, distil
from ase_bmdal.calculator.results import PROPERTIES, UNBIASED, changes_between, results_of
from ase_bmdal.common.settings import with_leaves
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.learner.background import Background
from ase_bmdal.learner.differences import refuse_other_baseline
from ase_bmdal.learner.given import prepared
from ase_bmdal.learner.learner import Learner, refuse_other_committee
from ase_bmdal.learner.loading import SavedPotential, read_potential
from ase_bmdal.learner.loops import Blocking, Loop, close_earlier
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.potential.gmnn import Potential
from ase_bmdal.potential.training import architecture_for
from ase_bmdal.potential.with_baseline import WithBaseline, network_of, refuse_free_atoms, with_baseline
from ase_bmdal.report.console import on_standard_error
from ase_bmdal.run.events import Listener, Reporter
from ase_bmdal.run.folder import RunFolder
from ase_bmdal.run.identity import identity_of
from ase_bmdal.structures.dialects import LabelKeys
from ase_bmdal.walkers import simulation
from ase_bmdal.walkers.guard import Guard
from ase_bmdal.walkers.snapshot import calculators
from ase_bmdal.walkers.walker import Walker

ALIASES = {"epochs": "training.epochs", "label_timeout": "labelling.timeout"}


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
        Run folder: labels, potentials, journal. A calculator that was made before for the same folder in this process
        is closed: it only predicts from then on.
    initial
        Structures to learn from first, labelled or not; None has some made from the first frame. Results of one of our
        potentials, or of a calculator that is known not to be the reference, are no labels. The folder of another run,
        or its ``labels.db``, stands for the labels that run has.
    energy_key, forces_key, stress_key
        Names of their labels, where they are none of the known ones (``energy``, ``REF_forces``, ``dft_virial`` ...).
    model
        Trained potential to begin with: the object, its file, or a run folder.
    baseline
        Function, class or `functools.partial` that makes the ASE calculator of a cheap method, or several, whose sum
        counts. The difference to it is learned, with a tenth of the labels where it is a good one; it runs in every
        force call, in this process. None for none.
    executor
        Where labels are computed: ``"local"`` (a process for each core), ``"in-process"``, ``"mpi"``, ``"slurm"``, a
        dask ``Client``, or any `concurrent.futures.Executor`.
    background
        True has the simulation go on while labels are computed and potentials are trained, the latter in a process of
        its own; ``lead``, ``most_in_flight``, ``new_labels`` and ``training_threads`` say how, see
        `BackgroundSettings`. None is as `settings` say: as they are, a simulation waits, and the same seed gives the
        same run.
    replay
        Run folder of a run with ``background=True``: labels and potentials come in the force calls in which they came
        there, so that the same simulation gives the same run.
    on_event
        Called with every event, see there (`LabelDone`, `EpochDone`, `Round`, `BaselineCompared`, `LearningEnded`,
        `Rewound`, `TakenOver`, `SimulationEnded`). None writes a line a round to standard error, unless logging writes
        it there; and at a terminal what goes on in between.
    settings
        All settings; None for the defaults.
    changes
        Other values of single settings, by the names of their fields in `LearnerSettings` and its branches. Those that
        most runs need:

        ==================  ========================================================================================
        ``cutoff``          `r_max`, Å; that of `model`, if one is given
        ``selection``       one of the paper's combinations, such as ``"MAXDET + GP(LL)"``
        ``n_models``        networks of the potential; None for what the selection needs, 3 for QBC and else 1
        ``batch_size``      new labels in a round
        ``pool_size``       frames collected before a round; the first rounds come earlier, after 2, 4, 8 ... times
                            `batch_size` frames
        ``pool_interval``   collect one frame of so many
        ``max_labels``      learning ends after so many labels, or ``max_rounds`` rounds
        ``max_wall_time``   seconds after which the simulation is stopped, once the round in hand is finished
        ``force_tolerance`` a frame on which the force error of an atom may exceed this bound, eV/Å, starts a round at
                            once; None lets the run find its own
        ``label_timeout``   longest time for one label, seconds
        ``bias``            strength of forces that pull to where the potential knows least, as a fraction of the
                            physical ones; `results` then hold ``unbiased_energy``, ``unbiased_forces`` and
                            ``unbiased_stress`` as well. Labels know nothing of it
        ``atomic_energies`` energy of a free atom of each element, eV, such as ``{"H": -13.6}``: decides what the labels
                            leave open. Isolated atoms among the labels say the same
        ``epochs``          of a training from scratch
        ``seed``            of all random numbers
        ==================  ========================================================================================

    Raises
    ------
    ValueError
        If a setting makes no sense, or contradicts `model`.
    TypeError
        If no setting has such a name.
    LabellingError
        If the reference cannot be sent to a worker.
    RunFolderError, StoreError
        If the directory holds another run, one with another baseline among them, or cannot be used.
    ModelError
        If `model` needs a baseline, or another one.
    """

    implemented_properties = PROPERTIES + UNBIASED

    def __init__(
        self,
        reference: Callable[[], Any],
        directory: str | Path,
        *,
        initial: Sequence[Atoms] | str | Path | None = None,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        model: str | Path | Potential | WithBaseline | None = None,
        baseline: OneOrMore | None = None,
        executor: Any = "local",
        background: bool | None = None,
        replay: str | Path | None = None,
        on_event: Listener | None = None,
        settings: LearnerSettings | None = None,
        **changes: Any,
    ) -> None:
        super().__init__()
        method = None if baseline is None else Baseline(baseline)
        given = _given(model, method)
        if background is not None:
            changes["concurrent"] = background
        settings = _settings(settings, given, changes)
        _refuse_replay_of(replay, directory, settings)
        refuse_free_atoms(settings.atomic_energies, method)
        refuse_other_committee(settings, given.potential if given else None)
        keys = LabelKeys(energy_key, forces_key, stress_key)
        structures = None if initial is None else prepared(initial, keys, reference)
        path = Path(directory)
        identity = identity_of(reference, structures)
        labeller = Labeller(
            reference,
            scratch=path / "scratch",
            executor=executor,
            settings=settings.labelling,
            baseline=method.make if method else None,
            identity=_labels_of(identity, method),
        )
        report = Reporter(on_event or on_standard_error())
        try:
            close_earlier(path)
            folder = RunFolder(path)
        except BaseException:
            labeller.close()
            raise
        try:
            refuse_other_baseline(
                path, folder.store.rows("done"), method
            )  # before a learner writes its settings
            learner = Learner(
                folder,
                settings,
                identity=identity,
                told={
                    "executor": executor if isinstance(executor, str) else type(executor).__name__,
                    "baseline": method.name if method else None,
                },
                potential=given.potential if given else None,
                error_model=given.error_model if given else None,
                report=report,
            )
            self._loop = _loop(replay, learner, labeller, report, structures, baseline=method)
        except BaseException:
            folder.close()
            labeller.close()
            raise
        self._walker = Walker(self._loop)

    @property
    def learner(self) -> Learner:
        """What is asked for structures to label, and told their labels."""
        return self._loop.learner

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Predict; learn first if there is nothing to predict with, or a round is due. Called by ASE.

        A structure whose forces cannot be right is labelled and learned, if a reference can make sense of it, a budget
        is left, and no guarded simulation can go back instead.

        Raises
        ------
        UntrustedError
            If such a structure cannot be learned, or is no better after it; or for a guard to go back.
        SimulationStopped
            If the time is up.
        Error
            As `Walker.predict`.
        """
        if atoms is not None:
            self.atoms = atoms.copy()  # all that ASE's own does besides looking for a folder on the disk
        self.results: dict[str, Any] = {}  # those there are may be of a potential that is about to change
        self.results = results_of(*self._walker.predict(self.atoms))

    @overload
    def run(self, dyn: list[Any] | tuple[Any, ...], steps: int, **how: Any) -> list[bool]: ...
    @overload
    def run(self, dyn: Any, steps: int, **how: Any) -> bool: ...
    def run(self, dyn: Any, steps: int, **how: Any) -> bool | list[bool]:
        """Run a simulation or a relaxation that uses this calculator, and go back where it leaves known ground.

        Several simulations take turns, each with a calculator of its own (`walker`): those that ask for forces get
        them together, and one that waits for labels does not stop the others.

        An optimizer starts afresh where it is after each round: what it made up of the forces before is of another
        potential. If a budget is spent and forces cannot be trusted any more, the run ends: the simulation is set back
        to its last trusted state, which is written to ``last_trusted.traj`` in the run folder.

        Parameters
        ----------
        dyn
            ASE dynamics or optimizer, or a list of them.
        steps
            At most so many, of each.
        how
            What else its `run` takes, such as ``fmax``; of several, the `run` of the optimizers.

        Returns
        -------
        bool
            What its `run` returns; False if the time was up, SIGTERM came, or it ended on ground that is not known
            and cannot be learned. A list of them for several.

        Raises
        ------
        UntrustedError
            If going back did not help; says what was tried. Of several, the others come to their ends first.
        TypeError
            If it is no simulation.
        ValueError
            If it uses another calculator, or one of several has none of its own.
        Error
            As `calculate`.
        KeyboardInterrupt
            If Ctrl-C came; shown as a sentence that says what is kept and how to go on.
        """
        if not isinstance(dyn, list | tuple):
            return simulation.run(dyn, self._walkers_of(dyn), steps, **how)
        return simulation.run_together(self._simulations(dyn), steps, **how)

    def guard(self, dyn: Any) -> Guard:
        """The same for a script with a loop of its own: ``with calc.guard(dyn): dyn.run(5000)``.

        From here on steps of `dyn` that leave known ground are undone, until the guard that is returned is released,
        which the end of the ``with`` statement does.
        """
        return simulation.guarded(dyn, self._walkers_of(dyn))

    def _walkers_of(self, dyn: Any) -> list[Walker]:
        if not hasattr(dyn, "run"):
            raise TypeError(f"expected an ASE dynamics or optimizer, got {dyn!r}")
        found = [each for each in calculators(dyn, type(self)) if each.learner is self.learner]
        others = [] if found else calculators(dyn, BaseCalculator)
        if others:
            raise ValueError(
                f"expected a simulation whose atoms have this calculator, got one with {type(others[0]).__name__}"
            )
        return [each._walker for each in found or [self]]

    def _simulations(self, dyns: Sequence[Any]) -> list[tuple[Any, list[Walker]]]:
        if not dyns:
            raise ValueError("expected simulations to run, got an empty list")
        taken: dict[int, int] = {}
        found = []
        for number, dyn in enumerate(dyns):
            own = [each for each in calculators(dyn, type(self)) if each.learner is self.learner]
            others = [taken[id(each._walker)] for each in own if id(each._walker) in taken]
            if others or not own:
                what = f"has that of simulation {others[0]}" if others else "has another, or none"
                raise ValueError(
                    "expected a calculator of its own for each simulation, as by "
                    f'atoms.calc = calc.walker("900 K"); simulation {number}, counted from 0, {what}'
                )
            taken |= {id(each._walker): number for each in own}
            found.append((dyn, [each._walker for each in own]))
        return found

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last prediction; everything, if the potential has."""
        if self._walker.generation != self.learner.generation:
            return list(all_changes)
        return changes_between(self.atoms, atoms)

    def share(self) -> Self:
        """Another calculator for the same simulation, as each image of a NEB needs one; copies are the same."""
        return self._twin(None)

    def walker(self, name: str) -> Self:
        """Another calculator for another simulation that learns together with this one.

        Parameters
        ----------
        name
            Of the simulation, such as ``"900 K"``; its frames carry it in ``labels.db``, its rounds in the journal.

        Raises
        ------
        ValueError
            If the name is empty, a number, or ``"True"`` or ``"False"``.
        """
        return self._twin(_checked(name))

    def _twin(self, name: str | None) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.atoms, twin.results, twin._walker = None, {}, self._walker.twin(name)
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

    def distil(self, **how: Any) -> Distilled:
        """A plain potential as fast as any from what was learned with a baseline; arguments and errors as `distil`."""
        baseline = self._loop.baseline
        return distil(self.learner.directory, baseline=baseline.make if baseline else None, **how)

    def settle(self) -> None:
        """Wait for all labels in flight, and for a potential that knows them: at the end of a run in the background.

        Raises
        ------
        Error
            As `calculate`.
        """
        self._loop.settle()

    def close(self) -> None:
        """End label workers and leave the run folder to others; predictions go on. A ``with`` statement does it too."""
        self._loop.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.learner})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _loop(replay: str | Path | None, learner: Learner, *given: Any, **how: Any) -> Loop:
    if learner.settings.background.concurrent:
        return Background(learner, *given, **how, replay=None if replay is None else Path(replay))
    return Blocking(learner, *given, **how)


def _labels_of(identity: Mapping[str, str], baseline: Baseline | None) -> str:
    """Who the labels of a run are from."""
    of_baseline = identity_of(baseline.make, None)["reference"] if baseline else "none"
    return f"{identity['reference']}, baseline {of_baseline}"


def _refuse_replay_of(replay: str | Path | None, directory: str | Path, settings: LearnerSettings) -> None:
    if replay is None:
        return
    if not settings.background.concurrent:
        raise ValueError(f"replay: expected background=True as well, got replay={str(replay)!r} alone")
    if Path(replay).resolve() == Path(directory).resolve():
        raise ValueError(f"replay: expected the folder of another run, got {str(replay)!r} for both")


def _given(
    model: str | Path | Potential | WithBaseline | None, baseline: Baseline | None
) -> SavedPotential | None:
    if model is None:
        return None
    found = (
        read_potential(model)
        if isinstance(model, str | Path)
        else SavedPotential(network_of(model), None, {})
    )
    with_baseline(found.potential, baseline)
    return found


def _settings(
    settings: LearnerSettings | None, given: SavedPotential | None, changes: dict[str, Any]
) -> LearnerSettings:
    """Settings with single changes; the architecture is that of a given potential unless it is asked for."""
    tree = settings or LearnerSettings()
    if given and settings is None:
        tree = with_leaves(tree, architecture=given.potential.settings)
    if changes.get("cutoff", 0) is None:
        del changes["cutoff"]
    tree = with_leaves(tree, ALIASES, **changes)
    architecture_for(None, tree.architecture, given.potential if given else None)
    return tree


def _checked(name: str) -> str:
    try:
        float(name)
    except ValueError:
        if name and name not in ("True", "False"):  # which ase.db reads as numbers
            return name
    raise ValueError(f"walker: expected a name that is no number or truth value, got {name!r}")
