"""The experiments that are known by name."""

import pytest

from ase_bmdal import Acquisition
from ase_bmdal_experiments.experiments import EXPERIMENTS, experiment
from ase_bmdal_experiments.settings import BenchmarkSettings


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_are_consistent(name):
    chosen = experiment(name)
    sizes = {
        key: getattr(chosen, key) for key in ("initial", "final", "batch", "valid", "pool", "test", "labels")
    }
    assert BenchmarkSettings(data=chosen.data, **sizes).sizes[-1] == chosen.final
    assert len({Acquisition.parse(each) for each in chosen.selection}) == len(chosen.selection)
