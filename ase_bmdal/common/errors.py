"""What can go wrong in a sound program.

    Error
    ├── ModelError            a model file that is missing, broken, or of a newer version
    ├── UnknownElementError   an element the model was not trained on
    ├── UntrustedError        a prediction that may be so wrong that it must not be followed
    │   ├── PredictionError   a prediction that is not a number
    │   └── BaselineError     the baseline gives no result for a structure
    ├── TrainingError         a loss that is not a number, labels that cannot be learned from
    ├── LabellingError        the reference cannot be used
    │   └── BatchFailedError  every structure of a batch failed
    ├── RunFolderError        a run folder of another simulation, or of a newer version
    │   └── FolderInUseError  another process is writing to it
    ├── StoreError            a label could not be written
    ├── ForkError             TensorFlow is asked in a process that was forked off one that uses it
    └── SimulationStopped     the time is up, or SIGTERM came

Wrong arguments raise `ValueError` or `TypeError` instead, saying what was expected and what came.
"""


class Error(Exception):
    """Base of all errors of ase_bmdal."""


class ModelError(Error):
    """A model file is missing, broken, or written by a newer version."""


class UnknownElementError(Error):
    """The structure holds an element the model was not trained on."""


class UntrustedError(Error):
    """The potential cannot be trusted for this structure."""


class PredictionError(UntrustedError):
    """The potential gives no number for this structure, as for two atoms at one place."""


class BaselineError(UntrustedError):
    """The baseline gives no result for this structure."""


class TrainingError(Error):
    """Training cannot go on."""


class LabellingError(Error):
    """The reference calculator cannot be used at all."""


class BatchFailedError(LabellingError):
    """Every structure of a batch failed."""


class RunFolderError(Error):
    """The run folder does not fit this simulation."""


class FolderInUseError(RunFolderError):
    """Another process is writing to the run folder."""


class StoreError(Error):
    """A label could not be written to disk."""


class ForkError(Error):
    """TensorFlow cannot compute in a process that was forked off one in which it has computed."""


class SimulationStopped(Error):  # noqa: N818  (no error: what was asked for)
    """The time that the simulation was given is up, or SIGTERM came."""
