"""Labels by Quantum ESPRESSO, an MPI program that ASE starts: aluminium in a small basis, ranks of Open MPI."""

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ase_bmdal.labelling import ComputedLabel, Labeller, LabellingSettings
from tests.labelling.treacherous import wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MPIRUN = "/usr/bin/mpirun.openmpi"
PSEUDOPOTENTIALS = Path("/usr/share/espresso/pseudo")
IS_THERE = shutil.which("pw.x") and Path(MPIRUN).exists() and PSEUDOPOTENTIALS.exists()
NEEDED = "no Quantum ESPRESSO: apt-get install quantum-espresso quantum-espresso-data openmpi-bin"
pytestmark = [pytest.mark.integration, pytest.mark.skipif(not IS_THERE, reason=NEEDED)]
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@pytest.fixture(autouse=True)
def root_may_start_ranks(monkeypatch):
    for name, value in AS_ROOT.items():
        monkeypatch.setenv(name, value)


def espresso(n_ranks, steps=100, accuracy=1e-6):
    from ase.calculators.espresso import Espresso, EspressoProfile

    return Espresso(
        profile=EspressoProfile(f"{MPIRUN} -n {n_ranks} pw.x", PSEUDOPOTENTIALS),
        pseudopotentials={"Al": "Al.pz-vbc.UPF"},
        input_data={
            "control": {"tprnfor": True, "tstress": True},
            "system": {"ecutwfc": 12, "occupations": "smearing", "degauss": 0.05},
            "electrons": {"electron_maxstep": steps, "conv_thr": accuracy},
        },
    )


def aluminium(n):
    structures = [bulk("Al", cubic=True) for _ in range(n)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=k)
    return structures


def label(labeller, structures):
    found = dict(labeller.label(structures))
    return [found[k] for k in range(len(structures))]


def expect_labels(outcomes, structures, folder):
    """Those of the code alone; its sums over two ranks are bit for bit the same."""
    for outcome, atoms in zip(outcomes, structures, strict=True):
        assert isinstance(outcome, ComputedLabel), outcome
        alone = espresso(2)
        alone.directory = folder / "alone"
        atoms.calc = alone
        assert outcome.energy == atoms.get_potential_energy(force_consistent=True)
        np.testing.assert_array_equal(outcome.forces, atoms.get_forces())
        np.testing.assert_array_equal(outcome.stress, atoms.get_stress())


def test_two_ranks_on_two_cores(tmp_path):
    structures = aluminium(2)
    settings = LabellingSettings(cores=2)
    with Labeller(partial(espresso, 2), scratch=tmp_path / "scratch", settings=settings) as labeller:
        outcomes = label(labeller, structures)
    expect_labels(outcomes, structures, tmp_path)


def test_several_at_a_time(tmp_path):
    """Launchers of Open MPI share a folder for their sessions."""
    with Labeller(partial(espresso, 1), scratch=tmp_path / "scratch", n_workers=4) as labeller:
        outcomes = label(labeller, aluminium(8))
    assert {type(outcome) for outcome in outcomes} == {ComputedLabel}


def test_an_scf_that_does_not_converge(tmp_path):
    reference = partial(espresso, 2, steps=2)
    with Labeller(reference, scratch=tmp_path / "scratch", n_workers=1) as labeller:
        (failed,) = label(labeller, aluminium(1))
    assert failed.error_class == "subprocess.CalledProcessError"
    assert "convergence NOT achieved" in Path(failed.scratch, "espresso.pwo").read_text()


def test_more_ranks_than_there_are_cores(tmp_path):
    with Labeller(partial(espresso, 10_000), scratch=tmp_path / "scratch", n_workers=1) as labeller:
        (failed,) = label(labeller, aluminium(1))
    assert failed.error_class == "subprocess.CalledProcessError"
    assert "not enough slots" in Path(failed.scratch, "espresso.err").read_text()


def ranks_in(folder):
    """Processes of the code that work below a folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            is_below = process.name.isdecimal() and (process / "cwd").readlink().is_relative_to(folder)
            if is_below and (process / "comm").read_text() == "pw.x\n":
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_ranks_end_with_the_time_of_their_label(tmp_path):
    settings = LabellingSettings(timeout=3.0)
    endless = partial(espresso, 2, steps=1_000_000, accuracy=-1.0)
    with (
        Labeller(endless, scratch=tmp_path / "scratch", n_workers=1, settings=settings) as labeller,
        contextlib.closing(labeller.in_flight()) as flight,
    ):
        flight.submit(dict(enumerate(aluminium(1))))
        wait_until(lambda: len(ranks_in(tmp_path)) == 2)
        found = {}
        while flight:
            found |= flight.poll(0.2)
    assert found[0].error_class == "TimedOut"
    wait_until(lambda: not ranks_in(tmp_path))


IN_RANK_0 = """
import pickle
from functools import partial
from pathlib import Path
from ase_bmdal.labelling import Labeller
from tests.integration.test_espresso import aluminium, espresso, label

with Labeller(partial(espresso, 2), scratch="scratch", executor="mpi") as labeller:
    outcomes = label(labeller, aluminium(2))
Path("outcomes").write_bytes(pickle.dumps(outcomes))
"""


@pytest.mark.parametrize(
    "launcher", [BIN / "mpiexec", MPIRUN], ids=["in a job of MPICH", "in one of Open MPI"]
)
def test_in_an_mpi_job(tmp_path, launcher):
    mpi4py = pytest.importorskip("mpi4py")
    if launcher == MPIRUN and not list(Path(mpi4py.__file__).parent.glob("MPI.openmpi.*")):
        pytest.skip("an mpi4py that knows no Open MPI")
    (tmp_path / "script.py").write_text(IN_RANK_0)
    more = {"PYTHONPATH": str(ROOT), "PATH": f"/usr/bin{os.pathsep}{os.environ['PATH']}"}
    if launcher == MPIRUN:
        more |= {"MPI4PY_MPIABI": "openmpi", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    ended = subprocess.run(
        [launcher, "-n", "3", sys.executable, "-m", "ase_bmdal.labelling.mpi", "script.py"],
        cwd=tmp_path,
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    expect_labels(pickle.loads((tmp_path / "outcomes").read_bytes()), aluminium(2), tmp_path)
