"""The example that chooses without a simulation."""

import runpy
import sys
from pathlib import Path

import numpy as np
from ase.io import read, write

from ase_bmdal import select_batch
from tests.builders import random_model
from tests.learner.runs import copper

EXAMPLE = Path(__file__).parents[2] / "examples" / "select_batch.py"


def test_writes_the_structures_to_label_next(tmp_path, monkeypatch, capsys):
    model = random_model([29], hidden=(8,), n_radial=2)
    model.save(tmp_path / "model.npz")
    frames = [copper(seed) for seed in range(15)]
    write(tmp_path / "labelled.xyz", frames[:3])
    write(tmp_path / "pool.xyz", frames[3:])
    files = [str(tmp_path / name) for name in ("model.npz", "labelled.xyz", "pool.xyz", "chosen.xyz")]
    monkeypatch.setattr(sys, "argv", ["select_batch.py", *files])
    runpy.run_path(str(EXAMPLE))
    known, pool = read(files[1], ":"), read(files[2], ":")
    expected = select_batch(model, pool, 10, known=known)
    assert capsys.readouterr().out == f"label next: {' '.join(map(str, expected))}\n"
    chosen = read(files[3], ":")
    np.testing.assert_allclose(
        [atoms.positions for atoms in chosen], [pool[index].positions for index in expected]
    )
