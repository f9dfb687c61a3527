"""Dynamics that we show keep the temperature they ask for, of every element."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin

from ase_bmdal.cli import demo

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = [path for folder in ("examples", "ase_bmdal") for path in sorted((ROOT / folder).rglob("*.py"))]


def calls():
    """Every Langevin dynamics of the documentation, the examples and the package."""
    for page in PAGES:
        for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
            yield from ((page.name, node) for node in ast.walk(ast.parse(code)))
    for path in SCRIPTS:
        yield from ((path.name, node) for node in ast.walk(ast.parse(path.read_text())))


CALLS = [
    (name, node)
    for name, node in calls()
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Langevin"
]


class Springs(Calculator):
    """Each atom on a spring of its own."""

    implemented_properties = ("energy", "forces")

    def __init__(self, rest):
        super().__init__()
        self.rest = rest

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - self.rest
        self.results = {"energy": 5.0 * np.sum(away**2), "forces": -10.0 * away}


def temperatures(dyn, steps=1500):
    """Of hydrogen and of the heavier atoms, K, half from positions and half from velocities."""
    atoms = dyn.atoms
    rest = atoms.positions.copy()
    atoms.calc = Springs(rest)
    twice = [
        10.0 * (atoms.positions - rest) ** 2 + atoms.get_momenta() * atoms.get_velocities()
        for _ in dyn.irun(steps)
    ]
    each = np.mean(twice[200:], axis=(0, 2)) / (2 * units.kB)
    is_hydrogen = atoms.numbers == 1
    return each[is_hydrogen].mean(), each[~is_hydrogen].mean()


def shown(code):
    """The dynamics of an expression in the documentation."""
    dyn = eval(code, {"Langevin": Langevin, "units": units, "atoms": molecule("CH3CH2OH")})
    dyn.rng = np.random.default_rng(0)
    return dyn


def test_all_are_told_to_leave_the_centre_of_mass_alone():
    assert {"README.md", "quickstart.md", "molecule.py", "mpi.py", "demo.py"} <= {name for name, _ in CALLS}
    for name, node in CALLS:
        found = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert found.get("fixcm") == "False", name


@pytest.mark.parametrize("source", ["README.md", "demo"])
def test_hydrogen_is_as_hot_as_all_else(source):
    if source == "demo":
        dyn = demo.dynamics(None, 0, "a test")
    else:
        dyn = shown(ast.unparse(next(node for name, node in CALLS if name == source)))
    hydrogen, heavy = temperatures(dyn)
    assert hydrogen == pytest.approx(500, rel=0.15)
    assert heavy == pytest.approx(500, rel=0.25)  # three atoms in 0.7 ps


@pytest.mark.filterwarnings("ignore:The implementation of `fixcm=True`:FutureWarning")
def test_with_the_default_of_ase_it_is_not():
    """If this fails, ASE has mended it, and `fixcm` need not be said any more."""
    code = ast.unparse(next(node for name, node in CALLS if name == "README.md")).replace(", fixcm=False", "")
    hydrogen, heavy = temperatures(shown(code))
    assert hydrogen > 1.2 * heavy
