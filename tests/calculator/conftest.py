from tests.learner.conftest import however_little_they_know, not_compiled, watch

__all__ = ["however_little_they_know", "not_compiled", "watch"]
