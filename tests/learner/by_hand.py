"""A learner without calculator, process and training: labels are made up, potentials come from a drawer."""

import numpy as np

from ase_bmdal import InitialData, Promotion, Retraining, UncertaintyLimits
from ase_bmdal.labelling import Failure
from ase_bmdal.learner.learner import Learner
from ase_bmdal.learner.pool import Frame
from ase_bmdal.learner.settings import LearnerSettings
from ase_bmdal.run.folder import RunFolder
from ase_bmdal.structures.labels import Label
from tests.builders import random_model
from tests.learner.runs import TINY, copper

SETTINGS = {
    "selection": "MAXDIAG + RND",
    "architecture": TINY,
    "batch_size": 3,
    "pool_size": 6,
    "initial_data": InitialData(n_structures=4),
    "uncertainty": UncertaintyLimits(enabled=False),
    "retraining": Retraining(promotion=Promotion(n_structures=1)),
}


def potential(structures, *, seed, **how):
    """What a training gives: the same for the same number of structures."""
    known = {name: getattr(TINY, name) for name in ("hidden", "n_gaussians", "n_radial", "cutoff", "dtype")}
    return random_model([29], len(structures), **known)


def learner(folder, **changes):
    return Learner(RunFolder(folder), LearnerSettings(**(SETTINGS | changes)), train=potential)


def label(task):
    """A made-up label: the squared displacements."""
    return Label(energy=float(np.sum(task.atoms.positions**2)), forces=task.atoms.positions)


def failure(task):
    return Failure("RuntimeError", "no")


def frames(number, n=6):
    """Frames of the simulation before a round."""
    return [Frame(copper(100 * number + k)) for k in range(n)]
