import signal

import pytest

from ase_bmdal.labelling.worker.last_words import how_it_ended, last_words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-signal.SIGKILL, "killed by SIGKILL"),
        (-99, "killed by signal 99"),
    ],
)
def test_how_it_ended(code, words):
    assert how_it_ended(code) == words


def test_last_words_are_the_end_of_the_output_whatever_its_bytes():
    assert last_words(b" \n") == ""
    assert last_words(b"\xff out of memory\n") == "; its last words:\n\ufffd out of memory"
    assert last_words(b"a" * 5000 + b"end") == "; its last words:\n" + "a" * 997 + "end"
