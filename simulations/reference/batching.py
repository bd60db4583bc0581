"""Batching: when a batch starts, and how many requests it takes; one class a rule, for every queue of the model."""

from collections import deque
from dataclasses import dataclass

from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan


class BatchRule:
    """Triton's rule: a batch starts once it is full or its oldest request has waited long enough.

    It takes all that wait, up to `batch_size_max`. The wait is counted from the arrival.

    Attributes:
        is_collected: whether it is settled who is in a batch before it is taken.
        waits_again: whether the wait of those that stay starts again once a batch is taken.
    """

    is_collected = False
    waits_again = False

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan

    def joins(self, now_s: float) -> None:
        """A request comes to the end of the queue."""

    def leaves(self, place: int, waiting: int) -> None:
        """A request leaves its place in the queue before it is taken, where this many have waited, itself included."""

    def sees(self, now_s: float) -> None:
        """A replica is free while requests wait."""

    def starts_s(self, waiting: int, oldest_s: float, now_s: float) -> float:
        """Start of the next batch if a replica is free from now on. [s]

        Args:
            waiting: requests in the queue, at least one.
            oldest_s: instant at which the oldest of them arrived. [s]
        """
        return now_s if self._is_full(waiting) else max(self._over_s(oldest_s, now_s), now_s)

    def take(self, waiting: int, oldest_s: float, now_s: float) -> int:
        """How many requests a batch takes that starts now."""
        return min(waiting, self._plan.batch_size_max)

    def _is_full(self, waiting: int) -> bool:
        """Whether a batch need not wait for more requests."""
        return waiting >= self._plan.due_size

    def _over_s(self, oldest_s: float, now_s: float) -> float:
        """End of the wait. [s]"""
        return oldest_s + self._plan.batch_wait_max_s


class OpenRule(BatchRule):
    """TorchServe's rule: the wait is counted from when a free replica sees a waiting request.

    The idle replicas of a shared queue collect one batch together: one timer runs, and starts again when a batch has
    been taken and other requests wait.
    """

    waits_again = True
    _opened_s: float | None = None  # since when a replica was free and a request waited

    def sees(self, now_s: float) -> None:
        """The timer starts, unless it runs."""
        if self._opened_s is None:
            self._opened_s = now_s

    def leaves(self, place: int, waiting: int) -> None:
        """The timer stops with the last request that waits."""
        if waiting == 1:
            self._opened_s = None

    def take(self, waiting: int, oldest_s: float, now_s: float) -> int:
        """The batch takes as many as fit; for those that stay the timer has not started."""
        self._opened_s = None
        return super().take(waiting, oldest_s, now_s)

    def _over_s(self, oldest_s: float, now_s: float) -> float:
        opened_s = now_s if self._opened_s is None else self._opened_s
        return opened_s + self._plan.batch_wait_max_s


class PreferredRule(BatchRule):
    """A batch of any of some preferred sizes: the largest that the queue fills starts at once, and no more.

    Once the wait of the oldest is over, all that wait start. Without a wait there is none to be over: then
    all start only where there is no preferred size among them, as in Triton's `GetDynamicBatch`.
    """

    def take(self, waiting: int, oldest_s: float, now_s: float) -> int:
        """The largest preferred size, or all."""
        size, wait_s = super().take(waiting, oldest_s, now_s), self._plan.batch_wait_max_s
        if wait_s > 0.0 and self._over_s(oldest_s, now_s) <= now_s:
            return size
        return max((one for one in self._plan.preferred_sizes if one <= size), default=size)


@dataclass
class Collected:
    """A batch that is collected ahead: how many have joined and still wait, and when it closes at the latest."""

    closes_s: float
    joined: int = 0
    waiting: int = 0


class CollectedRule(BatchRule):
    """Ray Serve's rule: batches are collected ahead, whether the replica is busy or not.

    The last batch is open until it is full or its wait is over; a request that comes then opens another. One that
    leaves before its batch is taken leaves a place that stays empty.
    """

    is_collected = True

    def __init__(self, plan: BatchPlan) -> None:
        super().__init__(plan)
        self._batches: deque[Collected] = deque()

    def joins(self, now_s: float) -> None:
        """It joins the last batch, or opens one."""
        last = self._batches[-1] if self._batches else None
        if last is None or last.joined == self._plan.batch_size_max or last.closes_s < now_s:
            last = Collected(closes_s=now_s + self._plan.batch_wait_max_s)
            self._batches.append(last)
        last.joined += 1
        last.waiting += 1

    def leaves(self, place: int, waiting: int) -> None:
        """Its batch has one less to serve."""
        for batch in self._batches:
            if place < batch.waiting:
                batch.waiting -= 1
                return
            place -= batch.waiting

    def take(self, waiting: int, oldest_s: float, now_s: float) -> int:
        """The first batch as it was collected."""
        size = self._first().waiting
        self._batches.popleft()
        return size

    def _is_full(self, waiting: int) -> bool:
        return self._first() is not self._batches[-1] or self._first().joined == self._plan.batch_size_max

    def _over_s(self, oldest_s: float, now_s: float) -> float:
        return self._first().closes_s

    def _first(self) -> Collected:
        """The first batch of which anybody waits."""
        while self._batches[0].waiting == 0:
            self._batches.popleft()
        return self._batches[0]


def rule_for(plan: BatchPlan) -> BatchRule:
    """The rule that a plan asks for, with a state of its own for each queue."""
    kinds: dict[Batching, type[BatchRule]] = {
        Batching.TRITON: PreferredRule if plan.preferred_sizes else BatchRule,
        Batching.TORCHSERVE: OpenRule,
        Batching.RAY_SERVE: CollectedRule,
    }
    return kinds[plan.batching](plan)
