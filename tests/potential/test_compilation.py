"""Compiled functions: the same as uncompiled ones, for any structure of arguments, compiled once for each signature."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from ase_bmdal.potential.compilation import Compiled


class Pair(NamedTuple):
    left: tf.Tensor
    right: tf.Tensor | None


def mixed(parameters, pair, many, number):
    """Everything that arguments and results are made of."""
    total = pair.left if pair.right is None else pair.left - pair.right
    scaled = {name: value * number for name, value in parameters.items()}
    return scaled, Pair(total, None), [tf.reduce_sum(each) for each in many], None


ARGUMENTS = (
    {"b": tf.constant([1.0, 2.0]), "a": tf.constant(3.0)},
    Pair(tf.constant([5.0, 7.0]), np.array([1.0, 1.0], np.float32)),
    [tf.constant([1.0, 4.0]), np.ones(3, np.float32)],
    np.float32(2.0),
)


def check(results):
    scaled, pair, sums, nothing = results
    assert {name: value.numpy().tolist() for name, value in scaled.items()} == {"a": 6.0, "b": [2.0, 4.0]}
    assert isinstance(pair, Pair)
    assert pair.left.numpy().tolist() == [4.0, 6.0]
    assert pair.right is None
    assert [float(each) for each in sums] == [5.0, 3.0]
    assert nothing is None


def test_results_have_the_structure_of_the_function():
    function = Compiled(mixed)
    check(function(*ARGUMENTS))
    check(function(*ARGUMENTS))
    assert function.n_traces == 1


def test_another_signature_is_another_trace():
    function = Compiled(lambda pair: pair.left if pair.right is None else pair.left + pair.right)
    one, two = tf.constant([1.0]), tf.constant([1.0, 2.0])
    assert function(Pair(one, None)).numpy().tolist() == [1.0]
    assert function(Pair(one, one)).numpy().tolist() == [2.0]
    assert function(Pair(two, two)).numpy().tolist() == [2.0, 4.0]
    assert function(Pair(two, None)).numpy().tolist() == [1.0, 2.0]
    assert function.n_traces == 4


def test_debugged_without_compilation():
    tf.config.run_functions_eagerly(True)
    try:
        function = Compiled(mixed)
        check(function(*ARGUMENTS))
        assert function.n_traces == 0
    finally:
        tf.config.run_functions_eagerly(False)


def test_a_failing_function_names_its_error():
    def wrong(x):
        raise ValueError("expected something else")

    with pytest.raises(ValueError, match="something else"):
        Compiled(wrong)(tf.constant(1.0))
