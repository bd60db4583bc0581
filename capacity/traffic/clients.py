"""Clients: how long they wait for an answer, how often they retry, and what limits their retries."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.errors import DomainError

ATTEMPTS_MAX = 16
ALL_FAILURES: frozenset["Failure"]


class Failure(StrEnum):
    """Failures of an attempt, as its client sees them."""

    REJECTED = "rejected"  # the queue was full, the attempt was shed, or no replica was there
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"  # the replica died with it, or refused the connection


ALL_FAILURES = frozenset(Failure)


class BudgetKind(StrEnum):
    """What pays for a retry."""

    NONE = "none"
    FIRST_TRIES = "first-tries"  # each first try deposits `ratio` tokens
    SUCCESSES = "successes"  # each success deposits `ratio` tokens
    CONCURRENT = "concurrent"  # retries may be at most a share `ratio` of what clients wait for
    THROTTLE = "throttle"  # a failure takes a token, a success gives `ratio`; none at half or below


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """A budget that all clients share; unlimited by default.

    Attributes:
        ratio: tokens that a first try or a success deposits; for `CONCURRENT`, allowed retries as a share of all
            active attempts, retries in backoff among them.
        cost: tokens that a retry takes.
        tokens: largest number held, and the number at the start.
        tokens_per_s: tokens deposited over time by `FIRST_TRIES`. [1/s]
        at_least: number of retries that `CONCURRENT` always allows at once.

    Source:
        first tries: Finagle, Linkerd; successes: AWS SDK, standard mode; concurrent: Envoy's retry budget;
        throttle: gRPC proposal A6.
    """

    kind: BudgetKind = BudgetKind.NONE
    ratio: float = 0.0
    cost: float = 1.0
    tokens: float = 100.0
    tokens_per_s: float = 0.0
    at_least: int = 3

    def __post_init__(self) -> None:
        for name in ("ratio", "cost", "tokens", "tokens_per_s", "at_least"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise DomainError(
                    f"a retry budget's {name} must be >= 0 and finite, got {getattr(self, name)}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The wait before each retry: random between 0 and `initial_s` times `multiplier` for each earlier retry.

    Source:
        gRPC proposal A6: random(0, min(initial * multiplier**(n-1), max)); "full jitter".
    """

    initial_s: float
    max_s: float
    multiplier: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.initial_s <= self.max_s < math.inf:
            raise DomainError(
                f"a backoff needs 0 < initial <= max, got {self.initial_s:g} s and {self.max_s:g} s"
            )
        if not 1.0 <= self.multiplier < math.inf:
            raise DomainError(f"a backoff's multiplier must be >= 1, got {self.multiplier:g}")

    def longest_s(self, retry: int) -> float:
        """The longest wait before a retry, the first of which is number 1. [s]"""
        wait_s = self.initial_s
        for _ in range(1, retry):  # as every engine computes it
            wait_s = min(wait_s * self.multiplier, self.max_s)
        return wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Settings of every client; by default it waits for ever and tries once.

    Attributes:
        timeout_s: time limit of one attempt; a reply at that very instant is in time. None: no limit. [s]
        deadline_s: time limit of all attempts of a request together; no attempt begins at it or later. [s]
        attempts: largest number, the first included.
        backoff: wait before each retry; None retries at once.
        retried: failures after which a client retries.
        hedge_s: after this long without a reply a second attempt is sent; the first reply wins. [s]
    """

    timeout_s: float | None = None
    deadline_s: float | None = None
    attempts: int = 1
    backoff: Backoff | None = None
    budget: RetryBudget = RetryBudget()
    retried: frozenset[Failure] = ALL_FAILURES
    hedge_s: float | None = None

    @property
    def is_patient(self) -> bool:
        """Whether they try once and wait for ever, so that only the fleet decides what becomes of a request."""
        return self.attempts == 1 and self.timeout_s is None and self.deadline_s is None

    @property
    def undecided_s(self) -> float:
        """The longest that a request may be neither answered nor given up; 0 if clients wait for ever. [s]"""
        if self.timeout_s is None:
            return self.deadline_s or 0.0
        waits_s = (
            0.0 if self.backoff is None else math.fsum(map(self.backoff.longest_s, range(1, self.attempts)))
        )
        longest_s = self.attempts * self.timeout_s + waits_s
        return longest_s if self.deadline_s is None else min(longest_s, self.deadline_s)

    def __post_init__(self) -> None:
        for name in ("timeout_s", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise DomainError(f"{name} must be above 0 and finite, got {value:g}")
        if not isinstance(self.attempts, int) or not 1 <= self.attempts <= ATTEMPTS_MAX:
            raise DomainError(f"attempts must be from 1 to {ATTEMPTS_MAX}, got {self.attempts}")
        if self.hedge_s is not None:
            if not 0.0 <= self.hedge_s < math.inf:
                raise DomainError(f"hedge_s must be >= 0 and finite, got {self.hedge_s:g}")
            if self.attempts == 1:
                raise DomainError("a hedge is a second attempt; give --attempts 2 or more")
            if self.backoff is not None:
                raise DomainError("hedged attempts are sent after their delay; leave out the backoff")


PATIENT = Clients()
