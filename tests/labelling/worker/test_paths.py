"""Relative paths in a reference count from where the simulation was started, or the reason is told."""

from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.calculators.mixing import SumCalculator

from ase_bmdal.labelling import ComputedLabel, Labeller
from ase_bmdal.labelling.worker.paths import anchor, relative_paths

PROGRAM = """#!/bin/sh
test -f "$(sed -n "s/ *pseudo_dir *= *'\\(.*\\)'/\\1/p" espresso.pwi)/Cu.upf" || { echo no pseudopotential; exit 1; }
cat <<END
%s
END
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "pseudo").mkdir(parents=True)
    (home / "pseudo" / "Cu.upf").touch()
    (home / "PBE").mkdir()
    (home / "bin").mkdir()
    (home / "bin" / "pw.x").touch(mode=0o755)
    (home / "bin" / "input").touch()
    monkeypatch.chdir(home)
    return home


def test_inputs_are_anchored_wherever_they_stand(home, monkeypatch):
    calculator = Espresso(
        profile=EspressoProfile("mpirun -n 2 bin/pw.x -in bin/input -nk 2/2", "./pseudo"),
        input_data={
            "control": {"pseudo_dir": "pseudo", "outdir": "./pseudo"},
            "pp_paths": ["pseudo/", "/abs", "no"],
        },
        input_dft="PBE",
        directory="pseudo",
    )
    anchor(SumCalculator([calculator, EMT()]), home)
    assert calculator.profile.pseudo_dir == f"{home}/pseudo"
    assert calculator.profile.command == f"mpirun -n 2 {home}/bin/pw.x -in bin/input -nk 2/2"
    data = calculator.parameters["input_data"]
    assert data["control"] == {"pseudo_dir": f"{home}/pseudo", "outdir": "./pseudo"}
    assert data["pp_paths"] == [f"{home}/pseudo/", "/abs", "no"]
    assert (calculator.parameters["input_dft"], calculator.directory) == ("PBE", Path("pseudo"))
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    assert relative_paths(calculator, home) == ["command='bin/input'", "outdir='./pseudo'"]


@pytest.mark.parametrize("executor", ["local", "in-process"])
def test_a_label_finds_its_pseudopotentials(home, tmp_path, executor):
    from tests.labelling.worker.test_one_run import PWO

    (home / "bin" / "pw.x").write_text(PROGRAM % PWO.replace("Si", "Cu"))

    def reference():
        return Espresso(profile=EspressoProfile("bin/pw.x", "./pseudo"), pseudopotentials={"Cu": "Cu.upf"})

    with Labeller(reference, scratch=tmp_path / "scratch", executor=executor) as labeller:
        atoms = bulk("Cu", cubic=True)[:2]
        ((_, record),) = labeller.label([atoms])
    assert isinstance(record, ComputedLabel), record


class Loads(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, weights):
        super().__init__()
        self.parameters["weights"] = str(weights)
        if weights == Path("pseudo/Cu.upf"):
            weights.read_text()

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        raise RuntimeError("cannot read the weights")


@pytest.mark.parametrize("executor", ["local", "in-process"])
@pytest.mark.parametrize(
    ("weights", "error_class", "named"),
    [
        (Path("pseudo/Cu.upf"), "FileNotFoundError", "'pseudo/Cu.upf': there is such a file"),
        ("./pseudo/Cu.upf", "RuntimeError", "cannot read the weights\nweights='./pseudo/Cu.upf': there is"),
    ],
)
def test_others_are_named_when_it_fails(home, tmp_path, executor, weights, error_class, named):
    with Labeller(lambda: Loads(weights), scratch=tmp_path / "scratch", executor=executor) as labeller:
        ((_, record),) = labeller.label([bulk("Cu")])
    assert record.error_class == error_class
    assert named in record.error_text
    assert f"in {home}, from which the reference comes" in record.error_text
    assert "give absolute paths" in record.error_text
