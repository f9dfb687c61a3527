"""Settings check themselves, and each of a tree is reached by the name of its field."""

import pytest
from pydantic import ValidationError

from ase_bmdal.common.settings import settings, with_leaves


@settings
class Example:
    number: int = 1
    text: str = "a"


def test_settings_check_themselves():
    assert Example(number=2) == Example(number=2, text="a")
    assert hash(Example()) == hash(Example())
    with pytest.raises(ValueError, match="number"):
        Example(number="many")
    with pytest.raises(ValueError, match=r"other\n +Unexpected keyword"):
        Example(other=1)
    with pytest.raises(AttributeError):
        Example().number = 3
    with pytest.raises(ValueError, match="Unexpected positional"):
        Example(3)


@settings
class Inner:
    depth: int = 1
    size: int = 2


@settings
class Middle:
    inner: Inner = Inner()
    size: int = 3
    colour: str = "red"


@settings
class Ordered:
    least: int = 1
    most: int = 10

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError(f"least: expected at most {self.most}, got {self.least}")


@settings
class Tree:
    middle: Middle = Middle()
    other: Inner = Inner()
    ordered: Ordered = Ordered()
    name: str = "oak"


def test_a_field_is_found_in_whichever_branch_it_is():
    tree = with_leaves(Tree(), name="elm", colour="blue")
    assert (tree.name, tree.middle.colour, tree.middle.size) == ("elm", "blue", 3)


def test_whole_branches_come_first_and_single_fields_after():
    tree = with_leaves(Tree(), colour="blue", middle=Middle(colour="green", size=9))
    assert (tree.middle.colour, tree.middle.size) == ("blue", 9)


def test_a_branch_that_is_none_stays_as_it_is():
    assert with_leaves(Tree(middle=Middle(size=5)), middle=None).middle.size == 5


def test_an_alias_names_one_of_several():
    tree = with_leaves(Tree(), {"depth": "other.depth", "width": "middle.size"}, depth=7, width=8)
    assert (tree.other.depth, tree.middle.inner.depth, tree.middle.size) == (7, 1, 8)


def test_an_unknown_name_is_refused_with_its_nearest_neighbour():
    with pytest.raises(TypeError, match=r"color: expected the name of a setting.*; did you mean colour\?"):
        with_leaves(Tree(), color="blue")
    with pytest.raises(TypeError, match=r"none has$"):
        with_leaves(Tree(), zzz=1)


def test_a_name_that_several_have_is_refused_with_all_of_them():
    with pytest.raises(TypeError, match=r"depth: expected .* one of middle\.inner\.depth, other\.depth"):
        with_leaves(Tree(), depth=2)


def test_values_are_checked():
    with pytest.raises(ValidationError, match="depth"):
        with_leaves(Tree(), {"depth": "other.depth"}, depth="deep")


@pytest.mark.parametrize(
    "values", [{"least": 20, "most": 30}, {"most": 30, "least": 20}, {"most": 0, "least": -1}]
)
def test_fields_that_are_checked_against_each_other_change_together(values):
    assert vars(with_leaves(Tree(), **values).ordered) | values == vars(with_leaves(Tree(), **values).ordered)
    with pytest.raises(ValidationError, match="least: expected at most 10, got 20"):
        with_leaves(Tree(), least=20)
