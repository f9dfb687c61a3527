"""A short ladder of sizes, so that compiled functions see few shapes."""

from math import prod

Size = tuple[int, int]  # atoms and neighbours
WORTH_COMPILING = 2**20  # pairs: about as long as a compilation takes
WASTE = 8  # padded pairs for each pair, at most


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


def fitting(size: Size) -> Size:
    """Smallest buckets of the two numbers."""
    return bucket(size[0]), bucket(size[1])


def with_room(size: Size) -> Size:
    """Room for atoms up to the next power of two, and for the neighbours that these may add, twice as many at most."""
    n_atoms, n_neighbours = size
    room = bucket(n_atoms, bits=0)
    return room, bucket(min(n_neighbours + room - n_atoms, 2 * n_neighbours), bits=1)


class Padding:
    """Padded sizes for structures that come one after the other.

    The first number of atoms is padded as little as possible, so that a simulation of a fixed number of atoms computes
    hardly anything in vain. Where the number changes, as in growth or with insertions, structures share padded sizes
    with room, one for each doubling, so that little is compiled; until what was computed in vain for one number of
    atoms would have paid for a compilation: then that one fits as well.

    Parameters
    ----------
    varied
        Whether the first number of atoms is not the only one.
    """

    def __init__(self, *, varied: bool = False) -> None:
        self._wasted: dict[int, int] = {}  # padded pairs that were computed, by number of atoms
        self._roomy: list[Size] = []
        self._shares = varied
        self._n_atoms = self._waste = 0

    def another(self) -> "Padding":
        """One for structures of the same kind, which shares what has room."""
        other = Padding()
        other._roomy = self._roomy
        return other

    def choose(self, size: Size) -> Size:
        """Padded size for a structure of so many atoms with so many neighbours."""
        self._n_atoms, _ = size
        holding = [room for room in self._roomy if _holds(room, size)]
        if self._n_atoms not in self._wasted:
            shares = self._shares or bool(holding)
            self._wasted[self._n_atoms], self._shares = 0 if shares else WORTH_COMPILING, True
        if self._wasted[self._n_atoms] >= WORTH_COMPILING:
            padded = fitting(size)
        elif holding:
            padded = min(holding, key=prod)
        else:
            padded = with_room(size)
            self._roomy.append(padded)
        self._waste = prod(padded) - prod(size)
        return padded

    def used(self) -> None:
        """Count a computation with the size that was chosen last."""
        self._wasted[self._n_atoms] += self._waste


def _holds(room: Size, size: Size) -> bool:
    is_large_enough = room[0] >= size[0] and room[1] >= size[1]
    return is_large_enough and prod(room) <= WASTE * prod(size)
