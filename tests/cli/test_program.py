"""The program as a user meets it: exit codes and what is on standard error."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from ase.build import molecule
from ase.io import write

from ase_bmdal import __version__
from ase_bmdal.cli import main, program
from ase_bmdal.cli.program import COMMANDS
from tests.builders import model_for

NAMES = [*(command.__name__.rpartition(".")[2] for command in COMMANDS), "benchmark"]


@pytest.fixture
def unlabelled(tmp_path):
    write(tmp_path / "unlabelled.xyz", [molecule("H2O"), molecule("H2O")])
    return str(tmp_path / "unlabelled.xyz")


def _fails(argv, capsys):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ase-bmdal: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom ase_bmdal.cli import main\n"
        "try:\n main(['--help'])\nexcept SystemExit:\n pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in run.stderr.split()}
    assert not loaded & {"tensorflow", "ase", "numpy", "scipy", "pydantic", "matplotlib", "mpi4py"}
    assert all(name in run.stdout for name in NAMES)


@pytest.mark.parametrize("command", ["", *NAMES])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: ase-bmdal {command}".rstrip())


def test_a_package_may_add_a_command(monkeypatch, capsys):
    module = SimpleNamespace(
        add_to=lambda commands: commands.add_parser("greet").set_defaults(run=lambda _: print("hello"))
    )
    entry = SimpleNamespace(load=lambda: module)
    monkeypatch.setattr(
        program, "entry_points", lambda group: [entry] if group == "ase_bmdal.commands" else []
    )
    assert main(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"ase-bmdal {__version__}\n"


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["train", "x.xyz"], ["select", "m", "--n", "many"]])
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["evaluate", "m.npz", "missing.xyz"],
        ["train", "missing.xyz", "--out", "m.npz"],
        ["select", "m.npz", "--train", "missing.xyz", "--pool", "missing.xyz", "--n", "1"],
        ["report", "missing.xyz"],
    ],
)
def test_missing_data(argv, capsys):
    assert "missing.xyz" in _fails(argv, capsys)


@pytest.mark.parametrize("content", ["", "this is no structure\n", "2\n\nH 0 0 0\n"])
def test_unreadable_data(content, tmp_path, capsys):
    (tmp_path / "data.xyz").write_text(content)
    assert "data.xyz" in _fails(["train", str(tmp_path / "data.xyz"), "--out", "m.npz"], capsys)


def test_unlabelled_data(unlabelled, capsys):
    message = _fails(["train", unlabelled, "--out", "m.npz"], capsys)
    assert "structure 0" in message
    assert "H2O without an energy" in message


def test_labels_under_other_names_are_asked_for(tmp_path, capsys):
    atoms = molecule("H2O")
    atoms.info["E_pbe_energy"] = 1.0
    write(tmp_path / "data.xyz", atoms)
    message = _fails(["train", str(tmp_path / "data.xyz"), "--out", "m.npz"], capsys)
    assert "it has E_pbe_energy: say which it is with energy_key=" in message
    message = _fails(["train", str(tmp_path / "data.xyz"), "--energy-key", "E_lda", "--out", "m.npz"], capsys)
    assert "without E_lda" in message


@pytest.mark.parametrize("name", ["nonsense", "lcmd+nonsense"])
def test_a_selection_is_quoted_as_it_was_typed(name, unlabelled, capsys):
    arguments = ["--train", unlabelled, "--pool", unlabelled, "--n", "1", "--selection", name]
    assert f"got {name!r}" in _fails(["select", "m.npz", *arguments], capsys)


@pytest.mark.parametrize("name", ["chosen", "chosen.nonsense", "chosen.vasp"])
def test_a_file_that_cannot_be_written_is_refused_at_once(name, unlabelled, capsys):
    arguments = ["--train", unlabelled, "--pool", unlabelled, "--n", "1", "--out", name]
    assert f"{name}: expected the name of a file for structures" in _fails(
        ["select", "m.npz", *arguments], capsys
    )


def test_missing_and_broken_models(unlabelled, tmp_path, capsys):
    arguments = ["--train", unlabelled, "--pool", unlabelled, "--n", "1"]
    assert "found nothing" in _fails(["select", str(tmp_path / "m.npz"), *arguments], capsys)
    (tmp_path / "m.npz").write_text("no model")
    broken = _fails(["select", str(tmp_path / "m.npz"), *arguments], capsys)
    assert "model file" in broken
    assert "pickle" not in broken
    assert "run folder" in _fails(["select", str(tmp_path), *arguments], capsys)


def test_elements_the_model_does_not_know(unlabelled, tmp_path, capsys):
    model_for([molecule("CO2")], hidden=(8,)).save(tmp_path / "m.npz")
    arguments = ["--train", unlabelled, "--pool", unlabelled, "--n", "1"]
    assert "H" in _fails(["select", str(tmp_path / "m.npz"), *arguments], capsys)


@pytest.mark.parametrize(
    ("method", "n", "expected"),
    [("LCMD + XX", "1", "combination"), ("LCMD + FEAT(RP)", "3", "--n"), ("MAXDIAG + AE(E)", "1", "labels")],
)
def test_wrong_selections(method, n, expected, unlabelled, capsys):
    arguments = ["--train", unlabelled, "--pool", unlabelled, "--n", n, "--selection", method]
    assert expected in _fails(["select", "m.npz", *arguments], capsys)


@pytest.mark.parametrize(
    ("command", "argv", "text", "message"),
    [
        (program.report, ["report", "run"], "", "Interrupted: the same command starts anew."),
        (
            program.demo,
            ["demo"],
            "",
            "Interrupted: all labels .* are kept in ethanol-demo; the same command goes on.",
        ),
        (program.demo, ["demo"], "Interrupted after step 7: ...", r"Interrupted after step 7: \.\.\."),
    ],
)
def test_ctrl_c_ends_with_a_sentence(command, argv, text, message, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt(*filter(None, [text]))

    monkeypatch.setattr(command, "run", interrupt)
    assert main(argv) == 130
    assert re.fullmatch(message, capsys.readouterr().err.strip())
