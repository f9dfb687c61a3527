"""The Python of the documentation runs: the blocks of a page one after the other, as in a notebook.

A comment above a block, which readers do not see, says how the test shortens it, or why it is not run.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.verlet import VelocityVerlet

from ase_bmdal import GMNNCalculator, UntrustedError
from tests.docs.test_documentation import PAGES
from tests.learner.runs import copper, labelled, learning
from tests.report.folders import made_up_run

BLOCK = re.compile(r"^(?:<!-- (.*?) -->\n)?```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
BLOCKS = {page.name: BLOCK.findall(page.read_text()) for page in PAGES}


def shortened(code, comment):
    """Code with what its comment says put in the place of what stands there."""
    for change in comment.removeprefix("shortened in the test: ").split("; ") if comment else ():
        old, new = change.split(" → ")
        assert old in code, f"{old!r} is not in the block"
        code = code.replace(old, new)
    return code


class Lost(Calculator):
    """A potential that knows nothing."""

    implemented_properties = ("energy",)

    def calculate(self, *_):
        raise UntrustedError("not known here")


def a_file_of_labels():
    frames = labelled(4)
    for atoms in frames:
        atoms.info |= {"E_pbe": atoms.get_potential_energy(), "virial_pbe": np.eye(3)}
        atoms.arrays["F_pbe"] = atoms.get_forces()
    write("labelled.xyz", frames)


def a_trajectory_with_bounds():
    atoms = molecule("CH3CH2OH")
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces_uncertainty=np.arange(9.0))
    write("ethanol.traj", [atoms])


def a_simulation(names):
    atoms = names["atoms"] = copper()
    atoms.calc = learning(EMT, Path("run"), max_rounds=1)
    names["dynamics"] = VelocityVerlet(atoms, 1.0)
    names["trial"] = Atoms("H", calculator=Lost())


def prepare(page, names):
    """What a page takes for granted."""
    a_file_of_labels()
    if page == "concepts.md":
        write("frames.xyz", [copper(seed) for seed in range(10, 24)])
    if page == "restart.md":
        made_up_run(Path("ethanol"))
        names["reference"] = EMT
    if page == "trust.md":
        a_trajectory_with_bounds()
        a_simulation(names)


def expect(page, names):
    """What a page says that its code gives."""
    if page == "baseline.md":
        atoms = molecule("CH3CH2OH")
        atoms.calc = GMNNCalculator("plain.npz")
        assert np.isfinite(atoms.get_forces()).all()
        assert names["potential"].baseline is not None
    if page == "concepts.md":
        assert 0 <= names["index"] < len(names["pool"])
    if page == "quickstart.md":
        assert isinstance(names["exact"], GMNNCalculator)
        assert Path("model.npz").exists()
        assert len({image.calc.learner for image in names["images"]}) == 1
    if page == "restart.md":
        told = json.loads(Path("ethanol-2", "settings.json").read_text())
        assert told["initial"].startswith("8 structures")
    if page == "trust.md":
        assert (names["largest"], names["energy"]) == ([8.0], float("inf"))
        assert names["dynamics"].nsteps == 2


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch, not_compiled):
    monkeypatch.chdir(tmp_path)
    names = {}
    prepare(page, names)
    for comment, code in BLOCKS[page]:
        if not comment.startswith("not run: "):
            exec(compile(shortened(code, comment), page, "exec"), names)
    expect(page, names)


def test_comments_are_understood():
    comments = [comment for blocks in BLOCKS.values() for comment, _ in blocks if comment]
    assert all(comment.startswith(("not run: ", "shortened in the test: ")) for comment in comments)
