"""Sampling: serving batches round by round, until there are enough, or something ends it early."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from capacity.errors import DependencyError, InconclusiveError
from measurements.rests import BATCHES_A_NAP, Nap, naps_after, rests
from measurements.rounds import WARM_UP_SHARE_MAX, Rounds
from measurements.timed_batch import Subject, TimedBatch, check_credible

Clock = Callable[[], float]
Report = Callable[[str], None]

_REPORT_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What finished rounds gave.

    Attributes:
        batches: by batch size, in the order of the rounds; equally many of each.
        naps: batches of the smallest size with and without a rest before them, if there were any.
        stop: interrupt or failure that ended it early, to be raised again when all is safe; None without one.
    """

    batches: Mapping[int, tuple[TimedBatch, ...]]
    naps: tuple[Nap, ...] = ()
    stop: KeyboardInterrupt | DependencyError | None = None

    @property
    def rounds(self) -> int:
        """Rounds that were finished."""
        return min(len(batches) for batches in self.batches.values())


class _Course:
    """A sampling under way."""

    def __init__(self, subject: Subject, rounds: Rounds, clock: Clock, report: Report) -> None:
        self._subject, self._rounds, self._clock, self._report = subject, rounds, clock, report
        self._orders = rounds.orders()
        self._began_s = self._reported_s = clock()
        self._rest = rests(rounds.seed)
        self.done: list[dict[int, TimedBatch]] = []
        self.naps: list[Nap] = []
        self._awake: list[TimedBatch] = []  # of the smallest size since the last nap

    def run(self) -> None:
        """Fill `done`; what ends it early passes, and leaves what was finished."""
        for _ in self._while_time_is_left("warm-up round", self._rounds.warm_up, WARM_UP_SHARE_MAX):
            self._round(WARM_UP_SHARE_MAX)
        naps = naps_after(self._rounds.samples)
        for _ in self._while_time_is_left("round", self._rounds.samples, 1.0):
            finished = self._round(1.0)
            if finished is None:
                continue
            self.done.append(finished)
            self._awake.append(finished[self._rounds.batch_sizes[0]])
            if next(naps) and self._rounds.has_rests:
                self._nap()

    def _while_time_is_left(self, what: str, count: int, share: float) -> Iterator[None]:
        for number in range(count):
            if self._is_over(share):
                return
            self._tell(f"{what} {number + 1} of {count}")
            yield

    def _round(self, share: float) -> dict[int, TimedBatch] | None:
        """A batch of each size; None where time ran out before the last."""
        found: dict[int, TimedBatch] = {}
        for size in next(self._orders):
            if self._is_over(share):
                return None
            found[size] = self._served(size)
        return found

    def _nap(self) -> None:
        """Batches of the smallest size with a rest before each; the first has a busy stretch behind it."""
        last, rested = self._awake[-1], []
        for _ in range(1 + BATCHES_A_NAP):
            if self._is_over(1.0):
                return
            self._rest(last.service_s + (last.beside_s or 0.0))
            last = self._served(self._rounds.batch_sizes[0])
            rested.append(last)
        self.naps.append(Nap(awake=tuple(self._awake), rested=tuple(rested[1:])))
        self._awake = []

    def _served(self, size: int) -> TimedBatch:
        served = replace(self._subject.serve(size), ended_s=self._clock())
        check_credible(served, size)
        return served

    def _is_over(self, share: float) -> bool:
        return self._clock() - self._began_s >= share * self._rounds.duration_max_s

    def _tell(self, message: str) -> None:
        now_s = self._clock()
        if now_s - self._reported_s >= _REPORT_EVERY_S:
            self._reported_s = now_s
            self._report(message)


def take(subject: Subject, rounds: Rounds, clock: Clock, report: Report) -> Sampling:
    """Samples of each batch size.

    Time that is up, an interrupt and a failure end it early; finished rounds stay, and a round that was cut
    short is dropped, so that all sizes have equally many samples from the same stretch of time.

    Raises:
        InconclusiveError: no round was finished.
        DependencyError: the subject failed in the first round.
    """
    course, stop = _Course(subject, rounds, clock, report), None
    try:
        course.run()
    except (KeyboardInterrupt, DependencyError) as error:
        if not course.done:
            raise
        stop = error
    if not course.done:
        raise InconclusiveError(
            f"{rounds.duration_max_s:g} s did not suffice for one round of {len(rounds.batch_sizes)} batch "
            "sizes; raise --duration-max, or measure fewer or smaller --batch-sizes"
        )
    batches = {size: tuple(found[size] for found in course.done) for size in rounds.batch_sizes}
    return Sampling(batches=batches, naps=tuple(course.naps), stop=stop)
