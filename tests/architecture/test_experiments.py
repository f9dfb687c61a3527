"""The paper's experiments are a client of the package: they use public names only."""

import ast
import importlib
from pathlib import Path

import pytest

import ase_bmdal_experiments

MODULES = sorted(Path(ase_bmdal_experiments.__file__).parent.glob("*.py"))


def _names_of_the_package(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "ase_bmdal":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((each.name, "__version__") for each in node.names if "ase_bmdal." in each.name)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_public_names_are_used(path):
    private = [
        f"{module}.{name}"
        for module, name in _names_of_the_package(ast.parse(path.read_text()))
        if name not in getattr(importlib.import_module(module), "__all__", ())
    ]
    assert private == []
