"""The user's reference calculator, travelling by value."""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, NamedTuple

from ase_bmdal.common.errors import LabellingError


class Loaded(NamedTuple):
    """What makes the calculators of a label.

    Attributes
    ----------
    reference
        Makes that of the reference.
    baseline
        Makes that of the baseline; None for none.
    """

    reference: Callable[[], Any]
    baseline: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Reference:
    """A callable that makes an ASE calculator, as bytes; and another one that makes that of the baseline.

    What a script defines travels by value, so that nothing runs the script again. What an importable module
    defines travels by name, together with the driver's search path.

    Parameters
    ----------
    payload
        The pickled callable.
    path
        Where the driver looks for modules.
    folder
        Working directory of the driver.
    baseline
        The pickled callable of the baseline; empty for none.
    """

    payload: bytes
    path: tuple[str, ...]
    folder: str
    baseline: bytes = b""

    @cached_property
    def digest(self) -> str:
        """The same for the same callables, in any process."""
        return hashlib.sha256(self.payload + self.baseline).hexdigest()

    def load(self) -> Loaded:
        """The callables themselves; whatever their modules raise on import comes through."""
        import cloudpickle

        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        baseline = cloudpickle.loads(self.baseline) if self.baseline else None
        return Loaded(cloudpickle.loads(self.payload), baseline)


def capture(reference: Callable[[], Any], baseline: Callable[[], Any] | None = None) -> Reference:
    """Make a reference ready for other processes.

    Parameters
    ----------
    reference
        Called without arguments, once for each structure, it makes a new ASE calculator.
    baseline
        The same, of the method whose results are subtracted.

    Returns
    -------
    Reference
        Bytes that any process with the same packages can load.

    Raises
    ------
    TypeError
        If it cannot be called, as a calculator that is already made.
    LabellingError
        If it holds something that cannot be sent.
    """
    payload = _captured("reference", reference)
    other = _captured("baseline", baseline) if baseline is not None else b""
    path = tuple(os.path.abspath(entry or ".") for entry in sys.path)  # noqa: PTH100 - zip files are kept
    return Reference(payload, path, os.getcwd(), other)  # noqa: PTH109


def _captured(name: str, made_by: Callable[[], Any]) -> bytes:
    if not callable(made_by):
        raise TypeError(
            f"{name} must be a callable that makes an ASE calculator, such as a class, a function or "
            f"functools.partial, got an object of class {type(made_by).__name__}"
        )
    try:
        return _dumps(made_by)
    except Exception as error:
        raise LabellingError(_explain(name, made_by, error)) from error


def _dumps(reference: Any) -> bytes:
    import cloudpickle

    module = sys.modules.get(_home(reference))
    if module is None or _can_be_imported(module):
        return bytes(cloudpickle.dumps(reference))
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(reference))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _home(reference: Any) -> str:
    while isinstance(reference, partial):
        reference = reference.func
    return getattr(reference, "__module__", None) or type(reference).__module__


def _can_be_imported(module: ModuleType) -> bool:
    if module.__name__ == "__main__" or module.__name__ in sys.builtin_module_names:
        return True
    return PathFinder.find_spec(module.__name__.partition(".")[0]) is not None


def _explain(name: str, reference: Any, error: Exception) -> str:
    culprits = ", ".join(f"{name!r}" for name in _unsendable(reference))
    blame = f"; it uses {culprits}, which cannot be pickled" if culprits else ""
    return (
        f"the {name} {reference!r} cannot be sent to a label worker: {error}{blame}. "
        "Make open files, locks and used calculators inside the function that makes the calculator."
    )


def _unsendable(reference: Any) -> Iterator[str]:
    while isinstance(reference, partial):
        yield from _unpicklable({**dict(enumerate(reference.args)), **reference.keywords})
        reference = reference.func
    if inspect.isfunction(reference):
        names = inspect.getclosurevars(reference)
        yield from _unpicklable({**names.globals, **names.nonlocals})
    elif not isinstance(reference, type):
        yield from _unpicklable(getattr(reference, "__dict__", {}))


def _unpicklable(values: Any) -> Iterator[str]:
    import cloudpickle

    for name, value in values.items():
        try:
            cloudpickle.dumps(value)
        except Exception:
            yield str(name)
