import pytest
import tensorflow as tf

from tests.learner.runs import Watch


@pytest.fixture(autouse=True)
def not_compiled():
    """A few steps of a tiny network take less time than their compilation."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def watch(tmp_path):
    folder = tmp_path / "watch"
    folder.mkdir()
    return Watch(folder)
