"""Results as tables."""

import json

from ase_bmdal_experiments.curves import KCAL_PER_MOL, read_results
from ase_bmdal_experiments.tables import errors_table, results_text
from tests.experiments.made_up import write


def test_tables_are_in_the_unit_asked_for(tmp_path):
    results = read_results(write(tmp_path))
    line = f"| 4 | LCMD + FEAT(LL) | 2 | {0.75 / KCAL_PER_MOL:.2f} ± {0.5 / KCAL_PER_MOL:.2f} |"
    assert line in errors_table(results, "forces", "kcal")
    assert "| 4 | LCMD + FEAT(LL) | 2 | 750 ± 500 |" in errors_table(results, "forces", "meV")
    only = errors_table(results, "forces", "kcal", sizes=[8])
    assert "| 8 |" in only
    assert "| 4 |" not in only
    text = results_text(results)
    assert text.count("MAXE, component") == 2
    assert "| 0.25 ± 0.00 | – |" in text
    assert "| MAXDIAG + RND | 2.00 | 1.00 | – | – | – |" in text


def test_every_row_of_a_table_has_the_cells_of_its_header(tmp_path):
    for forces in (True, False):
        text = results_text(read_results(write(tmp_path / str(forces), forces=forces)))
        tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
        assert len(tables) == (5 if forces else 3)
        assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_mean_of_a_committee_has_a_row_of_its_own(tmp_path):
    path = write(tmp_path) / "lcmd-feat-ll-seed-1.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["errors_of_mean"] = {"forces": {"mae": 0.5, "rmse": 1.0, "maxe": 2.0, "maxe_component": 3.0}}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = errors_table(read_results(tmp_path), "forces", "meV")
    assert "| 4 | LCMD + FEAT(LL), mean of the committee | 1 | 500 |" in table


def test_tables_of_energies_only(tmp_path):
    text = results_text(read_results(write(tmp_path, forces=False)))
    assert "forces" not in text
    assert "Pearson" in text
