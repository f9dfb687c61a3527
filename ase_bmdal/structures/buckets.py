"""A short ladder of sizes, so that compiled functions see few shapes."""


def bucket(size: int, bits: int = 3) -> int:
    """Smallest number not below `size` whose binary form has at most `bits` digits after the first one.

    Parameters
    ----------
    size
        Number of atoms, neighbours or structures.
    bits
        Fineness: the ladder has `2**bits` rungs an octave, so at most `2**-bits` of a bucket is padding.
    """
    if size < 1:
        raise ValueError(f"expected a size of at least 1, got {size}")
    step = 1 << max(0, size.bit_length() - 1 - bits)
    return -(-size // step) * step
