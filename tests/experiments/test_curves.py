"""Reading results back, tables and figures."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from ase_bmdal import COMBINATIONS, Combination, RunFolderError
from ase_bmdal_experiments.curves import KCAL_PER_MOL, Mean, read_results
from ase_bmdal_experiments.figures import Plot, draw, make_figures, write_figures
from ase_bmdal_experiments.folder import ResultsFolder
from ase_bmdal_experiments.tables import errors_table, results_text
from tests.experiments.small import settings

METHODS = ("MAXDIAG + RND", "LCMD + FEAT(LL)", "LCMD + FEAT(RP)")


def record(method, seed, step, size, forces):
    energy = {"mae": 0.1 * (seed + 1), "rmse": 0.2, "maxe": 0.5}
    errors = {"energy": energy}
    if forces:
        errors["forces"] = {"mae": 1.0 / size + seed, "rmse": 2.0, "maxe": 3.0, "maxe_component": 4.0}
    found = None if "RND" in method else {"pearson": 0.25, "spearman": None}
    return {
        "method": method,
        "seed": seed,
        "step": step,
        "n_train": size,
        "errors": errors,
        "correlation": found,
        "seconds": {"training": 2.0, "evaluation": 1.0},
    }


def write(path, methods=METHODS, seeds=(0, 1), **changes):
    how = settings(**changes)
    folder = ResultsFolder(path, how)
    for method in methods:
        for seed in seeds:
            lines = [
                json.dumps(record(method, seed, step, size, how.forces))
                for step, size in enumerate(how.sizes)
            ]
            folder.curve(Combination.parse(method), seed).path.write_text("\n".join(lines) + "\n")
    return path


def test_means_and_standard_errors():
    assert Mean.of([2.0]) == Mean(2.0, None, 1)
    assert Mean.of([1.0, 2.0, 6.0]) == Mean(3.0, pytest.approx(np.std([1, 2, 6], ddof=1) / np.sqrt(3)), 3)


def test_learning_curves_and_their_averages(tmp_path):
    results = read_results(write(tmp_path))
    assert results.methods == ["MAXDIAG + RND", "LCMD + FEAT(LL)", "LCMD + FEAT(RP)"]
    curve = results.learning_curve("LCMD + FEAT(LL)", "errors", "forces", "mae")
    assert list(curve) == results.sizes == [4, 6, 8]
    assert curve[4] == Mean(0.75, pytest.approx(0.5), 2)
    average = results.average("LCMD + FEAT(LL)", "errors", "forces", "mae")
    assert average.value == pytest.approx(np.mean([1 / 4, 1 / 6, 1 / 8]) + 0.5)
    assert results.learning_curve("MAXDIAG + RND", "correlation", "pearson") == {}


def test_unfinished_curves_are_not_averaged(tmp_path):
    write(tmp_path, METHODS[:1], (0,))
    (path,) = tmp_path.glob("*.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    results = read_results(tmp_path)
    assert results.average(METHODS[0], "errors", "forces", "mae") is None
    assert "| 6 | MAXDIAG + RND | 1 |" in results_text(results)


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


def test_curves_relative_to_another_method(tmp_path):
    results = read_results(write(tmp_path))
    names = ("errors", "forces", "mae")
    assert results.relative_curve(METHODS[0], METHODS[0], *names)[6] == Mean(1.0, 0.0, 2)
    path = tmp_path / "lcmd-feat-ll-seed-1.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["errors"]["forces"]["mae"] *= 3
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = read_results(tmp_path).relative_curve(METHODS[1], METHODS[0], *names)
    assert curve[6].value == pytest.approx(2.0)
    assert curve[4].value == pytest.approx(1.0)


def test_tables_of_energies_only(tmp_path):
    text = results_text(read_results(write(tmp_path, forces=False)))
    assert "forces" not in text
    assert "Pearson" in text


def test_what_is_drawn(tmp_path):
    folders = [read_results(write(tmp_path / str(batch), batch=batch)) for batch in (1, 2)]
    figures = dict(make_figures(folders, "meV"))
    assert set(figures) == {
        f"{a}-{b}" for a in ("learning", "relative", "batch", "feature-maps") for b in ("forces", "energy")
    }
    for name, figure in figures.items():
        assert [axes.get_title() for axes in figure.axes] == ["MAE", "RMSE", "MAXE"]
        assert {len(axes.lines) for axes in figure.axes} == {2 if "maps" in name else 3}
    assert labels_of(figures["learning-forces"]) == ("number of labels", "force error / meV/Å")
    assert labels_of(figures["learning-energy"]) == ("number of labels", "energy error / meV")
    assert labels_of(figures["relative-energy"])[1] == "energy error / that of random selection"
    assert labels_of(figures["batch-forces"])[0] == "batch size (8 labels in the end)"


def test_lines_are_means_over_seeds(tmp_path):
    folders = [read_results(write(tmp_path / str(batch), batch=batch)) for batch in (1, 2)]
    figures = dict(make_figures(folders, "meV"))
    assert lines(figures["learning-forces"])["LCMD + FEAT(LL)"] == [
        (n, pytest.approx(1000 * (1 / n + 0.5))) for n in (4, 6, 8)
    ]
    assert lines(figures["relative-forces"])["MAXDIAG + RND"] == [(4, 1.0), (6, 1.0), (8, 1.0)]
    assert lines(figures["batch-forces"])["LCMD + FEAT(LL)"] == [(n, pytest.approx(625)) for n in (1, 2)]


def labels_of(figure):
    return figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()


def lines(figure):
    return {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in figure.axes[0].lines}


def test_only_curves_that_all_batch_sizes_have_are_compared(tmp_path):
    many = read_results(write(tmp_path / "2", batch=2))
    few = read_results(write(tmp_path / "1", METHODS[:2], (1, 5), batch=1))
    of_seed_1 = [(n, pytest.approx(1000 * (1 / 8 + 1))) for n in (1, 2)]
    assert lines(dict(make_figures([many, few], "meV"))["batch-forces"]) == dict.fromkeys(
        METHODS[:2], of_seed_1
    )


def test_figures_of_one_method_and_seed_are_written(tmp_path):
    results = read_results(write(tmp_path, METHODS[:1], (0,), forces=False))
    (path,) = write_figures([results], tmp_path / "new")
    assert path == tmp_path / "new" / "learning-energy.png"
    assert imread(path).shape == (720, 1650, 4)


def test_every_method_has_a_line_of_its_own(tmp_path):
    results = read_results(write(tmp_path, COMBINATIONS, (0,)))
    curves = {method: results.learning_curve(method, "errors", "forces", "mae") for method in COMBINATIONS}
    figure = draw(Plot(lambda name: curves, "number of labels"), "forces", "kcal")
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 15
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(COMBINATIONS)


def test_refuses_folders_without_results(tmp_path):
    with pytest.raises(RunFolderError, match="expected results of a benchmark"):
        read_results(tmp_path)
    ResultsFolder(tmp_path, settings())
    with pytest.raises(RunFolderError, match="found no finished step"):
        read_results(tmp_path)
