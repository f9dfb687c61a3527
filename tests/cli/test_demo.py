"""A demo too short to learn much, taken up again."""

import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from ase_bmdal.cli import demo, main
from ase_bmdal.cli.demo import draw
from ase_bmdal.report.errors import ForcePairs
from ase_bmdal.report.figures import learning_figure, save_figure
from ase_bmdal.report.run import read_run
from tests.report.folders import made_up_run

TWICE = """
from ase_bmdal.cli import demo, main

demo.TEST_EQUILIBRATION, demo.TEST_SPACING = 10, 1
for steps in ("4", "1"):
    assert main(["demo", "--directory", "run", "--max-labels", "3", "--steps", steps]) == 0
"""


@pytest.mark.integration
def test_runs_and_is_taken_up(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", TWICE], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert run.returncode == 0, run.stderr
    first, _, again = run.stdout.partition("This folder holds a run already: it is taken up where it ended.")
    assert "3 labels" in first
    assert "3 labels" in again
    assert re.search(r"On 50 frames .* forces MAE \d+, RMSE \d+ meV/Å", first)
    assert imread(tmp_path / "run" / "learning.png").shape == (675, 1440, 4)
    assert "I0000" not in run.stderr  # TensorFlow's start-up messages


@pytest.mark.parametrize(
    ("named", "expected"), [([], demo.SECOND_ACT), (["--directory", str(demo.FIRST_ACT)], demo.FIRST_ACT)]
)
def test_a_baseline_has_a_folder_of_its_own_unless_one_is_named(monkeypatch, named, expected):
    folders = []
    monkeypatch.setattr(demo, "learn", lambda arguments: folders.append(arguments.directory))
    monkeypatch.setattr(demo, "put_to_the_test", lambda model, seed: (None, ""))
    monkeypatch.setattr(demo, "draw", lambda path, pairs: 0)
    assert main(["demo", "--baseline", *named]) == 0
    assert folders == [expected]


def test_the_figure_shows_the_independent_trajectory(tmp_path):
    run = made_up_run(tmp_path / "run")
    pairs = ForcePairs(reference=np.zeros(6), predicted=np.full(6, 0.04))
    assert draw(run / "learning.png", pairs) == 8
    title = "50 frames of an independent trajectory"
    save_figure(learning_figure(read_run(run), pairs, title), tmp_path / "expected.png")
    assert (run / "learning.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


@pytest.mark.parametrize(
    ("option", "value"), [("--steps", "0"), ("--max-labels", "0"), ("--selection", "LCMD + MORE")]
)
def test_refuses_wrong_arguments(tmp_path, monkeypatch, capsys, option, value):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", option, value]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ase-bmdal: error: ")
    assert not any(tmp_path.iterdir())
