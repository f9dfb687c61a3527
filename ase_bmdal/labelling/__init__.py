"""Reference calculations: a label, or the reason why there is none, for every structure."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_bmdal.labelling.failure import Failure
    from ase_bmdal.labelling.labeller import Labeller
    from ase_bmdal.labelling.outcome import ComputedLabel
    from ase_bmdal.labelling.settings import LabellingSettings

__all__ = ["Labeller", "LabellingSettings", "ComputedLabel", "Failure"]

_HOME = {
    "Labeller": "labeller",
    "LabellingSettings": "settings",
    "ComputedLabel": "outcome",
    "Failure": "failure",
}


def __getattr__(name: str) -> Any:
    # Late, so that a label worker imports no more than it needs.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
