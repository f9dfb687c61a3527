from tests.learner.conftest import not_compiled, watch

__all__ = ["not_compiled", "watch"]
