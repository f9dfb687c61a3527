"""Gradient features of the network: what the selection methods measure distances in (TensorFlow)."""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """`ase_bmdal.features` is a public function too; Python puts this package in its place once it is loaded."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        from ase_bmdal.features.features import features

        return features(*arguments, **keywords)


sys.modules[__name__].__class__ = _Callable
