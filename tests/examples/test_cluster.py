"""The job scripts of examples/cluster, run as far as they can be without a cluster."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule

from ase_bmdal import GMNNCalculator
from ase_bmdal.run.store import LabelStore
from tests.integration import test_espresso as espresso
from tests.labelling.backends import slurm as queue
from tests.labelling.treacherous import alive, wait_until

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "examples" / "cluster"
SCRIPTS = sorted(path.name for path in CLUSTER.glob("*.sh"))
BIN = Path(sys.executable).parent
LABELS = 4
SMALL = {
    "background": False,
    "max_labels": LABELS,
    "initial_data": {"n_structures": LABELS},
    "epochs": 1,
    "architecture": {"hidden": [8], "n_gaussians": 4, "n_radial": 2, "cutoff": 4.0},
}
NOT_COMPILED = "import tensorflow as tf; tf.config.run_functions_eagerly(True)\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_understands_it_and_a_queue_its_options(name):
    subprocess.run(["bash", "-n", CLUSTER / name], check=True)
    lines = (CLUSTER / name).read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH --")]
    commands = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
    assert max(options) < min(commands)  # sbatch reads no further


@pytest.fixture
def submit(tmp_path, monkeypatch):
    """Run a job script in a folder that holds what is beside it."""
    pytest.importorskip("tblite")
    folder = tmp_path / "cluster"
    shutil.copytree(CLUSTER, folder)
    for script in folder.glob("*.py"):
        script.write_text(NOT_COMPILED + script.read_text())
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    variables = queue.stand_in(tmp_path / "queue") | {
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "STEPS": "3",
    }

    def run(name, settings=(), **more):
        ended = subprocess.run(
            ["bash", name],
            cwd=folder,
            env=os.environ | variables | {"SETTINGS": json.dumps(SMALL | dict(settings))} | more,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stderr

    run.folder, run.queue = folder, tmp_path / "queue"
    return run


def expect_a_potential(run, atoms, said):
    rows = LabelStore(run / "labels.db").rows()
    assert [row.status for row in rows] == ["done"] * LABELS
    assert f"round 0: {LABELS} labels, 0 failed" in said
    assert "all steps are done: 3 steps" in said
    atoms.calc = GMNNCalculator(run)
    assert np.isfinite(atoms.get_forces()).all()


@pytest.mark.integration
def test_one_node(submit):
    said = submit("one_node.sh", CORES="1")
    expect_a_potential(submit.folder / "ethanol", molecule("CH3CH2OH"), said)


@pytest.mark.integration
def test_mpi_job(submit):
    pytest.importorskip("mpi4py")
    said = submit("mpi_job.sh", SLURM_NTASKS="3")
    expect_a_potential(submit.folder / "ethanol", molecule("CH3CH2OH"), said)


@pytest.mark.integration
def test_labels_as_jobs(submit):
    pytest.importorskip("dask_jobqueue")
    job = {"memory": "1GB", "walltime": "00:10:00"}
    said = submit("labels_as_jobs.sh", {"jobs": 1, "job": job}, CORES="1")
    expect_a_potential(submit.folder / "ethanol", molecule("CH3CH2OH"), said)
    jobs = queue.jobs(submit.queue)
    assert len(jobs) == 1
    wait_until(lambda: not any(map(alive, jobs)))


STAND_INS = {"mpirun": 'shift 2; exec "$@"', "pw.x": f'exec {sys.executable} -m tests.examples.espresso "$@"'}


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["stand-in", "real"])
def test_sixteen_cores(submit, kind):
    if kind == "stand-in":
        queue.write_commands(submit.queue / "bin", STAND_INS)
        more = {"MPIRUN": "mpirun"}
    elif not espresso.IS_THERE:
        pytest.skip(espresso.NEEDED)
    else:
        more = {"MPIRUN": espresso.MPIRUN, "KPOINTS": "1"} | espresso.AS_ROOT
    said = submit("sixteen_cores.sh", CORES="2", **more)
    expect_a_potential(submit.folder / "aluminium", bulk("Al", cubic=True), said)
