"""Files of a failed calculation come to the driver, up to a size."""

import io
import os
import tarfile

import numpy as np
import pytest

from ase_bmdal.labelling import parcel
from ase_bmdal.labelling.parcel import LARGEST, LEFT_OUT, packed, unpack


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "there"
    (folder / "below").mkdir(parents=True)
    (folder / "output.txt").write_text("it did not converge\n" * 100_000)
    (folder / "below" / "input é.txt").write_text("ecut 30")
    (folder / "empty").touch()
    return folder


def arrived(folder, **how):
    there = folder.with_name("here")
    content = packed(folder, **how)
    unpack(content, there)
    files = {str(path.relative_to(there)): path.read_bytes() for path in there.rglob("*") if path.is_file()}
    return len(content), files


def noise(n, seed=0):
    return np.random.default_rng(seed).bytes(n)


def test_all_that_is_small(folder):
    size, files = arrived(folder)
    assert size < 20_000
    assert files == {
        name: (folder / name).read_bytes() for name in ("output.txt", "below/input é.txt", "empty")
    }


def test_the_largest_are_left_out(folder):
    (folder / "wavefunction").write_bytes(noise(5_000_000))
    (folder / "density").write_bytes(noise(400_000))
    (folder / "potential").write_bytes(noise(500_000))
    (folder / "charges").write_bytes(noise(600_000))
    size, files = arrived(folder)
    assert size <= LARGEST
    note = files.pop(LEFT_OUT).decode()
    assert note == "too large to be sent to the driver:\ncharges\nwavefunction\n"
    assert files.keys() == {"output.txt", "below/input é.txt", "empty", "density", "potential"}


def test_many_files(folder):
    for number in range(2000):
        (folder / f"{number:03}{'x' * 200}").write_bytes(noise(1000, number))
    size, files = arrived(folder, largest=100_000)
    assert 20_000 < size <= 100_000
    assert files[LEFT_OUT].decode().endswith("others\n")


def test_what_would_take_long_is_not_tried(folder, monkeypatch):
    monkeypatch.setattr(parcel, "HOPELESS", 1_000_000)
    monkeypatch.setattr(parcel, "LARGEST", 1_000_000)
    _, files = arrived(folder)
    assert files[LEFT_OUT].decode().endswith("\noutput.txt\n")


def test_links_and_pipes_and_what_cannot_be_read(folder, monkeypatch):
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "folder").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    assert arrived(folder)[1].keys() == {"output.txt", "below/input é.txt", "empty"}


def test_nothing_comes_to_lie_elsewhere(tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../elsewhere"))
    with pytest.raises(OSError, match="a broken parcel"):
        unpack(content.getvalue(), tmp_path / "here")
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_parcel(folder):
    content = packed(folder)
    with pytest.raises(OSError, match="a broken parcel"):
        unpack(content[: len(content) // 2], folder.with_name("here"))
