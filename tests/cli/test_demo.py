"""A demo too short to learn much, taken up again."""

import subprocess
import sys

import pytest

COMMAND = "import sys; from ase_bmdal.cli import main; sys.exit(main(sys.argv[1:]))"


def _demo(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "demo", "--directory", "run", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_runs_and_is_taken_up(tmp_path):
    first = _demo(tmp_path, "--steps", "4", "--max-labels", "10")
    assert first.returncode == 0, first.stderr
    assert "10 labels" in first.stdout
    assert "meV/Å" in first.stdout
    assert (tmp_path / "run" / "learning.png").stat().st_size > 10_000
    assert "I0000" not in first.stderr  # TensorFlow's start-up messages
    again = _demo(tmp_path, "--steps", "1", "--max-labels", "10")
    assert "taken up" in again.stdout
    assert "10 labels" in again.stdout


@pytest.mark.parametrize(
    ("option", "value"), [("--steps", "0"), ("--max-labels", "0"), ("--selection", "LCMD + MORE")]
)
def test_refuses_wrong_arguments(tmp_path, option, value):
    run = _demo(tmp_path, option, value)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("ase-bmdal: error: ")
    assert not any(tmp_path.iterdir())
