"""A label worker starts fast because of what it does not import."""

import subprocess
import sys

import pytest


def _imported_by(module):
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("module", ["ase_bmdal.labelling.worker.child", "ase_bmdal.labelling.worker.label"])
def test_never_loads_heavy_packages(module):
    assert not _imported_by(module) & {"tensorflow", "scipy", "matplotlib", "mpi4py", "tblite"}


def test_child_loads_no_more_than_numpy():
    assert not _imported_by("ase_bmdal.labelling.worker.child") & {"ase", "pydantic", "vesin", "sqlite3"}


def test_public_names():
    import ase_bmdal.labelling as package

    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense  # noqa: B018
