"""One seed per run, one independent stream per purpose."""

import hashlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Random numbers that depend on the seed and on what they are for, and on nothing else.

    Parameters
    ----------
    seed
        Seed of the run.
    names
        Purpose of the stream, for example ``"weights", 0``.

    Returns
    -------
    Generator
        The same numbers for the same arguments, in any process and in any order of calls.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
