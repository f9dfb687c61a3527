"""Who imports what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ase_bmdal
import ase_bmdal_experiments

PACKAGE = Path(ase_bmdal.__file__).parent
EXPERIMENTS = Path(ase_bmdal_experiments.__file__).parent


def _modules_that_import(name, package=PACKAGE):
    return [
        path.relative_to(package).as_posix()
        for path in sorted(package.rglob("*.py"))
        if name in _imported_by(ast.parse(path.read_text()))
    ]


def _imported_by(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def test_every_room_has_its_tests():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= {path.parent.name for path in (PACKAGE.parent / "tests").glob("*/test_*.py")}


def test_contracts_are_kept():
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("mpi4py", ["labelling/backends/mpi.py", "labelling/worker/ranks.py"]),
        ("matplotlib", ["report/figures.py"]),
        ("pickle", ["labelling/worker/messages.py"]),  # over a pipe, never in a file
        ("multiprocessing", []),
    ],
)
def test_homes(package, homes):
    assert _modules_that_import(package) == homes


@pytest.mark.parametrize(("package", "homes"), [("matplotlib", ["figures.py"]), ("tensorflow", [])])
def test_homes_in_the_experiments(package, homes):
    assert _modules_that_import(package, EXPERIMENTS) == homes


def test_tensorflow_has_two_homes():
    homes = {path.partition("/")[0] for path in _modules_that_import("tensorflow")}
    assert homes == {"potential", "features"}


@pytest.mark.parametrize(
    "module",
    [
        "ase_bmdal",
        "ase_bmdal.cli",
        "ase_bmdal.selection",
        "ase_bmdal.kernels",
        "ase_bmdal.labelling.labeller",
        "ase_bmdal.acquisition",
        "ase_bmdal_experiments.command",
    ],
)
def test_loads_no_tensorflow(module):
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {name.partition(".")[0] for name in run.stdout.split()} & {
        "tensorflow",
        "matplotlib",
        "mpi4py",
    }
