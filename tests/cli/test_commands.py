"""Each command on a small case."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.lj import LennardJones
from ase.io import read, write

from ase_bmdal import GMNNCalculator, load_model
from ase_bmdal.cli import main
from ase_bmdal.report.figures import learning_figure, save_figure
from ase_bmdal.report.run import read_run
from ase_bmdal.structures.labels import label_of
from tests.builders import model_for, rattled
from tests.report.folders import made_up_run

pytestmark = pytest.mark.usefixtures("not_compiled")


def _labelled(atoms, seed):
    frame = rattled(atoms, seed)
    frame.calc = LennardJones(sigma=0.8, epsilon=0.1)
    frame.get_forces()
    return label_of(frame).attach(frame)


@pytest.fixture
def data(tmp_path):
    frames = [_labelled(molecule("H2O"), seed) for seed in range(6)]
    write(tmp_path / "data.xyz", frames)
    return tmp_path / "data.xyz"


@pytest.fixture
def model(tmp_path):
    model_for([molecule("H2O")], hidden=(8,)).save(tmp_path / "model.npz")
    return tmp_path / "model.npz"


def test_evaluate_in_words_and_in_json(model, data, capsys):
    assert main(["evaluate", str(model), str(data)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("6 structures: 6 energies, 6 forces, 0 stresses; from energy, forces")
    assert "structure" in text.partition("Largest errors")[2]
    assert main(["evaluate", str(model), str(data), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["structures"] == 6
    assert f"{1000 * numbers['forces']['mae']:.2f}" in text
    assert numbers["energy_per_atom"]["mae"] == pytest.approx(numbers["energy"]["mae"] / 3)
    assert "stress" not in numbers


def test_a_part_of_a_file_may_be_asked_for(model, data, tmp_path, capsys):
    labels = made_up_run(tmp_path / "run") / "labels.db"
    for path, n in ((f"{labels}@status=done", 8), (f"{data}@:4", 4), (f"{data}@-1", 1)):
        assert main(["evaluate", str(model), path, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["structures"] == n
    assert main(["evaluate", str(model), str(labels)]) == 2
    assert "structure 8" in capsys.readouterr().err


def test_evaluate_says_what_the_calculator_says(model, data, capsys):
    frames = read(data, ":")
    truth = [frame.get_potential_energy() for frame in frames]
    for frame in frames:
        frame.calc = GMNNCalculator(model)
    errors = np.subtract([frame.get_potential_energy() for frame in frames], truth)
    main(["evaluate", str(model), str(data), "--json"])
    assert json.loads(capsys.readouterr().out)["energy"]["mae"] == pytest.approx(np.abs(errors).mean())


@pytest.mark.parametrize("method", ["LCMD + FEAT(LL)", "maxdiag+rnd", "MAXDIAG + AE(F)"])
def test_select_prints_places_in_the_pool(method, model, data, capsys):
    argv = [
        "select",
        str(model),
        "--train",
        str(data),
        "--pool",
        str(data),
        "--n",
        "3",
        "--selection",
        method,
    ]
    assert main(argv) == 0
    first = capsys.readouterr().out.split()
    assert len(set(first)) == 3
    assert set(first) <= set("012345")
    main(argv)
    assert capsys.readouterr().out.split() == first


def test_select_writes_what_it_chose(model, data, tmp_path, capsys):
    out = str(tmp_path / "chosen.xyz")
    argv = ["select", str(model), "--train", str(data), "--pool", str(data), "--n", "2", "--out", out]
    assert main(argv) == 0
    pool, chosen = read(data, ":"), read(out, ":")
    picks = [pool[int(place)] for place in capsys.readouterr().out.split()]
    np.testing.assert_allclose([a.positions for a in chosen], [a.positions for a in picks])
    assert [a.get_potential_energy() for a in chosen] == [a.get_potential_energy() for a in picks]


def test_evaluate_finds_labels_by_their_names(model, data, tmp_path, capsys):
    frames = read(data, ":")
    for frame in frames:
        frame.info["E_pbe"], frame.arrays["F_pbe"] = -1.0, frame.get_forces()
    write(tmp_path / "pbe.xyz", frames)
    argv = ["evaluate", str(model), str(tmp_path / "pbe.xyz"), "--energy-key", "E_pbe"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "6 structures: 6 energies, 0 forces, 0 stresses; from E_pbe; not used: forces, energy"
    )
    assert main([*argv, "--forces-key", "F_pbe"]) == 0
    assert "6 forces, 0 stresses; from E_pbe, F_pbe" in capsys.readouterr().out


def test_select_writes_over_nothing_it_reads(model, data, capsys):
    before = Path(data).read_bytes()
    pool = f"{data}@::2"
    argv = ["select", str(model), "--train", str(data), "--pool", pool, "--n", "1", "--out", str(data)]
    assert main(argv) == 2
    assert "expected another file than those that are read" in capsys.readouterr().err
    assert Path(data).read_bytes() == before


def test_select_by_a_committee_needs_one(model, data, capsys):
    argv = ["select", str(model), "--train", str(data), "--pool", str(data), "--n", "1"]
    assert main([*argv, "--selection", "MAXDIAG + QBC(E)"]) == 2
    assert "committee" in capsys.readouterr().err


def test_report_prints_and_draws(tmp_path, capsys):
    path = made_up_run(tmp_path / "run")
    assert main(["report", str(path)]) == 0
    assert "8 labels, 1 failed" in capsys.readouterr().out
    save_figure(learning_figure(read_run(path)), tmp_path / "expected.png")
    assert (path / "report.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


@pytest.mark.integration
def test_train_holds_out_and_says_so(data, tmp_path, capsys):
    out = tmp_path / "new" / "trained.npz"
    argv = ["train", str(data), "--valid", "0.34", "--cutoff", "3", "--epochs", "2", "--out", str(out)]
    assert main([*argv, "--atomic-energies", "H=-13.6, O=-2041"]) == 0
    captured = capsys.readouterr()
    assert "data.xyz: 6 structures: 6 energies, 6 forces, 0 stresses; from" in captured.out
    assert "4 training structures" in captured.out
    assert "2 validation structures" in captured.out
    assert captured.err == ""  # no progress unless at a terminal
    assert load_model(out).settings.cutoff == 3.0


def test_train_refuses_before_it_trains(data, tmp_path, capsys):
    assert main(["train", str(data), "--out", str(tmp_path)]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["train", str(data), "--valid", "1.5", "--out", str(tmp_path / "m.npz")]) == 2
    assert "[0, 1)" in capsys.readouterr().err
    assert main(["train", str(data), "--cutoff", "-1", "--out", str(tmp_path / "m.npz")]) == 2
    assert "error: cutoff: Input should be greater than" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", str(data), "--atomic-energies", "H:1", "--out", str(tmp_path / "m.npz")])
    assert "invalid atomic_energies value: 'H:1'" in capsys.readouterr().err


@pytest.fixture
def cheap(tmp_path):
    """Functions that make calculators, in a file."""
    (tmp_path / "cheap.py").write_text(
        "from functools import partial\n"
        "from ase.calculators.lj import LennardJones\n"
        "weak = partial(LennardJones, sigma=0.8, epsilon=0.06)\n"
        "weaker = partial(LennardJones, sigma=0.8, epsilon=0.04)\n"
        "number = 3\n"
    )
    return f"{tmp_path / 'cheap.py'}"


def test_a_potential_with_a_baseline(data, cheap, tmp_path, capsys):
    path = str(tmp_path / "difference.npz")
    train = ["train", str(data), "--cutoff", "4", "--epochs", "1", "--out", path]
    both = ["--baseline", f"{cheap}:weak", "--baseline", f"{cheap}:weaker"]  # together what the labels are of
    assert main([*train, *both]) == 0
    capsys.readouterr()
    assert main(["evaluate", path, str(data), "--json", *both]) == 0
    assert json.loads(capsys.readouterr().out)["forces"]["mae"] < 1e-3
    assert main(["evaluate", path, str(data), *both[:2]]) == 2
    assert "got another" in capsys.readouterr().err
    assert main(["evaluate", path, str(data)]) == 2
    assert "expected the baseline" in capsys.readouterr().err
    select = ["select", path, "--train", f"{data}@:3", "--pool", f"{data}@3:", "--n", "1"]
    assert main(select) == 0
    chosen = capsys.readouterr().out
    assert main([*select, *both]) == 0
    assert capsys.readouterr().out == chosen


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("{cheap}", "expected file.py:function"),
        ("{cheap}:strong", "has no attribute 'strong'"),
        ("{cheap}:number", "expected a function, got 3"),
        ("nowhere.py:weak", "nowhere.py"),
        ("no.such.package:weak", "No module named"),
    ],
)
def test_a_baseline_that_is_not_there(model, data, cheap, capsys, where, text):
    assert main(["evaluate", str(model), str(data), "--baseline", where.format(cheap=cheap)]) == 2
    error = capsys.readouterr().err
    assert "--baseline" in error
    assert text in error


def test_distil(tmp_path, capsys):
    folder = made_up_run(tmp_path / "run")
    few = ["--frames", "4", "--temperatures", "300", "--epochs", "1"]
    path = tmp_path / "plain.npz"
    assert main(["distil", str(folder), *few, "--out", str(path)]) == 2
    assert "expected a run folder with a trained potential" in capsys.readouterr().err
    assert main(["distil", str(folder), *few, "--out", str(tmp_path)]) == 2
    assert "got the folder" in capsys.readouterr().err
    assert not path.exists()
