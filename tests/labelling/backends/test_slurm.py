"""Labels as jobs of a queue: the real one where there is one, else a stand-in of a few lines."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_bmdal.common.errors import LabellingError
from ase_bmdal.labelling import ComputedLabel, Labeller, LabellingSettings
from ase_bmdal.labelling.backends import resolve, slurm
from tests.labelling.backends import slurm as queue
from tests.labelling.backends.contract import rattled
from tests.labelling.treacherous import SlowAtFirst, Treacherous, alive, copper, pids_in, wait_until

JOB = {"memory": "1GB", "walltime": "00:10:00"}


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    for name, value in queue.stand_in(tmp_path / "queue").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "queue"


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(LabellingError, match=r"needs dask-jobqueue: .*; pip install dask-jobqueue"):
        Labeller(EMT, scratch=tmp_path, executor="slurm")


def test_settings_of_jobs_without_a_queue():
    with pytest.raises(ValueError, match=r"job goes with executor=\"slurm\" only, got .*1GB.* with 'local'"):
        resolve("local", None, LabellingSettings(job=JOB))


class TestWithDaskJobqueue:
    @pytest.fixture(autouse=True)
    def _there(self):
        pytest.importorskip("dask_jobqueue")

    def test_no_slurm(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(LabellingError, match=r"needs SLURM: found no sbatch on PATH"):
            Labeller(EMT, scratch=tmp_path, executor="slurm")

    def test_the_job_script(self, stand_in):
        settings = LabellingSettings(cores=16, job=JOB | {"queue": "short", "account": "me"})
        with contextlib.closing(slurm.make_cluster(settings)) as cluster:
            script = cluster.job_script()
        for line in ("-p short", "-A me", "-n 1", "--cpus-per-task=16", "-t 00:10:00"):
            assert f"#SBATCH {line}\n" in script
        assert "--nthreads 1 " in script

    @pytest.mark.filterwarnings("ignore:Exception ignored in.*Cluster.__del__")  # of dask, half made
    @pytest.mark.parametrize("job", [{}, JOB | {"nonsense": 1}], ids=["no memory", "nonsense"])
    def test_settings_that_make_no_sense(self, stand_in, job):
        with pytest.raises(ValueError, match=r"job: .*(memory|nonsense)"):
            resolve("slurm", None, LabellingSettings(job=job))

    def test_a_job_that_slurm_refuses(self, stand_in):
        with pytest.raises(LabellingError, match=r"refuses .*invalid partition\n(.*\n)*#SBATCH -p nonsense"):
            resolve("slurm", None, LabellingSettings(job=JOB | {"queue": "nonsense"}))

    @pytest.fixture(params=["stand-in", "real"])
    def _a_queue(self, request, tmp_path, monkeypatch):
        if request.param == "stand-in":
            request.getfixturevalue("stand_in")
        elif not queue.is_there():
            pytest.skip("no SLURM that answers")
        monkeypatch.chdir(tmp_path)  # for what the jobs print

    @pytest.mark.integration
    @pytest.mark.usefixtures("_a_queue")
    def test_labels_by_jobs_that_end_with_the_labeller(self, tmp_path):
        pids = tmp_path / "pids"
        structures = [*rattled(3), copper("hang", pids=str(pids))]
        settings = LabellingSettings(job=JOB, jobs=2)
        found = {}
        with (
            Labeller(
                Treacherous, scratch=tmp_path / "scratch", executor="slurm", settings=settings
            ) as labeller,
            contextlib.closing(labeller.in_flight()) as flight,
        ):
            flight.submit(dict(enumerate(structures)))
            while len(found) < 3 or not pids_in(pids):
                found |= flight.poll(0.2)
        wait_until(lambda: not any(map(alive, pids_in(pids) + queue.jobs(tmp_path / "queue"))))
        for number, atoms in enumerate(rattled(3)):
            atoms.calc = EMT()
            np.testing.assert_array_equal(found[number].forces, atoms.get_forces())

    @pytest.mark.integration
    @pytest.mark.usefixtures("_a_queue")
    def test_a_job_that_is_cancelled_in_the_middle_of_a_label(self, tmp_path):
        """Another takes its place, and computes the label."""
        import dask

        pids, found = tmp_path / "pids", {}
        settings = LabellingSettings(job=JOB)
        with (
            dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
            Labeller(
                SlowAtFirst, scratch=tmp_path / "scratch", executor="slurm", settings=settings
            ) as labeller,
            contextlib.closing(labeller.in_flight()) as flight,
        ):
            flight.submit({0: copper(pids=str(pids))})
            wait_until(lambda: pids_in(pids))
            [job] = [each.job_id for each in labeller._backend.executor._cluster.workers.values()]
            subprocess.run(["scancel", job], check=True)
            while flight:
                found |= flight.poll(0.2)
            flight.check()
        assert isinstance(found[0], ComputedLabel)
        wait_until(lambda: not any(map(alive, pids_in(pids) + queue.jobs(tmp_path / "queue"))))
