from graphlib import CycleError

import pytest

from tests.architecture.layers import drawing, layers, rooms


def test_each_room_is_above_what_it_imports():
    imports = {"cli": {"learner", "common"}, "learner": {"common"}, "common": set()}
    assert layers(imports) == [["common"], ["learner"], ["cli"]]
    assert drawing(imports).splitlines()[0] == " 2  cli          -> common, learner"


def test_a_circle_is_an_error():
    with pytest.raises(CycleError):
        layers({"a": {"b"}, "b": {"a"}})


def test_the_package_has_none():
    found = layers(rooms())
    assert "common" in found[0]
    assert found[-1] == ["cli"]
