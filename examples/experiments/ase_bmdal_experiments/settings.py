"""What a benchmark is told; whatever changes a number in its results."""

from dataclasses import replace
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from ase_bmdal import ModelSettings, TrainingSettings
from ase_bmdal.common.settings import plain, settings

Recipe = Literal["default", "paper"]

PAPER_ARCHITECTURE = ModelSettings(
    envelope="cosine", n_gaussians=7, n_radial=5, shared=0.0, input_spread=None, hidden=(512, 512)
)
PAPER = TrainingSettings(
    epochs=1000,
    batch_size=32,
    decay_power=1.0,
    weight_decay=0.0,
    force_length=None,
    energy_delay=0.0,
    energy_weight=1.0,
    stress_weight=0.0,
)
PAPER_ENERGY_ONLY = replace(PAPER, epochs=500)


@settings
class BenchmarkSettings:
    """A learning curve, but for the methods and the seeds.

    Attributes
    ----------
    data, test_data
        Name and fingerprint of the data file and of the test file; None if the test set is split from the data.
    labels
        Which labels of the files; see `read_frames`.
    forces
        Whether forces are learned.
    initial, final, batch
        Size of the first and of the last training set, and structures added at each step.
    valid
        Structures that choose the best epoch.
    pool, test
        Limits on the pool and on the test set.
    architecture, training
        Of the potential.
    baseline
        Functions that make the calculators of which the sum is subtracted from all labels.
    warm_epochs
        Epochs of every step but the first, which goes on from the potential of the step before, as the calculator
        does; None trains each from scratch, as in the paper.
    """

    data: str
    test_data: str | None = None
    labels: str | None = None
    forces: bool = True
    initial: PositiveInt
    final: PositiveInt
    batch: PositiveInt
    valid: NonNegativeInt = 200
    pool: PositiveInt | None = None
    test: PositiveInt | None = None
    architecture: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    warm_epochs: PositiveInt | None = None
    baseline: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what concerns two fields."""
        if self.final < self.initial:
            raise ValueError(f"final: expected at least the initial size {self.initial}, got {self.final}")

    @property
    def sizes(self) -> list[int]:
        """Size of the training set at every step."""
        return [*range(self.initial, self.final, self.batch), self.final]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return plain(self)


def recipe(name: Recipe, *, cutoff: float, forces: bool) -> tuple[ModelSettings, TrainingSettings]:
    """Architecture and training by name: the default ones of this package, or the paper's."""
    if name == "default":
        return ModelSettings(cutoff=cutoff), TrainingSettings()
    return replace(PAPER_ARCHITECTURE, cutoff=cutoff), PAPER if forces else PAPER_ENERGY_ONLY
