import numpy as np
import pytest

from ase_bmdal.labelling.record import LONGEST_TEXT, LabelRecord, describe, failure


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError


def test_failure_can_be_written_anywhere():
    record = failure("X\udc80", "a" * 10 * LONGEST_TEXT + "the end")
    assert record.status == "failed"
    record.error_class.encode("utf-8")
    assert len(record.error_text) < LONGEST_TEXT + 20
    assert record.error_text.endswith("the end")


def test_describe():
    assert describe(ValueError("no")) == ("ValueError", "no")
    assert describe(np.linalg.LinAlgError("singular")) == ("numpy.linalg.LinAlgError", "singular")
    assert describe(MuteError())[0].endswith("test_record.MuteError")


def test_is_frozen():
    with pytest.raises(AttributeError):
        LabelRecord(status="done").energy = 1.0
