"""Rounds: the order in which batch sizes are measured, each once a round, so that all meet the same drift."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from capacity.errors import InputError
from capacity.profile import BATCH_SIZE_LIMIT

SIZES_MAX = 200
SAMPLES_MAX = 100_000  # of one size
BATCHES_MAX = 2_000_000  # of all sizes; a profile of more is too large a file
DURATION_MAX_S = 7 * 24 * 3600.0
# Warming up may take this share of the time at most; what is slow is warm after fewer batches.
WARM_UP_SHARE_MAX = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """So many rounds, each of all batch sizes in an order of its own.

    A size that was measured all at once would carry whatever happened to the machine meanwhile, and look
    slower or faster for it. In random order within short rounds all sizes see the same machine
    (randomised blocks: Fisher 1935, The Design of Experiments, ch. 4).

    Attributes:
        batch_sizes: rising, each once.
        samples: rounds that count; of each size so many samples.
        warm_up: rounds before them, which do not.
        seed: of the orders.
        duration_max_s: when to stop, whatever is left. [s]
        has_rests: whether there are batches of the smallest size after rests too, between rounds.
    """

    batch_sizes: tuple[int, ...]
    samples: int = 500
    warm_up: int = 20
    seed: int = 0
    duration_max_s: float = 600.0
    has_rests: bool = False

    def __post_init__(self) -> None:
        _check_sizes(self.batch_sizes)
        if not 1 <= self.samples <= SAMPLES_MAX:
            raise InputError(f"--samples must be from 1 to {SAMPLES_MAX}, got {self.samples}")
        if self.samples * len(self.batch_sizes) > BATCHES_MAX:
            raise InputError(
                f"{self.samples} samples of {len(self.batch_sizes)} batch sizes are more than {BATCHES_MAX}; "
                "lower --samples"
            )
        if not 0 <= self.warm_up <= SAMPLES_MAX:
            raise InputError(f"--warm-up must be from 0 to {SAMPLES_MAX}, got {self.warm_up}")
        if not 0.0 < self.duration_max_s <= DURATION_MAX_S:
            raise InputError(
                f"--duration-max must be above 0 s and at most {DURATION_MAX_S:g} s, "
                f"got {self.duration_max_s:g} s"
            )

    def orders(self) -> Iterator[tuple[int, ...]]:
        """Without end, an order for each round; those of the warm-up come first."""
        dice = random.Random(self.seed)  # noqa: S311  (nothing secret; and numpy is not loaded yet)
        order = list(self.batch_sizes)
        while True:
            dice.shuffle(order)
            yield tuple(order)


def _check_sizes(batch_sizes: tuple[int, ...]) -> None:
    if not 1 <= len(batch_sizes) <= SIZES_MAX:
        raise InputError(f"--batch-sizes needs from 1 to {SIZES_MAX} sizes, got {len(batch_sizes)}")
    for size in batch_sizes:
        if not 1 <= size <= BATCH_SIZE_LIMIT:
            raise InputError(f"--batch-sizes must be from 1 to {BATCH_SIZE_LIMIT}, got {size}")
    if list(batch_sizes) != sorted(set(batch_sizes)):
        raise InputError("--batch-sizes must rise, each size once")


def parse_batch_sizes(text: str) -> tuple[int, ...]:
    """Sizes from text such as `1,2,4,8`, in any order.

    >>> parse_batch_sizes("8, 1,2")
    (1, 2, 8)
    """
    words = text.split(",")
    if len(words) > SIZES_MAX:
        raise InputError(f"--batch-sizes needs from 1 to {SIZES_MAX} sizes, got {len(words)}")
    sizes = sorted(_size(word.strip()) for word in words)
    if len(set(sizes)) < len(sizes):
        raise InputError(f"--batch-sizes {text[:60]!r} has a size twice; keep one")
    return tuple(sizes)


def _size(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 9):
        raise InputError(f"--batch-sizes has {word[:20]!r}, which is no batch size; write 1,2,4,8")
    return int(word)
