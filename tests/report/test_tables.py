from ase_bmdal.common.deviation import Deviation
from ase_bmdal.report.run import read_run
from ase_bmdal.report.tables import errors_table, report_text, table
from tests.report.folders import made_up_run


def test_columns_line_up():
    assert table(["n", "text"], [["1", "a"], ["10", "bcdefg"]], left=["text"]) == "\n".join(
        [" n  text", " 1  a", "10  bcdefg"]
    )


def test_errors_have_their_units():
    text = errors_table({"energy_per_atom": Deviation(0.001, 0.002), "forces": Deviation(0.05, 0.0712)})
    assert text.splitlines()[1].split() == ["energy", "per", "atom", "1.00", "2.00", "meV/atom"]
    assert text.splitlines()[2].split() == ["forces", "50.00", "71.20", "meV/Å"]


def test_everything_is_said(tmp_path):
    text = report_text(read_run(made_up_run(tmp_path / "run")))
    for expected in (
        "8 labels, 1 failed, 4 rounds",
        "250.0",
        "62.5",
        "ValueError",
        "somewhere",
        "architecture.cutoff",
    ):
        assert expected in text
    assert "no convergence no convergence" in text  # a text of many lines on one
    assert max(map(len, text.splitlines())) < 200


def test_nothing_failed(tmp_path):
    text = report_text(read_run(made_up_run(tmp_path / "run", with_failure=False)))
    assert "Calculations that failed" not in text
