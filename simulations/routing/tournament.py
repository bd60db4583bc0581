"""Tournament: the smallest of some values, which change one at a time; compiled."""

import numpy as np

from simulations.compiled import inlined
from simulations.draws.records import Floats


def tournament(values: Floats) -> Floats:
    """The tree over some values, filled up to a power of two with infinity."""
    leaves = 1 << max(0, len(values) - 1).bit_length()
    tree = np.full(2 * leaves, np.inf)
    tree[leaves : leaves + len(values)] = values
    while leaves > 1:
        row = tree[leaves : 2 * leaves]
        leaves //= 2
        tree[leaves : 2 * leaves] = np.minimum(row[::2], row[1::2])
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
    """Change the value of one leaf."""
    node = (len(tree) >> 1) + index
    tree[node] = value
    while node > 1:
        value = min(value, tree[node ^ 1])
        node >>= 1
        tree[node] = value


@inlined
def leftmost(tree: Floats) -> int:
    """Index of the smallest value; the first of equal ones."""
    leaves = len(tree) >> 1
    node = 1
    while node < leaves:
        node <<= 1
        node += tree[node + 1] < tree[node]
    return node - leaves
