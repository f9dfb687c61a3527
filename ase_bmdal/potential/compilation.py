"""Compilation by XLA, and calls that cost little."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from ase_bmdal.common.errors import ForkError

_users: set[int] = set()  # processes, of which there is one unless this one was forked off another


def refuse_a_fork() -> None:
    """Refuse to compute in a process that was forked off one that has: TensorFlow would wait for its threads for ever.

    Raises
    ------
    ForkError
        Saying what to do instead.
    """
    _users.add(os.getpid())
    if len(_users) > 1:
        raise ForkError(
            "this process was forked off one in which TensorFlow runs already, whose threads it does not have; "
            'start processes with multiprocessing.get_context("spawn"), or before the first prediction'
        )


class Compiled:
    """A function of tensors, compiled once for each signature: number and shapes of all tensors it is given.

    TensorFlow binds, casts and checks every argument of every call, which takes longer than the forces of a
    molecule. Here only the shapes are looked at, and the compiled graph is called with the tensors as they are.

    Parameters
    ----------
    function
        Takes and returns tensors, and lists, tuples, named tuples and dictionaries of them; None may stand for any
        part. NumPy arrays are taken as well.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._traced = tf.function(function, jit_compile=True, autograph=False)
        # TensorFlow counts traces by line of code; here each shape has a function of its own.
        self._traced._omit_frequent_tracing_warning = True
        self._known: dict[tuple[Any, ...], tuple[Callable[..., list[tf.Tensor]], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call it; the first time with new shapes, compile it.

        Raises
        ------
        ForkError
            In a process that was forked off one that has used TensorFlow.
        """
        refuse_a_fork()
        if tf.config.functions_run_eagerly():
            return self._traced(*arguments)
        tensors = list(_leaves(arguments))
        signature = tuple([tensor.shape for tensor in tensors])
        if signature not in self._known:
            concrete = self._traced.get_concrete_function(*_rebuilt(arguments, iter(tensors)))
            self._known[signature] = concrete.inference_fn.call_flat, concrete.structured_outputs
        call, outputs = self._known[signature]
        return _rebuilt(outputs, iter(call(*tensors)))

    @property
    def n_traces(self) -> int:
        """How many signatures it was compiled for."""
        return len(self._known)


def _leaves(structure: Any) -> Iterator[tf.Tensor]:
    """All tensors of a structure, dictionaries in the order of their keys, as TensorFlow has them."""
    if isinstance(structure, tuple | list):
        for part in structure:
            yield from _leaves(part)
    elif isinstance(structure, dict):
        for key in sorted(structure):
            yield from _leaves(structure[key])
    elif isinstance(structure, np.ndarray | np.generic):
        yield tf.constant(structure)
    elif structure is not None:
        yield structure


def _rebuilt(structure: Any, tensors: Iterator[tf.Tensor]) -> Any:
    """The same structure of other tensors."""
    if structure is None:
        return None
    if isinstance(structure, dict):
        return {key: _rebuilt(structure[key], tensors) for key in sorted(structure)}
    if isinstance(structure, tuple | list):
        parts = [_rebuilt(part, tensors) for part in structure]
        return structure._make(parts) if hasattr(structure, "_make") else type(structure)(parts)
    return next(tensors)
