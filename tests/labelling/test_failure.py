import numpy as np
import pytest

from ase_bmdal.labelling.failure import LONGEST_TEXT, Failure


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError


def test_failure_can_be_written_anywhere():
    record = Failure("X\udc80", "a" * 10 * LONGEST_TEXT + "the end")
    record.error_class.encode("utf-8")
    assert len(record.error_text) < LONGEST_TEXT + 20
    assert record.error_text.endswith("the end")


def test_what_an_exception_says():
    assert Failure.of(ValueError("no")) == Failure("ValueError", "no")
    assert Failure.of(np.linalg.LinAlgError("singular")) == Failure("numpy.linalg.LinAlgError", "singular")
    assert Failure.of(MuteError()).error_class.endswith("test_failure.MuteError")


def test_text_for_a_reader():
    assert str(Failure.of(ValueError("no"))) == "ValueError: no"
    assert str(Failure.of(ValueError())) == "ValueError"


def test_is_frozen():
    with pytest.raises(AttributeError):
        Failure("X", "y").seconds = 1.0
