"""Fixtures of more than one room."""

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest


@contextmanager
def eagerly(is_eager=True):
    """A few steps of a tiny network on a structure like no other take less time than their compilation."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(is_eager)
    yield
    tf.config.run_functions_eagerly(before)


@pytest.fixture
def not_compiled():
    with eagerly():
        yield


@pytest.fixture
def compiled():
    """For a test of what ships, among others that are not compiled."""
    with eagerly(False):
        yield


@pytest.fixture
def watch(tmp_path):
    """The folder of a reference that counts its calls."""
    from tests.learner.runs import Watch

    folder = tmp_path / "watch"
    folder.mkdir()
    return Watch(folder)


@pytest.fixture(params=["local", "in-process", "threads"])
def executor(request):
    """Each way to label on one machine."""
    if request.param != "threads":
        yield request.param
    else:
        with ThreadPoolExecutor(2) as pool:
            yield pool


@pytest.fixture(scope="session", autouse=True)
def programs_hear_ctrl_c():
    """Even if the tests run in the background of a shell, which has them ignore it, and what they start as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
