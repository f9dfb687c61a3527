import numpy as np
import pytest

from ase_bmdal.report.errors import ForcePairs
from ase_bmdal.report.figures import learning_figure, save_figure
from ase_bmdal.report.run import read_run
from tests.report.folders import made_up_run


def test_what_is_drawn(tmp_path):
    figure = learning_figure(read_run(made_up_run(tmp_path / "run")))
    left, right, _ = figure.axes  # the last one is the colour bar
    _rmse, mae = left.lines
    np.testing.assert_allclose(mae.get_xdata(), [2, 4, 6])  # labels trained on, not labels afterwards
    np.testing.assert_allclose(mae.get_ydata(), [250, 125, 62.5])
    assert "last round 62 meV" in right.texts[0].get_text()
    assert right.get_xlim() == right.get_ylim()


def test_a_test_set_takes_the_place_of_predictions_before_training(tmp_path):
    test = ForcePairs(reference=np.zeros(6), predicted=np.full(6, 0.04))
    figure = learning_figure(read_run(made_up_run(tmp_path / "run")), test, "six")
    assert figure.axes[1].get_title() == "six"
    assert "MAE 40 meV" in figure.axes[1].texts[0].get_text()


@pytest.mark.parametrize("n_rounds", [1, 2])
def test_young_runs(tmp_path, n_rounds):
    figure = learning_figure(read_run(made_up_run(tmp_path / "run", n_rounds)))
    save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
