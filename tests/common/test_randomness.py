import subprocess
import sys

import numpy as np

from ase_bmdal.common.randomness import stream


def test_streams_depend_on_seed_and_purpose_alone():
    draws = {
        names: stream(*names).random() for names in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", 2)]
    }
    assert len(set(draws.values())) == len(draws)
    assert stream(0, "a").random() == draws[0, "a"]
    script = "from ase_bmdal.common.randomness import stream; print(repr(float(stream(0, 'a').random())))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert float(out) == draws[0, "a"]


def test_streams_leave_the_global_state_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    stream(3, "x").normal(size=10)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
