"""Tournament: the smallest of many numbers that change, the leftmost of equals, in compiled code.

A tree in an array of twice as many places: leaves in its second half, the smaller of two children above
them (Knuth 1998, The Art of Computer Programming 3, sec. 5.4.1, trees of losers and of winners).
"""

import numpy as np

from simulations.compiled import inlined
from simulations.records import Floats


def tournament(values: Floats) -> Floats:
    """The tree over some values; what is missing to a power of two is infinite."""
    leaves = 1 << max(0, len(values) - 1).bit_length()
    tree = np.full(2 * leaves, np.inf)
    tree[leaves : leaves + len(values)] = values
    for parent in range(leaves - 1, 0, -1):
        tree[parent] = min(tree[2 * parent], tree[2 * parent + 1])
    return tree


@inlined
def smallest(tree: Floats) -> float:
    """The smallest value of all."""
    return float(tree[1])


@inlined
def at(tree: Floats, index: int) -> float:
    """The value of one leaf."""
    return float(tree[(len(tree) >> 1) + index])


@inlined
def change(tree: Floats, index: int, value: float) -> None:
    """Give one leaf another value."""
    node = (len(tree) >> 1) + index
    tree[node] = value
    while node > 1:
        value = min(value, tree[node ^ 1])
        node >>= 1
        tree[node] = value


@inlined
def leftmost(tree: Floats) -> int:
    """Index of the smallest value; of equals the first."""
    leaves = len(tree) >> 1
    node = 1
    while node < leaves:
        node <<= 1
        node += tree[node + 1] < tree[node]
    return node - leaves
