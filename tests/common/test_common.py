import subprocess
import sys

import numpy as np
import pytest

from ase_bmdal.common import errors
from ase_bmdal.common.files import TEMPORARY, write_atomically
from ase_bmdal.common.randomness import stream
from ase_bmdal.common.settings import settings


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "folder" / "file"
    for content in (b"old", b"new"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_file_stays_whole_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(f"*{TEMPORARY}"))


def test_streams_depend_on_seed_and_purpose_alone():
    draws = {
        names: stream(*names).random() for names in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", 2)]
    }
    assert len(set(draws.values())) == len(draws)
    assert stream(0, "a").random() == draws[0, "a"]
    script = "from ase_bmdal.common.randomness import stream; print(repr(float(stream(0, 'a').random())))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert float(out) == draws[0, "a"]


def test_streams_leave_the_global_state_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    stream(3, "x").normal(size=10)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@settings
class Example:
    number: int = 1
    text: str = "a"


def test_settings_check_themselves():
    assert Example(number=2) == Example(number=2, text="a")
    assert hash(Example()) == hash(Example())
    with pytest.raises(ValueError, match="number"):
        Example(number="many")
    with pytest.raises((TypeError, ValueError), match="other"):
        Example(other=1)
    with pytest.raises(AttributeError):
        Example().number = 3
    with pytest.raises((TypeError, ValueError)):
        Example(3)


def test_every_error_is_one_of_ours():
    own = [each for each in vars(errors).values() if isinstance(each, type)]
    assert all(issubclass(each, errors.Error) and each.__doc__ for each in own)
    assert all(each.__name__ in errors.__doc__ for each in own)
