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
    with pytest.raises((TypeError, ValueError), match="other"):
        Example(other=1)
    with pytest.raises(AttributeError):
        Example().number = 3
    with pytest.raises((TypeError, ValueError)):
        Example(3)
