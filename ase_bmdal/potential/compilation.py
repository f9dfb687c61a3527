"""Compilation by XLA."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of tensors, for one shape of batch.

    TensorFlow counts traces by the line of code they come from and warns of many; here each shape has a function
    of its own, and there are as few shapes as buckets.
    """
    traced = tf.function(function, jit_compile=True, autograph=False)
    traced._omit_frequent_tracing_warning = True
    return traced
