"""Results as figures."""

import pytest
from matplotlib.image import imread

from ase_bmdal import COMBINATIONS
from ase_bmdal_experiments.curves import read_results
from ase_bmdal_experiments.figures import Plot, draw, make_figures, write_figures
from tests.experiments.made_up import METHODS, write


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
