"""LoadRun: what became of each request of one load test."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from measurements.schedule import Floats, Schedule

# Outcomes beside the HTTP statuses.
UNKNOWN, TIMED_OUT, NOT_CONNECTED, TOO_LONG, EXHAUSTED = 0, -1, -2, -3, -4
_NAMES = {
    UNKNOWN: "unanswered",
    TIMED_OUT: "timeout",
    NOT_CONNECTED: "connection",
    TOO_LONG: "too_long",
    EXHAUSTED: "exhausted",
}
_OK = 200


class Journal:
    """What has happened so far, written while the run goes on; an interrupt leaves it as it is."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.sent_s = [float("nan")] * schedule.requests
        self.ended_s = [float("nan")] * schedule.requests
        self.outcomes = [UNKNOWN] * schedule.requests
        self.replicas = [-1] * schedule.requests
        self.is_overflowed = False
        self.is_complete = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadRun:
    """One run, request by request in the order of the schedule; instants count from its start.

    Responses run from the instant at which a request was meant to be sent, so that a generator or a server
    that is late hides nothing; they are those of answers with status 200. A request that was given up, since
    it took too long, its connection broke or its answer had no end, would have taken the whole timeout at
    least. What was meant to be sent before `warm_up_s` is in no statistic.

    Attributes:
        sent_s, ended_s: when each was handed to the HTTP client, which may have to connect first, and had its
            answer to the last byte; NaN where not. [s]
        outcomes: HTTP status of each, or one of the negative outcomes above.
        replicas: where each was sent, by the number of its url.
        is_overflowed: more were in flight than allowed, and no more were sent.
        is_complete: the run ended by itself.
        timeout_s: after which a request was given up. [s]
    """

    schedule: Schedule = field(repr=False)
    warm_up_s: float
    sent_s: Floats = field(repr=False)
    ended_s: Floats = field(repr=False)
    outcomes: npt.NDArray[np.int64] = field(repr=False)
    replicas: npt.NDArray[np.int64] = field(repr=False)
    is_overflowed: bool = False
    is_complete: bool = True
    timeout_s: float = 0.0

    @classmethod
    def of(cls, journal: Journal, warm_up_s: float, timeout_s: float = 0.0) -> Self:
        """What a journal says."""
        return cls(
            schedule=journal.schedule,
            warm_up_s=warm_up_s,
            sent_s=np.array(journal.sent_s),
            ended_s=np.array(journal.ended_s),
            outcomes=np.array(journal.outcomes, dtype=np.int64),
            replicas=np.array(journal.replicas, dtype=np.int64),
            is_overflowed=journal.is_overflowed,
            is_complete=journal.is_complete,
            timeout_s=timeout_s,
        )

    @property
    def scheduled(self) -> int:
        """Requests that were meant to be sent."""
        return self.schedule.requests

    @property
    def sent(self) -> int:
        """Requests that were sent."""
        return int(np.isfinite(self.sent_s).sum())

    @property
    def _counts(self) -> npt.NDArray[np.bool_]:
        """Which were sent after the warm-up."""
        counts: npt.NDArray[np.bool_] = np.isfinite(self.sent_s) & (
            self.schedule.instants_s >= self.warm_up_s
        )
        return counts

    @property
    def _answered(self) -> npt.NDArray[np.bool_]:
        answered: npt.NDArray[np.bool_] = self._counts & (self.outcomes == _OK)
        return answered

    @property
    def counted(self) -> int:
        """Requests that count, answered or not."""
        return int(self._counts.sum())

    @property
    def lags_s(self) -> Floats:
        """From the instant that was meant to the one at which it was sent. [s]"""
        lags_s: Floats = (self.sent_s - self.schedule.instants_s)[self._counts]
        return lags_s

    @property
    def responses_s(self) -> Floats:
        """From the instant that was meant to the last byte of a good answer. [s]"""
        responses_s: Floats = (self.ended_s - self.schedule.instants_s)[self._answered]
        return responses_s

    @property
    def _ended(self) -> npt.NDArray[np.bool_]:
        """Which count, and were answered by 200 or given up."""
        ended: npt.NDArray[np.bool_] = self._counts & ((self.outcomes == _OK) | (self.outcomes < UNKNOWN))
        return ended

    @property
    def at_least_s(self) -> Floats:
        """Responses, in order, with what requests that were given up would have taken at least. [s]"""
        taken_s = self.ended_s - self.schedule.instants_s
        at_least_s: Floats = np.where(self.outcomes < UNKNOWN, np.maximum(taken_s, self.timeout_s), taken_s)[
            self._ended
        ]
        return at_least_s

    @property
    def at_most_s(self) -> Floats:
        """The same responses; infinite where a request was given up. [s]"""
        taken_s = self.ended_s - self.schedule.instants_s
        at_most_s: Floats = np.where(self.outcomes < UNKNOWN, np.inf, taken_s)[self._ended]
        return at_most_s

    def with_losses_s(self, ends_s: Floats) -> Floats:
        """Some responses of those that ended, in order among the requests that were refused, as infinite. [s]

        Args:
            ends_s: `at_least_s` or `at_most_s`.
        """
        all_s = np.full(len(self.outcomes), np.inf)
        all_s[self._ended] = ends_s
        settled_s: Floats = all_s[self._settled]
        return settled_s

    @property
    def answered_lags_s(self) -> Floats:
        """Lags of the requests that `responses_s` has. [s]"""
        lags_s: Floats = (self.sent_s - self.schedule.instants_s)[self._answered]
        return lags_s

    @property
    def losses(self) -> Floats:
        """1 for each request that was refused, by any other status than 200, else 0, in order."""
        refused = (self.outcomes > UNKNOWN) & (self.outcomes != _OK)
        losses: Floats = refused[self._settled].astype(np.float64)
        return losses

    @property
    def given_up(self) -> Floats:
        """1 for each request that has no answer and will have none, else 0, in order."""
        given_up: Floats = (self.outcomes < UNKNOWN)[self._settled].astype(np.float64)
        return given_up

    @property
    def _settled(self) -> npt.NDArray[np.bool_]:
        settled: npt.NDArray[np.bool_] = self._counts & (self.outcomes != UNKNOWN)
        return settled

    @property
    def exhausted(self) -> int:
        """Requests, those of the warm-up too, for which this machine had no port or descriptor."""
        return int((self.outcomes == EXHAUSTED).sum())

    @property
    def window_s(self) -> tuple[float, float]:
        """What counts: after the warm-up, of a run that was broken off until its last request. [s]"""
        if self.is_complete and not self.is_overflowed:
            return self.warm_up_s, self.schedule.duration_s
        return self.warm_up_s, float(np.nanmax(self.sent_s, initial=self.warm_up_s))

    @property
    def answered_at_s(self) -> Floats:
        """When good answers came within the window, rising, those to the warm-up's requests too. [s]"""
        start_s, end_s = self.window_s
        ended_s = self.ended_s[self.outcomes == _OK]
        within_s: Floats = np.sort(ended_s[(ended_s >= start_s) & (ended_s < end_s)])
        return within_s

    @property
    def statuses(self) -> dict[str, int]:
        """Requests that count by HTTP status, or by what kept them from one."""
        found = Counter(self.outcomes[self._counts].tolist())
        return {_NAMES.get(outcome, str(outcome)): count for outcome, count in sorted(found.items())}
