"""Cores and threads of labels on this machine."""

import os
import subprocess
from pathlib import Path

import pytest
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT

from ase_bmdal.labelling.backends.local import available_cores, slices
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.settings import LabellingSettings
from tests.labelling.treacherous import copper

MPIRUN = "/usr/bin/mpirun.openmpi"
linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes to cores")


def test_slices_do_not_overlap():
    assert slices([0, 1, 2, 5, 6], 2) == [[0, 1], [2, 5]]
    assert slices([0, 1, 2, 5, 6], 2, 1) == [[0, 1]]
    assert slices([3], 1) == [[3]]


@pytest.mark.parametrize(("cores", "n_workers"), [(6, None), (2, 3)])
def test_more_cores_than_there_are(cores, n_workers):
    with pytest.raises(
        ValueError, match=f"cores: expected at most the 5 .* got {n_workers or 1} times {cores}"
    ):
        slices([0, 1, 2, 5, 6], cores, n_workers)


def test_more_cores_than_this_machine_has(tmp_path):
    with pytest.raises(ValueError, match="cores: expected at most the"):
        Labeller(EMT, scratch=tmp_path, settings=LabellingSettings(cores=10_000))


@pytest.mark.parametrize(("cores", "n_workers", "expected"), [(None, 3, 3), (1, 2, 2), (None, None, 0)])
def test_it_is_known_how_many_labels_are_computed_at_a_time(tmp_path, cores, n_workers, expected):
    expected = expected or len(available_cores())
    settings = LabellingSettings(cores=cores)
    with Labeller(EMT, scratch=tmp_path, n_workers=n_workers, settings=settings) as labeller:
        assert labeller.n_workers == expected


class Noted(EMT):
    """Notes which cores it has, and what it is told of threads."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        cores = " ".join(map(str, sorted(os.sched_getaffinity(0))))
        with Path(atoms.info["notes"]).open("a") as file:
            file.write(f"{os.getpid()}: {cores}: {os.environ['OMP_NUM_THREADS']}\n")


def notes(folder, n, n_workers=None, reference=Noted, **settings):
    frames = [copper() for _ in range(n)]
    for atoms in frames:
        atoms.info["notes"] = str(folder / "notes")
    with Labeller(
        reference, scratch=folder / "scratch", n_workers=n_workers, settings=LabellingSettings(**settings)
    ) as one:
        assert len(list(one.label(frames))) == n
    lines = [line.split(": ") for line in (folder / "notes").read_text().splitlines()]
    return {pid: (cores, threads) for pid, cores, threads in lines}


@linux
def test_each_worker_has_cores_of_its_own(tmp_path):
    here = available_cores()
    found = notes(tmp_path, 4 * len(here), cores=1, threads=3)
    cores = [each for each, _ in found.values()]
    assert len(set(cores)) == len(cores) <= len(here)
    assert set(cores) <= set(map(str, here))
    assert {threads for _, threads in found.values()} == {"3"}
    assert available_cores() == here


class RanksNoted(EMT):
    """Notes which cores a rank has that it starts by the launcher of Open MPI."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        rank = [MPIRUN, "-n", "1", "grep", "Cpus_allowed_list", "/proc/self/status"]
        said = subprocess.run(rank, capture_output=True, text=True, check=True).stdout
        with Path(atoms.info["notes"]).open("a") as file:
            file.write(f"{os.getpid()}: {said.split()[1]}: -\n")


@linux
@pytest.mark.integration
def test_ranks_of_open_mpi_stay_on_the_cores_of_their_worker(tmp_path, monkeypatch):
    if not Path(MPIRUN).exists():
        pytest.skip(f"no {MPIRUN}: apt-get install openmpi-bin")
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        monkeypatch.setenv(name, "1")
    found = notes(tmp_path, 4 * len(available_cores()), reference=RanksNoted, cores=1)
    cores = [each for each, _ in found.values()]
    assert len(set(cores)) == len(cores)
    assert set(cores) <= set(map(str, available_cores()))


@linux
def test_all_cores_for_one_label(tmp_path):
    here = available_cores()
    found = notes(tmp_path, 3, cores=len(here))
    assert [cores for cores, _ in found.values()] == [" ".join(map(str, here))]


@linux
def test_without_cores_nobody_is_bound(tmp_path):
    found = notes(tmp_path, 2, n_workers=1, environment={"OMP_NUM_THREADS": "5"}, threads=3)
    assert list(found.values()) == [(" ".join(map(str, available_cores())), "5")]
