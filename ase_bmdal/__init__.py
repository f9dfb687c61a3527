"""A machine-learned potential that trains itself inside any ASE simulation.

The names below are the whole public interface; each is loaded when it is first used, so that importing this
package loads nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_bmdal.acquisition.acquisition import COMBINATIONS, Acquisition
    from ase_bmdal.acquisition.ranking import rank
    from ase_bmdal.acquisition.select_batch import select_batch
    from ase_bmdal.baseline.baseline import Baseline
    from ase_bmdal.calculator.distillation import Distillation, Distilled, distil
    from ase_bmdal.calculator.exploration import Exploration
    from ase_bmdal.calculator.gmnn import GMNNCalculator
    from ase_bmdal.calculator.on_the_fly import OnTheFlyCalculator
    from ase_bmdal.common.errors import (
        BaselineError,
        BatchFailedError,
        Error,
        FolderInUseError,
        ForkError,
        LabellingError,
        ModelError,
        PredictionError,
        RunFolderError,
        SimulationStopped,
        StoreError,
        TrainingError,
        UnknownElementError,
        UntrustedError,
    )
    from ase_bmdal.features.gradient_features import gradient_features
    from ase_bmdal.labelling.settings import LabellingSettings
    from ase_bmdal.learner.loading import load_model
    from ase_bmdal.learner.settings import (
        BackgroundSettings,
        Convergence,
        InitialData,
        Promotion,
        Retraining,
    )
    from ase_bmdal.potential.check import check_potential
    from ase_bmdal.potential.files import read_model, save_model
    from ase_bmdal.potential.fit import Epoch
    from ase_bmdal.potential.gmnn import Potential, mean_label
    from ase_bmdal.potential.settings import ModelSettings, TrainingSettings
    from ase_bmdal.potential.training import train
    from ase_bmdal.potential.with_baseline import WithBaseline
    from ase_bmdal.run.events import (
        Arrived,
        BaselineCompared,
        EpochDone,
        LabelDone,
        LearningEnded,
        Rewound,
        Round,
        SimulationEnded,
        TakenOver,
    )
    from ase_bmdal.selection import select
    from ase_bmdal.structures.batch import Remembered
    from ase_bmdal.structures.labels import Label, labels_of
    from ase_bmdal.uncertainty.limits import UncertaintyLimits

__version__ = "0.1.0"

_HOME = {
    "OnTheFlyCalculator": "calculator.on_the_fly",
    "GMNNCalculator": "calculator.gmnn",
    "train": "potential.training",
    "distil": "calculator.distillation",
    "Distilled": "calculator.distillation",
    "Distillation": "calculator.distillation",
    "Exploration": "calculator.exploration",
    "load_model": "learner.loading",
    "gradient_features": "features.gradient_features",
    "select": "selection",
    "select_batch": "acquisition.select_batch",
    "check_potential": "potential.check",
    "COMBINATIONS": "acquisition.acquisition",
    "ModelSettings": "potential.settings",
    "TrainingSettings": "potential.settings",
    "Retraining": "learner.settings",
    "BackgroundSettings": "learner.settings",
    "Promotion": "learner.settings",
    "InitialData": "learner.settings",
    "Convergence": "learner.settings",
    "UncertaintyLimits": "uncertainty.limits",
    "LabellingSettings": "labelling.settings",
    "LabelDone": "run.events",
    "Arrived": "run.events",
    "EpochDone": "run.events",
    "Round": "run.events",
    "LearningEnded": "run.events",
    "BaselineCompared": "run.events",
    "Rewound": "run.events",
    "SimulationEnded": "run.events",
    "TakenOver": "run.events",
    "Error": "common.errors",
    "ModelError": "common.errors",
    "UnknownElementError": "common.errors",
    "UntrustedError": "common.errors",
    "PredictionError": "common.errors",
    "BaselineError": "common.errors",
    "TrainingError": "common.errors",
    "LabellingError": "common.errors",
    "BatchFailedError": "common.errors",
    "RunFolderError": "common.errors",
    "FolderInUseError": "common.errors",
    "StoreError": "common.errors",
    "ForkError": "common.errors",
    "SimulationStopped": "common.errors",
    "Acquisition": "acquisition.acquisition",
    "rank": "acquisition.ranking",
    "Potential": "potential.gmnn",
    "Baseline": "baseline.baseline",
    "WithBaseline": "potential.with_baseline",
    "mean_label": "potential.gmnn",
    "Epoch": "potential.fit",
    "read_model": "potential.files",
    "save_model": "potential.files",
    "Label": "structures.labels",
    "labels_of": "structures.labels",
    "Remembered": "structures.batch",
}

__all__ = [
    "OnTheFlyCalculator",
    "GMNNCalculator",
    "train",
    "distil",
    "Distilled",
    "Distillation",
    "Exploration",
    "load_model",
    "gradient_features",
    "select",
    "select_batch",
    "check_potential",
    "COMBINATIONS",
    "ModelSettings",
    "TrainingSettings",
    "Retraining",
    "BackgroundSettings",
    "Promotion",
    "InitialData",
    "Convergence",
    "UncertaintyLimits",
    "LabellingSettings",
    "LabelDone",
    "Arrived",
    "EpochDone",
    "Round",
    "LearningEnded",
    "BaselineCompared",
    "Rewound",
    "SimulationEnded",
    "TakenOver",
    "Error",
    "ModelError",
    "UnknownElementError",
    "UntrustedError",
    "PredictionError",
    "BaselineError",
    "TrainingError",
    "LabellingError",
    "BatchFailedError",
    "RunFolderError",
    "FolderInUseError",
    "StoreError",
    "ForkError",
    "SimulationStopped",
    # for programs that build on this package, such as the paper's experiments
    "Acquisition",
    "rank",
    "Potential",
    "Baseline",
    "WithBaseline",
    "mean_label",
    "Epoch",
    "read_model",
    "save_model",
    "Label",
    "labels_of",
    "Remembered",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
