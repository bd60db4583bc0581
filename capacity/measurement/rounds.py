"""Rounds: times batches one at a time, each size once per round, so that all sizes meet the same drift."""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

from capacity.errors import DependencyError, InconclusiveError, InputError, quoted
from capacity.profile.profile import BATCH_DURATION_MAX_S, BATCH_DURATION_MIN_S, BATCH_SIZE_LIMIT

Clock = Callable[[], float]
Report = Callable[[str], None]
Sleep = Callable[[float], None]

SIZES_MAX, WARM_UP_MAX = 200, 100_000
BATCHES_MAX = 2_000_000  # batches of all sizes; a profile with more is too large a file
DURATION_MAX_S = 7 * 24 * 3600.0
# Warm-up takes this share of the time at most; slow batches are warm sooner.
WARM_UP_SHARE_MAX = 0.2
_REPORT_EVERY_S = 5.0
# Mean rest in times of the batch before it: a load of a quarter.
_TIMES_AS_LONG = 3.0
_PAUSE_MAX_S = 1.0
NAPS_MAX, BATCHES_A_NAP = 30, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBatch:
    """One timed batch."""

    service_s: float  # service time of the batch
    # time of its request outside the batch and the wait for it; None if it was not reported
    beside_s: float | None = None
    ended_s: float = 0.0  # when it was answered, by the clock of the sampling


class Subject(Protocol):
    """What is measured."""

    def serve(self, batch_size: int) -> TimedBatch:
        """Serve one batch; raises DependencyError if it cannot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """A plan of rounds, each with all batch sizes in its own random order.

    A size measured all at once would carry whatever happened to the machine meanwhile, and look slower or faster for
    it. In random order within short rounds all sizes see the same machine (randomised blocks: Fisher 1935, The Design
    of Experiments, ch. 4).
    """

    batch_sizes: tuple[int, ...]  # rising, each once
    samples: int = 500  # rounds that count: samples of each size
    warm_up: int = 20  # rounds before them that do not count
    seed: int = 0  # seed of the orders
    duration_max_s: float = 600.0  # when to stop, whatever is left
    has_rests: bool = False  # whether batches of the smallest size are also timed after rests, between rounds

    def __post_init__(self) -> None:
        if not 1 <= len(self.batch_sizes) <= SIZES_MAX:
            raise InputError(f"--batch-sizes needs from 1 to {SIZES_MAX} sizes, got {len(self.batch_sizes)}")
        if not 1 <= min(self.batch_sizes) <= max(self.batch_sizes) <= BATCH_SIZE_LIMIT:
            raise InputError(f"--batch-sizes must be from 1 to {BATCH_SIZE_LIMIT}, got {self.batch_sizes}")
        if list(self.batch_sizes) != sorted(set(self.batch_sizes)):
            raise InputError("--batch-sizes has a size twice; keep one of each")
        most = BATCHES_MAX // len(self.batch_sizes)
        if not 1 <= self.samples <= most:
            raise InputError(f"--samples must be from 1 to {most}, got {self.samples}")
        if not 0 <= self.warm_up <= WARM_UP_MAX:
            raise InputError(f"--warm-up must be from 0 to {WARM_UP_MAX}, got {self.warm_up}")
        if not 0.0 < self.duration_max_s <= DURATION_MAX_S:
            limits = f"above 0 s and at most {DURATION_MAX_S:g} s"
            raise InputError(f"--duration-max must be {limits}, got {self.duration_max_s:g} s")

    def orders(self) -> Iterator[tuple[int, ...]]:
        """An endless stream of orders, one for each round; those of the warm-up come first."""
        dice = random.Random(self.seed)  # noqa: S311  (nothing secret; and numpy is not loaded yet)
        order = list(self.batch_sizes)
        while True:
            dice.shuffle(order)
            yield tuple(order)

    def naps(self) -> Iterator[bool]:
        """Whether a nap follows each round: spread over the rounds, not after each of many."""
        naps = min(NAPS_MAX, math.ceil(self.samples / BATCHES_A_NAP)) if self.has_rests else 0
        for number in range(self.samples):
            yield (number + 1) * naps // self.samples > number * naps // self.samples


def parse_batch_sizes(given: str | Iterable[int]) -> tuple[int, ...]:
    """Sizes from text such as `1,2,4,8`, or from numbers, in any order.

    >>> parse_batch_sizes("8, 1,2"), parse_batch_sizes([2, 1])
    ((1, 2, 8), (1, 2))
    """
    listed = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    words = [str(one).strip() for one in listed]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 9):
            raise InputError(f"--batch-sizes has {quoted(word)}, which is not a batch size; write 1,2,4,8")
    return tuple(sorted(map(int, words)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nap:
    """Batches of one size: some without a rest, then some with a rest before each.

    After a rest caches belong to others and clocks are slow: a queue meets such batches more often the less it is
    loaded. A single rest after a busy stretch shows little of that, so there are several in a row.
    """

    awake: tuple[TimedBatch, ...]
    rested: tuple[TimedBatch, ...]

    @property
    def longer_s(self) -> float:
        """How much longer the median rested batch took. [s]"""
        return median(one.service_s for one in self.rested) - median(one.service_s for one in self.awake)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Samples from the finished rounds."""

    # by batch size, in the order of the rounds; equally many of each
    batches: Mapping[int, tuple[TimedBatch, ...]]
    # batches of the smallest size with and without a rest before them, if there were any
    naps: tuple[Nap, ...] = ()
    # interrupt or failure that ended it early, to be raised again once all is saved; None without one
    stop: KeyboardInterrupt | DependencyError | None = None

    @property
    def rounds(self) -> int:
        """Number of finished rounds."""
        return min(len(batches) for batches in self.batches.values())


class _Course:
    """A sampling in progress; `done` has its finished rounds."""

    def __init__(self, subject: Subject, rounds: Rounds, clock: Clock, report: Report, sleep: Sleep) -> None:
        self._subject, self._rounds, self._clock = subject, rounds, clock
        self._report, self._sleep = report, sleep
        self._orders = rounds.orders()
        self._dice = random.Random(f"rests-{rounds.seed}")  # noqa: S311  (nothing secret)
        self._began_s = self._reported_s = clock()
        self.done: list[dict[int, TimedBatch]] = []
        self.naps: list[Nap] = []
        self._awake: list[TimedBatch] = []  # batches of the smallest size since the last nap

    def run(self) -> None:
        """Fill `done`; an early end is recorded and leaves what was finished."""
        for number in range(self._rounds.warm_up):
            self._tell(f"warm-up round {number + 1} of {self._rounds.warm_up}")
            if self._round(WARM_UP_SHARE_MAX) is None:
                break
        for number, has_nap in enumerate(self._rounds.naps(), start=1):
            self._tell(f"round {number} of {self._rounds.samples}")
            finished = self._round(1.0)
            if finished is None:
                return
            self.done.append(finished)
            self._awake.append(finished[self._rounds.batch_sizes[0]])
            if has_nap:
                self._nap()

    def _round(self, share: float) -> dict[int, TimedBatch] | None:
        """A batch of each size; None if time ran out before the last."""
        found: dict[int, TimedBatch] = {}
        for size in next(self._orders):
            if self._is_over(share):
                return None
            found[size] = self._served(size)
        return found

    def _nap(self) -> None:
        """Batches of the smallest size with a rest before each; a busy stretch precedes the first."""
        last, rested = self._awake[-1], []
        for _ in range(1 + BATCHES_A_NAP):
            if self._is_over(1.0):
                return
            last_s = last.service_s + (last.beside_s or 0.0)
            self._sleep(min(_PAUSE_MAX_S, self._dice.expovariate(1.0) * _TIMES_AS_LONG * last_s))
            last = self._served(self._rounds.batch_sizes[0])
            rested.append(last)
        self.naps.append(Nap(awake=tuple(self._awake), rested=tuple(rested[1:])))
        self._awake = []

    def _served(self, size: int) -> TimedBatch:
        """A batch, refused if its time cannot be a service time."""
        batch = replace(self._subject.serve(size), ended_s=self._clock())
        if not BATCH_DURATION_MIN_S <= batch.service_s <= BATCH_DURATION_MAX_S:
            raise DependencyError(
                f"a batch of {size} took {batch.service_s:g} s, outside {BATCH_DURATION_MIN_S:g} s to "
                f"{BATCH_DURATION_MAX_S:g} s, too short or too long for a batch; check that the timed code "
                "does the work"
            )
        return batch

    def _is_over(self, share: float) -> bool:
        return self._clock() - self._began_s >= share * self._rounds.duration_max_s

    def _tell(self, message: str) -> None:
        now_s = self._clock()
        if now_s - self._reported_s >= _REPORT_EVERY_S:
            self._reported_s = now_s
            self._report(message)


def take(
    subject: Subject, rounds: Rounds, clock: Clock, report: Report, sleep: Sleep = time.sleep
) -> Sampling:
    """Samples of each batch size.

    The time limit, an interrupt or a failure ends it early; finished rounds stay, and a round that was cut short is
    dropped, so that all sizes have equally many samples from the same stretch of time.

    Raises:
        InconclusiveError: no round was finished.
        DependencyError: the subject failed in the first round.
    """
    course, stop = _Course(subject, rounds, clock, report, sleep), None
    try:
        course.run()
    except (KeyboardInterrupt, DependencyError) as error:
        if not course.done:
            raise
        stop = error
    if not course.done:
        raise InconclusiveError(
            f"{rounds.duration_max_s:g} s was not enough for one round of {len(rounds.batch_sizes)} batch "
            "sizes; raise --duration-max, or measure fewer or smaller --batch-sizes"
        )
    batches = {size: tuple(found[size] for found in course.done) for size in rounds.batch_sizes}
    return Sampling(batches=batches, naps=tuple(course.naps), stop=stop)
