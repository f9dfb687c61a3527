"""A child process and the folder of a label."""

import resource

import pytest
from ase.calculators.emt import EMT

from ase_bmdal.labelling import ComputedLabel, LabellingSettings
from ase_bmdal.labelling.outcome import NotFinished
from ase_bmdal.labelling.reference import capture
from ase_bmdal.labelling.worker import guard
from ase_bmdal.labelling.worker.child import LOG
from ase_bmdal.labelling.worker.process import LabelProcess
from tests.labelling.treacherous import copper


def emt_on_a_full_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return EMT()


@pytest.fixture
def process(tmp_path):
    process = LabelProcess(tmp_path / LOG, LabellingSettings())
    process.load(capture(emt_on_a_full_disk), None, lambda: True)
    yield process
    process.close()


def label(process, folder):
    return process.ask(copper(), True, folder, None, lambda: True)


def test_what_cannot_be_printed_on_a_full_disk(process, tmp_path):
    for _ in range(2):
        assert isinstance(label(process, tmp_path), ComputedLabel)


def test_a_folder_that_cannot_be_worked_in(process, tmp_path):
    folder = tmp_path / "full"
    (folder / LOG).mkdir(parents=True)
    with pytest.raises(NotFinished, match=f"cannot work in the scratch folder {folder}: Is a directory"):
        label(process, folder)


@pytest.mark.skipif(not guard.PROCESSES.exists(), reason="needs /proc")
def test_an_idle_process_has_nothing_open_in_the_folder(process, tmp_path):
    label(process, tmp_path)
    descriptors = (guard.PROCESSES / str(process._popen.pid) / "fd").iterdir()
    assert not [path for path in descriptors if path.readlink().is_relative_to(tmp_path)]
