"""Population: the clients, who send, wait, give up, try again and hedge."""

import math
from functools import partial
from typing import Protocol

from capacity.recovery.protection import Abandoned
from capacity.traffic.clients import Clients, Failure
from simulations.draws.attempts import AttemptDraws
from simulations.reference.recovery.attempt import Attempt, Request
from simulations.reference.recovery.budgets import Awaited, budget_for
from simulations.reference.recovery.surroundings import Counts
from simulations.reference.replica import Clock, Phase


class Service(Protocol):
    """What clients see of the fleet."""

    def admit(self, attempt: Attempt) -> Failure | None:
        """Take an attempt, or say how it has failed at once."""

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        """Its client had no reply."""

    def answered(self, attempt: Attempt) -> None:
        """Its client had the reply in time."""

    def first_token(self, attempt: Attempt) -> None:
        """Its client has the first token."""


class Population:
    """All clients of a run, and the outcomes of their requests.

    Attributes:
        arrived_s: by request, NaN of turns of sessions that have not come. [s]
        answered_s, ended_s, sent: by request: the reply in time, the end of waiting, attempts sent.
        started_s, batch_size, busy_s, batches: by request, as in `Outcomes`.
    """

    def __init__(
        self, clock: Clock, clients: Clients, abandoned: Abandoned, backoff: list[list[float]], counts: Counts
    ) -> None:
        self._clock = clock
        self._clients = clients
        self._tells = abandoned is Abandoned.STOPPED
        self._backoff = backoff
        self._counts = counts
        self._awaited = Awaited()
        self._budget = budget_for(clients.budget, self._awaited)
        self._timeout_s = math.inf if clients.timeout_s is None else clients.timeout_s

    def begin(self, draws: AttemptDraws, service: Service) -> None:
        """First tries arrive at their instants, and turns of sessions after the answers before them."""
        self._service, self._sessions = service, draws.sessions
        self.arrived_s = arrived_s = draws.outside_s.tolist()
        self.answered_s = [math.nan] * len(arrived_s)
        self.ended_s = [math.inf] * len(arrived_s)
        self.sent = [0] * len(arrived_s)
        self.started_s = [math.nan] * len(arrived_s)
        self.batch_size = [0] * len(arrived_s)
        self.busy_s = [0.0] * len(arrived_s)
        self.batches = [0.0] * len(arrived_s)
        for number, instant_s in enumerate(arrived_s):
            if not math.isnan(instant_s):
                self._come_at(instant_s, number)

    def answer(self, attempt: Attempt) -> None:
        """The first reply wins; no client waits for other attempts any more."""
        request = attempt.request
        self.answered_s[request.number] = self._clock.now
        self._forget(attempt)
        self._budget.success()
        self._service.answered(attempt)
        self._decide(request)
        for other in list(request.live):
            self._forget(other)
            self._tell(other)
        self._follow(request.number)

    def first_token(self, attempt: Attempt) -> None:
        """An attempt that is waited for has its first token."""
        self._service.first_token(attempt)

    def served_with(self, attempt: Attempt, started_s: float, batch_size: int) -> None:
        """An attempt was answered by a batch of this size that started then."""
        self.started_s[attempt.request.number] = started_s
        self.batch_size[attempt.request.number] = batch_size

    def share(self, attempts: list[Attempt], spent_s: float) -> None:
        """The attempts of a batch have had equal shares of it and of its time."""
        share = 1.0 / len(attempts)
        for attempt in attempts:
            self.busy_s[attempt.request.number] += spent_s * share
            self.batches[attempt.request.number] += share

    def fail(self, attempt: Attempt, failure: Failure) -> None:
        """An attempt that was waited for has failed: its client tries again, or gives up."""
        request = attempt.request
        self._forget(attempt)
        self._budget.failure()
        self._service.failed(attempt, failure)
        if not self._tries_again(request, failure) and not request.live:
            self._decide(request)

    def _come_at(self, instant_s: float, number: int) -> None:
        rank = number * self._clients.attempts
        self._clock.call(instant_s, Phase.ARRIVAL, rank, partial(self._arrive, number))

    def _arrive(self, number: int) -> None:
        now_s = self.arrived_s[number] = self._clock.now
        patience_s = math.inf if self._clients.deadline_s is None else self._clients.deadline_s
        self._send(self._next_attempt(Request(number, now_s, now_s + patience_s)))

    def _follow(self, number: int) -> None:
        """The next turn of a session comes when its user has read the answer."""
        if self._sessions is not None and not self._sessions.turns.is_last(number):
            instant_s = self._sessions.turns.follows_s(number, self.arrived_s[number], self._clock.now)
            self._come_at(instant_s, number + 1)

    def _next_attempt(self, request: Request) -> Attempt:
        """Another attempt; its client waits for it from now on, though it may be sent later."""
        attempt = Attempt(request, request.used)
        request.used += 1
        request.live.append(attempt)
        self._awaited.add(is_retry=attempt.is_retry)
        return attempt

    def _send(self, attempt: Attempt) -> None:
        if not attempt.is_waited_for:  # another attempt was answered at this very instant
            return
        now_s = self._clock.now
        self._counts.add_sent(now_s)
        self.sent[attempt.request.number] = attempt.number + 1
        if not attempt.is_retry:
            self._budget.first_try()
        attempt.sent_s = now_s
        attempt.expires_s = min(now_s + self._timeout_s, attempt.request.deadline_s)
        self._watch(attempt)
        failure = self._service.admit(attempt)
        if failure is not None:
            self.fail(attempt, failure)

    def _watch(self, attempt: Attempt) -> None:
        """The client looks again when its patience ends, and when it would send another attempt beside."""
        request, number = attempt.request, attempt.number
        if attempt.expires_s < math.inf:
            rank = self._rank(request, number)
            self._clock.call(attempt.expires_s, Phase.TIMEOUT, rank, partial(self._time_out, attempt))
        if self._clients.hedge_s is not None and number + 1 < self._clients.attempts:
            instant_s = attempt.sent_s + self._clients.hedge_s
            hedge = partial(self._hedge, request, number + 1)
            self._clock.call(instant_s, Phase.ARRIVAL, self._rank(request, number + 1), hedge)

    def _time_out(self, attempt: Attempt) -> None:
        if attempt.is_waited_for:
            self._counts.timed_out += 1
            self.fail(attempt, Failure.TIMED_OUT)
            self._tell(attempt)

    def _hedge(self, request: Request, number: int) -> None:
        """Send an attempt beside others, unless it has been used as a retry."""
        now_s = self._clock.now
        if request.is_decided or request.used != number or now_s >= request.deadline_s:
            return
        if self._budget.allows(now_s):
            self._send(self._next_attempt(request))

    def _tries_again(self, request: Request, failure: Failure) -> bool:
        """Whether another attempt is to be sent, at once or after a backoff."""
        number = request.used
        if number == self._clients.attempts or failure not in self._clients.retried:
            return False
        instant_s = self._clock.now + self._backoff_s(request.number, number)
        if instant_s >= request.deadline_s or not self._budget.allows(self._clock.now):
            return False
        retry = partial(self._send, self._next_attempt(request))
        self._clock.call(instant_s, Phase.ARRIVAL, self._rank(request, number), retry)
        return True

    def _backoff_s(self, request: int, number: int) -> float:
        backoff = self._clients.backoff
        return 0.0 if backoff is None else self._backoff[number][request] * backoff.longest_s(number)

    def _forget(self, attempt: Attempt) -> None:
        """Its client waits for it no more."""
        attempt.is_waited_for = False
        attempt.request.live.remove(attempt)
        self._awaited.remove(is_retry=attempt.is_retry)

    def _tell(self, attempt: Attempt) -> None:
        """Tell the fleet that no client waits, if clients do so."""
        if self._tells and attempt.place is not None:
            attempt.place.abandon(attempt)

    def _decide(self, request: Request) -> None:
        request.is_decided = True
        self.ended_s[request.number] = self._clock.now

    def _rank(self, request: Request, number: int) -> int:
        return request.number * self._clients.attempts + number
