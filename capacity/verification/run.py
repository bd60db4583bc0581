"""Run: one load test, request by request: when each should have been sent, was sent, and was answered."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.measurement.sections import Floats
from capacity.profile.llm_runs import SeenRequest
from capacity.question.objective import Measure
from capacity.traffic.lengths import Pairs
from capacity.traffic.workload import Workload, is_trace
from capacity.units import format_duration
from capacity.verification.watch import ServerUse

OK = 200
# Outcomes beyond the HTTP statuses.
UNKNOWN, TIMED_OUT, NOT_CONNECTED, TOO_LONG, EXHAUSTED, NO_STREAM = 0, -1, -2, -3, -4, -5
_NAMES = {
    UNKNOWN: "unanswered",
    TIMED_OUT: "timeout",
    NOT_CONNECTED: "connection",
    TOO_LONG: "too_long",
    EXHAUSTED: "exhausted",
    NO_STREAM: "no_stream",
}
# Requests are drawn for this many standard deviations of a Poisson count above the mean; then again.
_SPARE_DEVIATIONS, _SPARE = 6.0, 16
# Share of answers whose tokens may come several in a chunk, as after a client briefly fell behind.
_UNTOLD_MAX = 0.05
_FEWER = "shorten --duration, make fewer --runs, or raise --requests-max"

Booleans = npt.NDArray[np.bool_]
Tokens = tuple[int, int]  # input and output tokens of a request


class Arrivals(Protocol):
    """The arrivals of one run, as the simulator draws them; a trace has a fixed number of requests."""

    requests: int

    def arrived_s(self, count: int) -> Floats:
        """The next instants, rising. [s]"""


# Arrivals by the number of the run.
Draw = Callable[[Workload, int], Arrivals]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """Instants at which to send requests, whatever happened to earlier ones: an open loop."""

    instants_s: Floats  # from the start of the run, in order, within the duration, shape `(requests,)`
    duration_s: float  # of the run, warm-up included; until the end of a trace that ends earlier
    # input and output tokens of each request, shape `(requests,)` each; None if requests have no lengths
    lengths: Pairs | None = None

    def __post_init__(self) -> None:
        self.require_requests()
        is_rising = bool((np.diff(self.instants_s, prepend=0.0) >= 0.0).all())
        if not is_rising or self.instants_s[-1] > self.duration_s:
            raise InputError("a schedule must not go back in time, and must end within its duration")

    def require_requests(self) -> None:
        """Refuse fewer than two requests.

        Raises:
            InputError: there are fewer.
        """
        if len(self.instants_s) < 2:
            raise InputError(
                f"{len(self.instants_s)} requests are too few for a load test; raise --rate or --duration"
            )

    def __str__(self) -> str:
        return f"{self.requests} requests"

    def require_at_most(self, most: float) -> None:
        """Refuse more requests than that.

        Raises:
            InputError: there are more.
        """
        if self.requests > most:
            raise InputError(
                f"a run of {format_duration(self.duration_s)} has more than the {most:.0f} requests that are left "
                f"for it; {_FEWER}"
            )

    @property
    def requests(self) -> int:
        """Number of requests to send."""
        return len(self.instants_s)

    @property
    def ends_s(self) -> float:
        """The instant at which the last of them is due, as far as that is known before. [s]"""
        return float(self.instants_s[-1])

    def tokens(self, number: int) -> Tokens | None:
        """Input and output tokens of a request; None if requests have no lengths."""
        if self.lengths is None:
            return None
        given, got = self.lengths
        return int(given[number]), int(got[number])


def draw_schedule(
    arrivals: Arrivals, workload: Workload, duration_s: float, most: float = math.inf
) -> Schedule:
    """The requests of one run, warm-up included; a trace from its beginning.

    Raises InputError: fewer than two requests, or more than `most`, after which drawing stops.
    """
    if is_trace(workload):
        instants_s = arrivals.arrived_s(arrivals.requests)
        duration_s = min(duration_s, float(instants_s[-1]))
    else:
        expected = workload.arrival_rate_rps * duration_s
        count = int(min(most, expected + _SPARE_DEVIATIONS * math.sqrt(expected))) + _SPARE
        instants_s = arrivals.arrived_s(count)
        while instants_s[-1] <= duration_s and len(instants_s) <= most:
            instants_s = np.concatenate([instants_s, arrivals.arrived_s(count)])
    instants_s = instants_s[instants_s <= duration_s]
    found = Schedule(instants_s=instants_s, duration_s=duration_s)
    found.require_at_most(most)
    return found


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class LoadRun:
    """One run in order of its schedule, filled as it goes on, so that an interrupt leaves what there is.

    Responses count from the instant at which a request should have been sent, so that a late generator or server
    hides nothing. A request that was given up, because it took too long, its connection broke or its answer had no
    end, would have taken at least the whole timeout. Requests due before `warm_up_s` are in no statistic. Instants
    count from the start of the run, and are NaN if missing.
    """

    schedule: Schedule
    warm_up_s: float = 0.0
    timeout_s: float = 0.0
    # when each was handed to the HTTP client, which may have to connect first
    sent_s: Floats
    ended_s: Floats  # when the last byte of each answer came
    # time of each in batch and queue, as the server reported it
    inside_s: Floats = field(default_factory=lambda: np.zeros(0))
    # when the first token of each answer came that is streamed, and the times from each of its events to the next,
    # where an event is a step: it brings one token, or of an engine that drafts several
    first_s: Floats = field(default_factory=lambda: np.zeros(0))
    gaps_s: dict[int, tuple[float, ...]] = field(default_factory=dict)
    drafts: bool = False
    # tokens of each prompt that were found in a cache, where the server says so
    cached_tokens: Floats = field(default_factory=lambda: np.zeros(0))
    untold: int = 0  # answers to turns of sessions of which the next turn could not repeat a token
    odd_lengths: int = 0  # answers with another number of tokens than was asked for
    # HTTP status of each, or one of the negative outcomes above
    outcomes: npt.NDArray[np.int64]
    replicas: npt.NDArray[np.int64]  # number of the address that each was sent to
    is_overflowed: bool = False  # too many were in flight, and no more were sent
    is_complete: bool = True
    cpu_share: float = 0.0  # share of one core that sending took
    # servers' use in consecutive sections of the counted part; empty without their metrics
    uses: tuple[ServerUse, ...] = ()
    unseen: str | None = None  # why not, if their metrics were read

    @classmethod
    def blank(
        cls, schedule: Schedule, warm_up_s: float = 0.0, timeout_s: float = 0.0, *, drafts: bool = False
    ) -> Self:
        """A run before anything is sent."""
        return cls(
            drafts=drafts,
            schedule=schedule,
            warm_up_s=warm_up_s,
            timeout_s=timeout_s,
            sent_s=np.full(schedule.requests, np.nan),
            ended_s=np.full(schedule.requests, np.nan),
            inside_s=np.full(schedule.requests, np.nan),
            first_s=np.full(schedule.requests, np.nan),
            cached_tokens=np.full(schedule.requests, np.nan),
            outcomes=np.full(schedule.requests, UNKNOWN),
            replicas=np.full(schedule.requests, -1),
            is_complete=False,
        )

    def note(self, number: int, seen: SeenRequest, began_s: float) -> None:
        """Note when the tokens of a request came, by the clock on which the run began then. [s]"""
        self.first_s[number], self.ended_s[number] = seen.first_s - began_s, seen.last_s - began_s
        are_steps = seen.events == seen.output_tokens or self.drafts
        if are_steps and len(seen.gaps_s) == seen.events - 1:
            self.gaps_s[number] = seen.gaps_s
        tokens = self.schedule.tokens(number)
        self.odd_lengths += tokens is not None and seen.output_tokens != tokens[1]

    @property
    def sent(self) -> int:
        """Number of requests that were sent."""
        return int(np.isfinite(self.sent_s).sum())

    @property
    def _counts(self) -> Booleans:
        """Which requests were sent after the warm-up."""
        return np.asarray(np.isfinite(self.sent_s) & (self.schedule.instants_s >= self.warm_up_s))

    @property
    def _settled(self) -> Booleans:
        """Which requests count and have ended."""
        return np.asarray(self._counts & (self.outcomes != UNKNOWN))

    @property
    def _good(self) -> Booleans:
        return np.asarray(self._counts & (self.outcomes == OK))

    @property
    def _refused(self) -> Booleans:
        return np.asarray((self.outcomes > UNKNOWN) & (self.outcomes != OK))

    @property
    def counted(self) -> int:
        """Number of requests that count, answered or not."""
        return int(self._counts.sum())

    def lags_s(self, *, of_good: bool = False) -> Floats:
        """Time from when each request should have been sent to when it was; of good answers alone. [s]"""
        lags_s = self.sent_s - self.schedule.instants_s
        return np.asarray(lags_s[self._good if of_good else self._counts])

    @property
    def responses_s(self) -> Floats:
        """Time from when each request should have been sent to the last byte of its good answer. [s]"""
        return np.asarray((self.ended_s - self.schedule.instants_s)[self._good])

    @property
    def begun_s(self) -> Floats:
        """Time from when each request should have been sent to the first token of its good answer. [s]

        Of answers that are not streamed it is that of the whole answer.
        """
        if self.schedule.lengths is None:
            return self.responses_s
        return np.asarray((self.first_s - self.schedule.instants_s)[self._good])

    @property
    def begun(self) -> str:
        """What `begun_s` is, in a word."""
        return "response" if self.schedule.lengths is None else "TTFT"

    def endured_s(
        self, *, at_most: bool = False, with_losses: bool = False, of_first: bool = False
    ) -> Floats:
        """Responses in order, with the least, or the most, that those given up would have taken. [s]

        Args:
            with_losses: refused requests are among them, as infinite.
            of_first: times to the first tokens instead.
        """
        taken_s = (self.first_s if of_first else self.ended_s) - self.schedule.instants_s
        given_up_s = np.full(len(taken_s), math.inf)
        if not at_most:
            given_up_s = np.fmax(self.ended_s - self.schedule.instants_s, self.timeout_s)
        taken_s = np.where(self.outcomes < UNKNOWN, given_up_s, taken_s)
        taken_s[self._refused] = math.inf
        return taken_s[self._settled if with_losses else self._settled & ~self._refused]

    @property
    def per_token_s(self) -> Floats:
        """TPOT of each good answer of several tokens, in order. [s]"""
        return self._per_token_s[self._good & np.isfinite(self._per_token_s)]

    @property
    def _per_token_s(self) -> Floats:
        """TPOT of each request; NaN without a good answer, and with a single token. [s]"""
        assert self.schedule.lengths is not None  # noqa: S101  (or there are no tokens)
        gaps = self.schedule.lengths[1] - 1
        return np.where(gaps > 0, (self.ended_s - self.first_s) / np.maximum(gaps, 1), math.nan)

    @property
    def _per_event_s(self) -> Floats:
        """Mean time between the events of each request; its TPOT where events are not told apart. [s]"""
        taken_s = self._per_token_s
        for number, gaps_s in self.gaps_s.items():
            taken_s[number] = sum(gaps_s) / len(gaps_s) if gaps_s else math.nan
        return taken_s

    @property
    def hits(self) -> tuple[Floats, Floats]:
        """Tokens found in a cache and tokens of the prompt, of each good answer that says so, in order."""
        assert self.schedule.lengths is not None  # noqa: S101  (or there are no tokens)
        told = self._good & np.isfinite(self.cached_tokens)
        return self.cached_tokens[told], self.schedule.lengths[0][told].astype(np.float64)

    @property
    def all_gaps_s(self) -> Floats | None:
        """Times between the events of all good answers, in order; None if many answers do not tell steps apart. [s]"""
        assert self.schedule.lengths is not None  # noqa: S101  (or there are no tokens)
        several = np.flatnonzero(self._good & (self.schedule.lengths[1] > 1)).tolist()
        told = [self.gaps_s[number] for number in several if number in self.gaps_s]
        if len(told) < (1.0 - _UNTOLD_MAX) * len(several):
            return None
        return np.fromiter(chain.from_iterable(told), dtype=np.float64)

    def missed(self, limits: Mapping[Measure, float]) -> Floats:
        """1 for each request that is beyond any of these limits or has no good answer, else 0, in order."""
        taken_s = {
            Measure.RESPONSE: self.ended_s - self.schedule.instants_s,
            Measure.TTFT: self.first_s - self.schedule.instants_s,
        }
        if self.schedule.lengths is not None:
            taken_s |= {Measure.TPOT: self._per_token_s, Measure.ITL: self._per_event_s}
        late = self.outcomes != OK
        for measure, allowed_s in limits.items():
            late = late | (taken_s[measure] > allowed_s)
        return np.asarray(late[self._settled], dtype=np.float64)

    @property
    def losses(self) -> Floats:
        """1 for each request refused by a status other than 200, else 0, in order."""
        return self._refused[self._settled].astype(np.float64)

    @property
    def given_up(self) -> Floats:
        """1 for each request that has no answer and will have none, else 0, in order."""
        return (self.outcomes < UNKNOWN)[self._settled].astype(np.float64)

    @property
    def window_s(self) -> tuple[float, float]:
        """The counted part: after the warm-up; in a run that was broken off, until its last request. [s]"""
        if self.is_complete and not self.is_overflowed:
            return self.warm_up_s, self.schedule.duration_s
        return self.warm_up_s, float(np.nanmax(self.sent_s, initial=self.warm_up_s))

    @property
    def answered_at_s(self) -> Floats:
        """Instants of good answers within the window, rising, including those to requests of the warm-up. [s]"""
        start_s, end_s = self.window_s
        ended_s = self.ended_s[self.outcomes == OK]
        return np.sort(ended_s[(ended_s >= start_s) & (ended_s < end_s)])

    @property
    def statuses(self) -> dict[str, int]:
        """Number of counted requests by outcome, by name."""
        found = Counter(self.outcomes[self._counts].tolist())
        return {_NAMES.get(outcome, str(outcome)): count for outcome, count in sorted(found.items())}
