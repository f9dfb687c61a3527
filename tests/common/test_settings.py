import pytest

from ase_bmdal.common.settings import settings


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
