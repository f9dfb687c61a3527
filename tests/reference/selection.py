"""Selection methods as the paper's equations read: slow, and no cleverness to get wrong."""

import numpy as np


def distances(points, others):
    return np.array([[np.sum((np.float64(x) - np.float64(y)) ** 2) for y in others] for x in points]).reshape(
        len(points), len(others)
    )


def maxdiag(pool, n):
    diagonal = [float(np.sum(np.float64(row) ** 2)) if np.ndim(row) else float(row) for row in pool]
    return sorted(range(len(pool)), key=lambda i: (-diagonal[i], i))[:n]


def maxdet(pool, n):
    """Every determinant of eq. 27 by itself."""
    picks = []
    for _ in range(n):
        determinants = []
        for i in range(len(pool)):
            batch = np.float64(pool[[*picks, i]])
            sign, logarithm = np.linalg.slogdet(batch @ batch.T)
            determinants.append(-np.inf if i in picks or sign <= 0 else logarithm)
        picks.append(int(np.argmax(determinants)))
    return picks


def maxdist(pool, n, train=None):
    return _with_centres(
        pool, n, train, lambda squares, nearest, left: max(left, key=lambda i: (squares[i], -i))
    )


def lcmd(pool, n, train=None):
    def farthest_of_largest(squares, nearest, left):
        sizes = np.zeros(max(nearest) + 1)
        for i in left:
            sizes[nearest[i]] += squares[i]
        if sizes.max() == 0:
            return left[0]
        members = [i for i in left if nearest[i] == np.argmax(sizes)]
        return max(members, key=lambda i: (squares[i], -i))

    return _with_centres(pool, n, train, farthest_of_largest)


def _with_centres(pool, n, train, choose):
    """All distances anew for every pick; without any centre, the distance to the zero vector."""
    centres = [] if train is None else list(train)
    picks = []
    for _ in range(n):
        table = distances(pool, centres if centres else [np.zeros(pool.shape[1])])
        left = [i for i in range(len(pool)) if i not in picks]
        picks.append(choose(table.min(axis=1), table.argmin(axis=1), left))
        centres.append(pool[picks[-1]])
    return picks
