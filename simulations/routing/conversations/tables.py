"""Tables: whole numbers by whole numbers in compiled code, where nothing can be allocated.

Open addressing with linear probing; who is taken out leaves no mark, as those behind move up. Eight keys in a row, such
as 16 to 23, have places in a row, so that a prompt is looked up in few lines of the processor's cache.

Source:
    Knuth (1998), The Art of Computer Programming vol. 3, sec. 6.4, algorithms L and R.
"""

import numpy as np

from simulations.compiled import callee, inlined
from simulations.draws.records import Integers
from simulations.draws.tokens import PASS_STEP

NO_KEY = -1


def table_for(entries: int) -> tuple[Integers, Integers]:
    """Keys and values of an empty table with room for a number of entries, half of whose places stay free."""
    places = 1 << max(4, (2 * entries).bit_length())
    return np.full(places, NO_KEY, dtype=np.int64), np.zeros(places, dtype=np.int64)


@inlined
def _home(keys: Integers, key: int) -> int:
    """The place that a key has if no other is in its way, by multiplicative hashing of eight in a row."""
    row = (np.uint64(key) >> np.uint64(3)) * np.uint64(PASS_STEP)
    return ((int(row >> np.uint64(34)) << 3) | (key & 7)) & (len(keys) - 1)


@inlined
def place_of(keys: Integers, key: int) -> int:
    """The place of a key, or the free one that it would have."""
    at = _home(keys, key)
    while keys[at] not in (NO_KEY, key):
        at = (at + 1) & (len(keys) - 1)
    return at


@callee
def take_out(keys: Integers, values: Integers, hole: int) -> None:
    """Free a place; those behind it that could be there move up."""
    last = len(keys) - 1
    at = (hole + 1) & last
    while keys[at] != NO_KEY:
        if ((at - _home(keys, keys[at])) & last) >= ((at - hole) & last):
            keys[hole], values[hole] = keys[at], values[at]
            hole = at
        at = (at + 1) & last
    keys[hole] = NO_KEY
