import numpy as np
from matplotlib.image import imread

from ase_bmdal.report.errors import ForcePairs
from ase_bmdal.report.figures import learning_figure, save_figure
from ase_bmdal.report.run import read_run
from tests.report.folders import made_up_run


def test_what_is_drawn(tmp_path):
    figure = learning_figure(read_run(made_up_run(tmp_path / "run")))
    left, right, _ = figure.axes  # the last one is the colour bar
    rmse, mae = left.lines
    assert [line.get_label() for line in left.lines] == ["RMSE", "MAE"]
    assert (left.get_xlabel(), left.get_ylabel()) == (
        "labels the potential was trained on",
        "force error / meV Å⁻¹",
    )
    np.testing.assert_allclose(rmse.get_ydata(), mae.get_ydata())  # as they were made up
    np.testing.assert_allclose(mae.get_xdata(), [2, 4, 6])  # labels trained on, not labels afterwards
    np.testing.assert_allclose(mae.get_ydata(), [250, 125, 62.5])
    assert "last round 62 meV" in right.texts[0].get_text()
    assert right.get_xlim() == right.get_ylim()
    assert len(right.collections[0].get_offsets()) == 3 * 2 * 9  # components of all rounds but the first


def test_a_test_set_takes_the_place_of_predictions_before_training(tmp_path):
    test = ForcePairs(reference=np.zeros(6), predicted=np.full(6, 0.04))
    figure = learning_figure(read_run(made_up_run(tmp_path / "run")), test, "six")
    assert figure.axes[1].get_title() == "six"
    assert "MAE 40 meV" in figure.axes[1].texts[0].get_text()


def test_a_run_without_predictions_says_so(tmp_path):
    left, right = learning_figure(read_run(made_up_run(tmp_path / "run", 1))).axes
    assert left.texts[0].get_text() == "no round since first contact"
    assert right.texts[0].get_text() == "no predictions yet"
    assert not left.lines
    assert not right.collections


def test_one_round_needs_no_colour_bar(tmp_path):
    left, right = learning_figure(read_run(made_up_run(tmp_path / "run", 2))).axes
    assert [line.get_xdata().tolist() for line in left.lines] == [[2], [2]]
    assert len(right.collections[0].get_offsets()) == 2 * 9


def test_a_figure_is_written_whole(tmp_path):
    figure = learning_figure(read_run(made_up_run(tmp_path / "run", 2)))
    save_figure(figure, tmp_path / "new" / "figure.png")
    assert imread(tmp_path / "new" / "figure.png").shape == (675, 1440, 4)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figure.png"]
