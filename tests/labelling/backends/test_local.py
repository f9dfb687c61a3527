"""Cores and threads of labels on this machine."""

import os
from pathlib import Path

import pytest
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT

from ase_bmdal.labelling.backends.local import available_cores, slices
from ase_bmdal.labelling.labeller import Labeller
from ase_bmdal.labelling.settings import LabellingSettings
from tests.labelling.treacherous import copper

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


class Noted(EMT):
    """Notes which cores it has, and what it is told of threads."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        cores = " ".join(map(str, sorted(os.sched_getaffinity(0))))
        with Path(atoms.info["notes"]).open("a") as file:
            file.write(f"{os.getpid()}: {cores}: {os.environ['OMP_NUM_THREADS']}\n")


def notes(folder, n, n_workers=None, **settings):
    frames = [copper() for _ in range(n)]
    for atoms in frames:
        atoms.info["notes"] = str(folder / "notes")
    with Labeller(
        Noted, scratch=folder / "scratch", n_workers=n_workers, settings=LabellingSettings(**settings)
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


@linux
def test_all_cores_for_one_label(tmp_path):
    here = available_cores()
    found = notes(tmp_path, 3, cores=len(here))
    assert [cores for cores, _ in found.values()] == [" ".join(map(str, here))]


@linux
def test_without_cores_nobody_is_bound(tmp_path):
    found = notes(tmp_path, 2, n_workers=1, environment={"OMP_NUM_THREADS": "5"}, threads=3)
    assert list(found.values()) == [(" ".join(map(str, available_cores())), "5")]
