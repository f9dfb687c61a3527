"""When and how much to learn."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ase_bmdal.acquisition import DEFAULT
from ase_bmdal.acquisition.acquisition import Acquisition
from ase_bmdal.common.settings import settings
from ase_bmdal.labelling.settings import LabellingSettings
from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
from ase_bmdal.structures.free_atoms import by_number
from ase_bmdal.uncertainty.limits import UncertaintyLimits


@settings
class InitialData:
    """What is labelled before there is a model, unless initial structures are given.

    Attributes
    ----------
    n_structures
        The first frame and copies of it, all together.
    rattle
        Largest standard deviation of the displacements, Å; the copies go evenly from a third of it up to it. Those of
        atoms that would nearly collide are shorter.
    strain
        Largest strain of a periodic cell, both ways; each component is drawn uniformly.
    """

    n_structures: PositiveInt = 10
    rattle: NonNegativeFloat = 0.1
    strain: NonNegativeFloat = 0.02


@settings
class Promotion:
    """When a new potential is no worse than its predecessor, and may take its place.

    One that is worse is trained anew from scratch; if that is worse, too, its predecessor stays.

    Attributes
    ----------
    margin
        So many times the predecessor's errors are no worse.
    stiffness_margin
        So many times the predecessor's stiffness is no worse. The largest stiffness is that of the few stiffest
        structures, on which young potentials are too soft; holes have ten times as much.
    negligible
        Errors that never count, in units of the root mean square of the forces; of single atoms five times that.
    displacement
        Root mean square of the displacements, Å, along which the stiffness is taken.
    n_structures
        Labels, and frames of the pool, that are looked at: at most so many of each.
    """

    margin: Annotated[float, Field(ge=1.0)] = 2.0
    stiffness_margin: Annotated[float, Field(ge=1.0)] = 4.0
    negligible: NonNegativeFloat = 0.05
    displacement: PositiveFloat = 0.03
    n_structures: PositiveInt = 100


@settings
class Retraining:
    """How the potential is trained again in each round.

    Attributes
    ----------
    epochs
        Epochs of a round that goes on from the previous weights; None takes a quarter of those from scratch.
    most_visits
        Structures that a training from scratch sees at most, all epochs counted, until learning ends: of thousands of
        labels each needs fewer epochs, and simulations want a potential soon. None for no limit; there is none for the
        last training, and none if the epochs are set.
    rate
        Learning rates of such a round, in units of those from scratch. At full rates the noise of small minibatches
        moves the weights further with each round, and holes open beside the labels.
    growth
        The potential is trained from scratch when there are so many times the labels of the last time it was.
    promotion
        When the new potential takes the place of its predecessor.
    valid_fraction
        Part of the labels held out to choose the best epoch; which ones never changes within a run. With the few
        labels of a young run a tenth of them chooses worse than the end of the learning-rate decay does.
    """

    epochs: PositiveInt | None = None
    most_visits: PositiveInt | None = 300_000
    rate: PositiveFloat = 0.4
    growth: Annotated[float, Field(ge=1.0)] = 2.0
    promotion: Promotion = Promotion()
    valid_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    def while_learning(self, training: TrainingSettings, n_structures: int) -> TrainingSettings:
        """How a potential is trained from scratch that others will follow, if `training` is how the last one is."""
        if training.epochs or self.most_visits is None:
            return training
        epochs = min(training.epochs_for(n_structures), max(1, self.most_visits // n_structures))
        return replace(training, epochs=epochs)

    def warm_start(self, training: TrainingSettings, n_structures: int) -> TrainingSettings:
        """How a potential goes on from the previous weights, if `training` is how one is trained from scratch."""
        epochs = self.epochs or max(1, training.epochs_for(n_structures) // 4)
        return replace(training, epochs=epochs, rate=self.rate * training.rate)


@settings
class Convergence:
    """When there is nothing left to learn.

    Attributes
    ----------
    force_mae
        Mean absolute force error, eV/Å, of the predictions made before training on each new batch.
    rounds
        Number of successive rounds that must stay below it, or more if they hold less than `batch_size` labels
        together, none of which was for forces that had been rejected; if `force_tolerance` is set, instead, in which
        no bound on a force error of the new labels exceeded that.
    """

    force_mae: NonNegativeFloat = 0.02
    rounds: PositiveInt = 2


@settings
class SimulationSettings:
    """What concerns each simulation by itself.

    Attributes
    ----------
    pool_interval
        Collect one frame of so many.
    bias
        Strength of forces that pull to where the potential knows least, as a fraction of the physical ones.
    max_wall_time
        Seconds after which the simulation is stopped, once the round in hand is finished; in the background at once,
        also while it waits. None for no limit.
    """

    pool_interval: PositiveInt = 1
    bias: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    max_wall_time: PositiveFloat | None = None


@settings
class BackgroundSettings:
    """How simulations go on while labels are computed and potentials are trained.

    Attributes
    ----------
    concurrent
        Whether they do; otherwise they wait, and the same seed gives the same run.
    lead
        Force calls for which a simulation goes on with forces that it doubts, until a potential has learned them; 0 has
        it wait at once.
    most_in_flight
        No batch is chosen for a full pool that would have more structures without an outcome. None for a batch more
        than there are label workers, and at least two batches; how many work for a dask client or another executor
        nobody knows.
    new_labels
        New labels that start a training, as a part of those that the potential knows; at least `batch_size`.
    training_threads
        Threads of the training process.
    """

    concurrent: bool = False
    lead: NonNegativeInt = 1000
    most_in_flight: PositiveInt | None = None
    new_labels: NonNegativeFloat = 0.1
    training_threads: PositiveInt = 1


@settings
class LearnerSettings:
    """Everything a run can be told, apart from the reference and the structures.

    Attributes
    ----------
    selection
        One of the fifteen combinations of the paper, such as ``"MAXDET + GP(LL)"``; none that needs labels on the
        pool.
    n_models
        Networks of the potential; None for what the selection needs, 3 for QBC and else 1. The uncertainty of several
        is their spread, and a selection by features uses those of all.
    batch_size
        New labels in a round.
    pool_size
        Frames collected before a round; the first rounds come earlier, after 2, 4, 8 ... times `batch_size` frames.
    max_labels, max_rounds
        Learning ends when there are so many labels or rounds, whichever comes first; None for no limit.
    seed
        Seed of all random numbers.
    atomic_energies
        Energy of a free atom of each element, eV, which decides what the labels leave open; None for no such knowledge.
    architecture, training, retraining, initial_data, convergence, uncertainty, labelling, simulation, background
        See there; `training` is what a network trained from scratch gets.
    """

    selection: str = DEFAULT
    n_models: PositiveInt | None = None
    batch_size: PositiveInt = 10
    pool_size: PositiveInt = 200
    max_labels: PositiveInt | None = None
    max_rounds: NonNegativeInt | None = None
    seed: int = 0
    atomic_energies: dict[str, float] | None = None
    architecture: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    retraining: Retraining = Retraining()
    initial_data: InitialData = InitialData()
    convergence: Convergence = Convergence()
    uncertainty: UncertaintyLimits = UncertaintyLimits()
    labelling: LabellingSettings = LabellingSettings()
    simulation: SimulationSettings = SimulationSettings()
    background: BackgroundSettings = BackgroundSettings()

    def __post_init__(self) -> None:
        """Refuse what names no element, and combinations that cannot be used while a simulation runs."""
        by_number(self.atomic_energies)
        if self.batch_size > self.pool_size:
            raise ValueError(
                f"batch_size: expected at most the pool_size of {self.pool_size}, got {self.batch_size}"
            )
        if self.acquisition.kernel.needs_committee and self.n_models == 1:
            raise ValueError(
                f"n_models: expected at least 2 for {self.acquisition}, which compares networks, got 1"
            )
        if self.simulation.bias and self.committee_size > 1:
            raise ValueError(
                f"bias: expected a selection with one network, got {self.selection} with {self.committee_size}"
            )
        if self.acquisition.kernel.needs_labels:
            raise ValueError(
                f"selection: {self.acquisition} compares with labels on the whole pool, which a running simulation "
                "does not have; expected a combination without AE"
            )

    @property
    def acquisition(self) -> Acquisition:
        """The selection, read."""
        return Acquisition.parse(self.selection)

    @property
    def committee_size(self) -> int:
        """Networks of the potential."""
        return self.n_models or self.acquisition.n_models
