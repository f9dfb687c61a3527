import io

import pytest

from ase_bmdal.common.terminal import StatusLines


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "written"),
    [(Terminal(), "\r\x1b[Kepoch 1\r\r\x1b[Kdone\n"), (io.StringIO(), "done\n")],
    ids=["terminal", "file"],
)
def test_a_status_is_for_terminals_and_the_next_text_replaces_it(stream, written):
    lines = StatusLines(stream)
    lines.status("epoch 1")
    lines.line("done")
    assert stream.getvalue() == written
