"""Reading results back."""

import json

import numpy as np
import pytest

from ase_bmdal import RunFolderError
from ase_bmdal_experiments.curves import Mean, read_results
from ase_bmdal_experiments.folder import ResultsFolder
from ase_bmdal_experiments.tables import results_text
from tests.experiments.made_up import METHODS, write
from tests.experiments.small import settings


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


def test_refuses_folders_without_results(tmp_path):
    with pytest.raises(RunFolderError, match="expected results of a benchmark"):
        read_results(tmp_path)
    ResultsFolder(tmp_path, settings())
    with pytest.raises(RunFolderError, match="found no finished step"):
        read_results(tmp_path)
