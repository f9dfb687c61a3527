"""Public names: each can be had, has a docstring, and comes from where type checkers look for it."""

import ast
import pkgutil
from pathlib import Path
from typing import get_args

import pytest

import ase_bmdal
from ase_bmdal.common import errors
from ase_bmdal.run import events
from tests.builders import random_model

NAMES = frozenset(ase_bmdal.__all__)
NEITHER_CLASS_NOR_FUNCTION = {"COMBINATIONS", "Potential"}


def test_names_have_one_home_for_users_and_for_type_checkers():
    assert len(NAMES) == len(ase_bmdal.__all__)
    assert set(dir(ase_bmdal)) >= NAMES
    assert set(_imported_for_type_checkers()) == {
        (name, getattr(ase_bmdal, name).__module__) for name in NAMES - NEITHER_CLASS_NOR_FUNCTION
    } | {("COMBINATIONS", "ase_bmdal.acquisition.acquisition"), ("Potential", "ase_bmdal.potential.gmnn")}


def _imported_for_type_checkers():
    for node in ast.walk(ast.parse(Path(ase_bmdal.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("ase_bmdal."):
            yield from ((alias.name, node.module) for alias in node.names)


@pytest.mark.parametrize("name", sorted(NAMES - NEITHER_CLASS_NOR_FUNCTION))
def test_each_can_be_had(name):
    thing = getattr(ase_bmdal, name)
    assert callable(thing)
    assert thing.__doc__


def test_the_others_can_be_had():
    assert "LCMD + FEAT(RP)" in ase_bmdal.COMBINATIONS
    assert isinstance(random_model([1]), ase_bmdal.Potential)


def test_every_error_and_every_event_is_public():
    own = [value for value in vars(errors).values() if isinstance(value, type)]
    assert {kind.__name__ for kind in [*own, *get_args(events.Event)]} <= NAMES


def test_no_subpackage_takes_the_place_of_a_public_name():
    packages = {module.name for module in pkgutil.iter_modules(ase_bmdal.__path__)}
    assert not packages & NAMES


def test_no_other():
    with pytest.raises(AttributeError, match="nonsense"):
        ase_bmdal.nonsense  # noqa: B018
