"""What to label: kernels that ask a potential, acquisitions by name, and the best of a pool."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_bmdal.acquisition.acquisition import COMBINATIONS, Acquisition

__all__ = ["COMBINATIONS", "DEFAULT", "Acquisition"]

DEFAULT = "MAXDET + GP(LL)"  # why: docs/soundness.md, Selections


def __getattr__(name: str) -> Any:
    # Late, so that a command knows the default without loading what selects.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ase_bmdal.acquisition import acquisition

    return getattr(acquisition, name)
