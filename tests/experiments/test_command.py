"""The command, without training."""

import io
from functools import partial

import ase.io
import pytest

from ase_bmdal import ModelSettings
from ase_bmdal.cli import main
from ase_bmdal_experiments.command import Progress, duration
from ase_bmdal_experiments.loop import Learning
from tests.experiments.made_up import write
from tests.experiments.small import ARCHITECTURE, water

SIZES = ["--cutoff", "4", "--initial", "4", "--final", "8", "--batch", "2", "--valid", "4", "--test", "10"]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "water.xyz"
    ase.io.write(path, water(30))
    return str(path)


def run(*arguments):
    return main(["benchmark", *arguments])


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["--selection", "MAXDIAG + LL"], "combination: expected one of"),
        (["--selection", "all", "--final", "50"], "50 in the end"),
        (["--selection", "all", "--initial", "0"], "initial: Input should be greater than 0"),
        (["--selection", "all", "--labels", "md17"], "labels can be chosen in NumPy archives only"),
        (["--selection", "MAXDIAG + AE(F)", "--energy-only"], "AE(F) compares with forces"),
        ([], "expected selection or an --experiment, got none"),
        (["--experiment", "gold"], "experiment: expected one of aspirin,"),
    ],
)
def test_bad_input_is_named(data, tmp_path, capsys, extra, text):
    assert run("run", data, *SIZES, "--out", str(tmp_path / "out"), *extra) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("not_compiled")
def test_run_says_what_it_does_and_goes_on(data, tmp_path, capsys, monkeypatch):
    small = partial(
        ModelSettings, **{name: getattr(ARCHITECTURE, name) for name in ("hidden", "n_gaussians", "n_radial")}
    )
    monkeypatch.setattr("ase_bmdal_experiments.settings.ModelSettings", small)
    arguments = ["run", data, *SIZES, "--out", str(tmp_path / "out"), "--epochs", "3", "--minibatch", "2"]
    assert run(*arguments, "--final", "6", "--selection", "MAXDIAG+RND") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("[1/2] MAXDIAG + RND, seed 0, 4 structures: forces MAE ")
    assert lines[1].endswith(" 0 s left")
    assert run(*arguments, "--final", "6", "--selection", "MAXDIAG+RND") == 0
    assert capsys.readouterr().out == f"Results: {tmp_path / 'out'}\n"
    assert run(*arguments, "--selection", "MAXDIAG+RND") == 2
    assert "final: the results in" in capsys.readouterr().err


def test_epochs_are_shown_at_a_terminal_only():
    event = Learning("LCMD + FEAT(LL)", 1, 20, 3, 300)
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        Progress(stream)(event)
    assert terminal.getvalue() == "\r\x1b[KLCMD + FEAT(LL), seed 1, 20 structures: epoch 3 of 300\r"
    assert file.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_an_experiment_needs_its_files(tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert run("run", "--experiment", "aspirin", *out) == 2
    assert "--data: expected the folder of aspirin_pool.npz" in capsys.readouterr().err
    assert run("run", "--experiment", "aspirin", "--data", str(tmp_path), *out) == 2
    assert "aspirin_pool.npz: No such file" in capsys.readouterr().err


def test_table_and_plot(tmp_path, capsys):
    folder = str(write(tmp_path / "results"))
    assert run("table", folder, "--sizes", "8", "--unit", "meV") == 0
    assert "| 8 | MAXDIAG + RND | 2 |" in capsys.readouterr().out
    assert run("plot", folder, "--out", str(tmp_path / "figures")) == 0
    assert (tmp_path / "figures" / "learning-forces.png").exists()
    assert run("plot", str(tmp_path)) == 2
    assert "expected results of a benchmark" in capsys.readouterr().err


def test_durations():
    assert [duration(s) for s in (0, 59.4, 90, 3600, 11100)] == [
        "0 s",
        "59 s",
        "2 min",
        "1 h 0 min",
        "3 h 5 min",
    ]
