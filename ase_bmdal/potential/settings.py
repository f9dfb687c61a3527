"""Architecture of the potential, and how it is trained."""

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ase_bmdal.common.settings import settings

Precision = Literal["float32", "float64"]


@settings
class ModelSettings:
    """Everything that fixes the shape of a Gaussian-moment neural network.

    Attributes
    ----------
    cutoff
        `r_max`, Å.
    envelope
        How neighbours fade out towards the cutoff: the paper's ``"cosine"``, whose second derivative jumps there,
        or its square, which is smooth to third order and more accurate with few structures.
    r_min
        Where the first Gaussian stands, Å.
    n_gaussians
        `N_b`, number of radial Gaussians.
    n_radial
        `N_r`, number of radial channels; 6 gives 593 invariants, 5 the paper's 360.
    shared
        Part of the variance of the random radial coefficients that all pairs of elements have in common.
    input_spread
        Root mean square of what the network gets: the invariants less their mean over the training set, times a
        number. None gives it the invariants as they are, like the paper's. Large inputs make functions that bend
        quickly, small ones take long to learn.
    hidden
        Width of each hidden layer; twice as wide, the paper's, is no more accurate and takes 1.6 times as long.
    dtype
        Precision of the computation; energies are referred to free atoms in float64 either way.
    repulsion
        What is added to keep nuclei apart: ``"zbl"``, the screened repulsion of Ziegler, Biersack and Littmark at
        distances shorter than bonds; None for nothing.
    """

    cutoff: Annotated[float, Field(gt=0.5, le=20.0)] = 5.0
    envelope: Literal["cosine", "squared cosine"] = "squared cosine"
    r_min: NonNegativeFloat = 0.5
    n_gaussians: PositiveInt = 9
    n_radial: PositiveInt = 6
    shared: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    input_spread: PositiveFloat | None = 0.5
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (256, 256)
    dtype: Precision = "float32"
    repulsion: Literal["zbl"] | None = None

    def __post_init__(self) -> None:
        """Check what concerns two fields."""
        if self.r_min >= self.cutoff:
            raise ValueError(f"expected r_min below the cutoff of {self.cutoff} Å, got {self.r_min} Å")

    @property
    def n_invariants(self) -> int:
        """Number of rotational invariants, the inputs of the network."""
        n = self.n_radial
        pairs, triples = n * (n + 1) // 2, n * (n + 1) * (n + 2) // 6
        return n + 3 * pairs + triples + 2 * pairs * n + n**3

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of neurons of every layer, `d_0 ... d_L`."""
        return (self.n_invariants, *self.hidden, 1)

    @property
    def numpy_dtype(self) -> np.dtype[np.floating]:
        """The precision as NumPy names it."""
        return np.dtype(self.dtype)


@settings
class LearningRates:
    """Largest learning rate of each group of parameters (paper, section 2.2)."""

    network: NonNegativeFloat = 0.03
    beta: NonNegativeFloat = 0.02
    shift: NonNegativeFloat = 0.05
    scale: NonNegativeFloat = 0.001

    def of(self, parameter: str) -> float:
        """Rate of a parameter by its name."""
        group = parameter if parameter in ("beta", "shift", "scale") else "network"
        return float(getattr(self, group))


ENERGY_ONLY_RATES = LearningRates(network=0.005, beta=0.0025)


@settings
class Descent:
    """What the optimizer is told; see `TrainingSettings`."""

    rates: LearningRates = LearningRates()
    weight_decay: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat = 1.0
    clip_after: NonNegativeInt = 20
    energy_delay: NonNegativeFloat = 0.0

    def decay_of(self, parameter: str) -> float:
        """Weight decay of a parameter by its name; scale and shift of the elements have a meaning and keep it."""
        return 0.0 if parameter in ("shift", "scale") else self.weight_decay


@settings
class TrainingSettings:
    """How a potential is trained.

    Attributes
    ----------
    epochs
        How often each structure is used; None is as often as makes `enough_steps`, but at least `least_epochs` and at
        most `most_epochs` times.
    least_epochs, most_epochs, enough_steps
        What `epochs` is if it is None.
    batch_size
        Structures per step; None lets it grow with the number of structures.
    rates
        Learning rates at the start; None takes the paper's, which differ between data with and without forces.
    rate
        What all learning rates are multiplied by.
    decay
        Part of the training, at its end, over which the learning rates fall to zero.
    decay_power
        How they fall: 1 is linearly, 2 faster at first and with a long quiet end.
    weight_decay
        Part of every weight, bias and radial coefficient that is lost in a step, in units of its learning rate.
    clip_norm
        Longest gradient of a group of parameters, in units of its root mean square so far.
    clip_after
        Steps after which that is known well enough to clip by.
    force_length
        Length, Å, over which the root mean square of the forces (of their components) changes the energy by the energy
        scale `c`; None takes the paper's scale, the residual of a regression of the energies on the composition, which
        data without forces have in any case.
    energy_delay
        How late energies and stresses come into their own, if there are forces: while a part `f` of the full learning
        rates is left, they count `1 / (1 + (energy_delay f)²)` of what they do at the end. 0 is at once.
    energy_weight, force_weight, stress_weight
        Of the loss: `lambda_E`; `lambda_F / N_at`, Å²; and the weight of the virial, the stress times the volume.
    """

    epochs: PositiveInt | None = None
    least_epochs: PositiveInt = 300
    most_epochs: PositiveInt = 1000
    enough_steps: PositiveInt = 20_000
    batch_size: PositiveInt | None = None
    rates: LearningRates | None = None
    rate: PositiveFloat = 1.0
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    decay_power: PositiveFloat = 2.0
    weight_decay: NonNegativeFloat = 0.001
    clip_norm: PositiveFloat = 1.0
    clip_after: NonNegativeInt = 20
    force_length: PositiveFloat | None = 0.2
    energy_delay: NonNegativeFloat = 30.0
    energy_weight: NonNegativeFloat = 10.0
    force_weight: NonNegativeFloat = 12.0
    stress_weight: NonNegativeFloat = 0.1

    def epochs_for(self, n_structures: int) -> int:
        """Epochs that were asked for, or as many as so many structures need."""
        steps_per_epoch = math.ceil(n_structures / self.batch_size_for(n_structures))
        enough = math.ceil(self.enough_steps / steps_per_epoch)
        return self.epochs or min(self.most_epochs, max(self.least_epochs, enough))

    def batch_size_for(self, n_structures: int) -> int:
        """Structures per step: what was asked for, or 2 below 1500 structures and more from there, up to 32."""
        return self.batch_size or min(32, max(2, n_structures // 500))

    def left_of_rates(self, done: NDArray[np.floating]) -> NDArray[np.floating]:
        """What is left of the learning rates when so much of the training is done; it begins with `rate`."""
        left: NDArray[np.floating] = np.clip((1 - done) / self.decay, 0, 1) ** self.decay_power
        return self.rate * left

    def descent_for(self, with_forces: bool) -> Descent:
        """What the optimizer is told; the same for a whole run, so that its steps are compiled once."""
        return Descent(
            rates=self.rates or (LearningRates() if with_forces else ENERGY_ONLY_RATES),
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            clip_after=self.clip_after,
            energy_delay=self.energy_delay,
        )
