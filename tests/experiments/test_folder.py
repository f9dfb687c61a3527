"""The folder of results: only added to, of one setting, one writer a curve."""

import json
from dataclasses import replace

import pytest

from ase_bmdal import COMBINATIONS, Acquisition, FolderInUseError, RunFolderError
from ase_bmdal_experiments.folder import Curve, ResultsFolder, slug
from tests.experiments.small import ARCHITECTURE, settings

RND = Acquisition.parse("MAXDIAG + RND")


def test_results_from_before_a_field_existed_have_its_default(tmp_path):
    digest = ResultsFolder(tmp_path, settings()).digest
    file = tmp_path / "settings.json"
    content = json.loads(file.read_text())
    del content["settings"]["architecture"]["r_min"], content["settings"]["valid"]
    file.write_text(json.dumps(content))
    usual = settings(valid=200)
    assert ResultsFolder(tmp_path, usual).digest == ResultsFolder(tmp_path, usual).digest != digest
    assert json.loads(file.read_text()) == content
    with pytest.raises(RunFolderError, match=r"architecture\.r_min: .* 0\.5, got 0\.4"):
        ResultsFolder(tmp_path, settings(valid=200, architecture=replace(ARCHITECTURE, r_min=0.4)))


def test_refuses_results_with_a_field_it_does_not_know(tmp_path):
    ResultsFolder(tmp_path, settings())
    file = tmp_path / "settings.json"
    content = json.loads(file.read_text())
    content["settings"]["flavour"] = "red"
    file.write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=r"flavour: .* made with red, got None"):
        ResultsFolder(tmp_path, settings())


def test_refuses_broken_results(tmp_path):
    curve = ResultsFolder(tmp_path, settings()).curve(RND, 0)
    curve.append({"step": 0})
    assert Curve(curve.path).read() == [{"step": 0}]
    curve.append({"step": 2})
    with pytest.raises(RunFolderError, match="expected step 1 in line 2, got 2"):
        curve.read()
    curve.path.write_text('{"step": 0}\n{"st')
    with pytest.raises(RunFolderError, match="line 2 is no record"):
        curve.read()
    (tmp_path / "settings.json").unlink()
    with pytest.raises(RunFolderError, match=r"expected settings\.json beside the results"):
        ResultsFolder(tmp_path, settings())


def test_refuses_results_of_a_newer_version(tmp_path):
    ResultsFolder(tmp_path, settings())
    file = tmp_path / "settings.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(RunFolderError, match="newer version"):
        ResultsFolder(tmp_path, settings())


def test_a_curve_has_one_writer(tmp_path):
    folder = ResultsFolder(tmp_path, settings())
    with folder.curve(RND, 0).lock():
        with pytest.raises(FolderInUseError, match="maxdiag-rnd-seed-0"), folder.curve(RND, 0).lock():
            pass
        with folder.curve(RND, 1).lock():
            pass


def test_files_of_different_methods_differ():
    assert len({slug(Acquisition.parse(name)) for name in COMBINATIONS}) == 15
