"""Attempts: the fleet and the random numbers of a run whose clients retry, and its outcomes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np

from capacity.errors import DomainError, InputError
from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from capacity.recovery.faults import ColdCache, Fault
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.router import RouterRules
from capacity.traffic.clients import Clients
from simulations.draws.arrivals import Purpose, Seed
from simulations.draws.records import Floats, Integers
from simulations.draws.service import ALONE, ServiceTimes
from simulations.draws.tokens import ALWAYS, Conversations, EngineRules, TokenDraws, TokenRecords


def _nothing() -> Floats:
    return np.zeros(0)


def _none() -> Integers:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttemptDraws:
    """The input of one run. Random numbers belong to attempts, so that every client policy sees the same users.

    Attributes:
        arrived_s: instants of first tries, rising from 0, shape `(requests,)`; zeros of turns of sessions. [s]
        service: uniforms in [0, 1), shape `(attempts, requests)`; a batch uses that of its first attempt. Empty for
            engines of language models, whose passes have noise of their own.
        routing: uniforms, shape `(attempts, requests, 2)`; the first one is that of `random`.
        backoff: uniforms, shape `(attempts, requests)`; the row of attempt 0 is not used.
        scale: factor of each request's service time, shape `(requests,)`; a batch takes as long as its longest
            request.
        lengths: token counts of requests to language models, with the seed of the passes' noise; its routing is not
            used.
    """

    arrived_s: Floats
    service: Floats
    routing: Floats
    backoff: Floats
    scale: Floats | None = None
    lengths: TokenDraws | None = None

    @property
    def sessions(self) -> Conversations | None:
        """Sessions of which the requests are the turns; None if each comes by itself."""
        return None if self.lengths is None else self.lengths.sessions

    @property
    def outside_s(self) -> Floats:
        """Instants of first tries from outside; NaN of turns that follow an answer, shape `(requests,)`. [s]"""
        if self.sessions is None:
            return self.arrived_s
        outside_s = np.full(len(self.arrived_s), np.nan)
        outside_s[self.sessions.turns.first[:-1]] = self.sessions.starts_s
        return outside_s

    def __post_init__(self) -> None:
        requests = len(self.arrived_s)
        if not (np.isfinite(self.arrived_s).all() and (np.diff(self.arrived_s, prepend=0.0) >= 0.0).all()):
            raise DomainError("instants of arrival must be finite, not negative, and must not fall")
        if self.service.ndim != 2 or (self.service.size and self.service.shape[1] != requests):
            raise DomainError(f"{requests} requests need service draws of shape (attempts, {requests})")
        if self.scale is not None and not (self.scale.shape == (requests,) and (self.scale > 0.0).all()):
            raise DomainError(f"{requests} requests need as many scales above 0")
        if self.lengths is not None and len(self.lengths.arrived_s) != requests:
            raise DomainError(f"{requests} requests need as many lengths, got {len(self.lengths.arrived_s)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """Outcome of every request, and totals over all attempts.

    What is said of batches is empty if it is not known, and without values for engines of language models.

    Attributes:
        arrived_s: instants of first tries, shape `(requests,)`; NaN of turns that never came. [s]
        answered_s: instant of a reply in time; NaN if the request failed. For a run that was given up it may be
            shorter: all later requests failed. [s]
        ended_s: when its client had a reply or gave up. [s]
        attempts: number of attempts of each request.
        sent: attempts sent in each second of the run, shape `(seconds,)`.
        served: attempts that were served; `for_nobody` of them had no waiting client any more.
        rejected: attempts rejected on arrival, by a full queue or for lack of a replica.
        shed: attempts rejected when a batch was taken.
        crashed: attempts lost with a replica, or refused by a dead one.
        dropped: attempts not served, since no client waited for them any more.
        timed_out: attempts whose client stopped waiting, whatever their outcome.
        stopped_s: when the run was given up, as it could not end well any more. [s]
        started_s: start of the batch whose reply was in time; NaN if the request failed, shape `(requests,)`. [s]
        batch_size: size of that batch; 0 if the request failed, shape `(requests,)`.
        busy_s, batches: time of a replica and number of batches that all attempts of a request took, each its share of
            its batch, shape `(requests,)`. [s]
        tokens: records of engines of language models, which count time and gaps between tokens of all attempts; None
            of others.
    """

    arrived_s: Floats
    answered_s: Floats
    ended_s: Floats
    attempts: Integers
    sent: Integers
    served: int
    for_nobody: int
    rejected: int
    shed: int
    crashed: int
    dropped: int
    timed_out: int
    stopped_s: float = math.inf
    started_s: Floats = field(default_factory=_nothing)
    batch_size: Integers = field(default_factory=_none)
    busy_s: Floats = field(default_factory=_nothing)
    batches: Floats = field(default_factory=_nothing)
    tokens: TokenRecords | None = None


class Fleet(Protocol):
    """Servers of one kind behind a router, as they are before anything happens.

    Attributes:
        queue_limit: what one server's queue holds; None if it is unlimited.
    """

    @property
    def replicas(self) -> int:
        """How many servers there are."""

    @property
    def routing(self) -> Routing:
        """Which server an attempt is sent to."""

    @property
    def queue_limit(self) -> int | None:
        """What one server's queue holds; None if it is unlimited."""

    def check(self, draws: AttemptDraws, clients: Clients, protection: Protection) -> None:
        """Raise an InputError for what such servers do not have in trouble, and for too few draws."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchFleet:
    """Replicas that serve batches.

    Attributes:
        cold: batches of a replica that has come back; None: like any other.
        slowdowns: how many times as long a batch takes while 1, 2, ... instances of its device are busy; that many
            replicas share a device.
    """

    plan: BatchPlan
    service_times: ServiceTimes
    cold: ColdCache | None = None
    slowdowns: tuple[float, ...] = ALONE

    @property
    def replicas(self) -> int:
        """How many replicas there are."""
        return self.plan.replicas

    @property
    def routing(self) -> Routing:
        """Which replica an attempt is sent to."""
        return self.plan.routing

    @property
    def queue_limit(self) -> int | None:
        """How many attempts wait at most beside the room that free replicas have; None if it is unlimited."""
        return self.plan.queue_limit

    @property
    def is_shared(self) -> bool:
        """Whether all replicas take from one queue."""
        return self.plan.routing is Routing.SHARED_QUEUE

    def check(self, draws: AttemptDraws, clients: Clients, protection: Protection) -> None:
        """Raise an InputError for shedding or a slow start that such fleets do not have, and for too few draws."""
        protection.require_weights(self.routing)
        if protection.shedding is Shedding.NEW:
            raise DomainError("requests of a batch are no turns, and no session begins")
        if self.plan.outstanding_max is not None:
            raise InputError(
                "a limit of outstanding requests is not simulated with faults, replicas that come and go, or clients "
                "who give up or try again; leave out --outstanding-max"
            )
        if self.plan.batching is Batching.RAY_SERVE and protection.shedding is Shedding.LIFO:
            raise DomainError(
                f"{self.plan.batching} batching settles who is in a batch as requests arrive: no lifo"
            )
        if len(draws.service) < clients.attempts:
            raise DomainError(
                f"{clients.attempts} attempts need as many rows of draws, got {len(draws.service)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EngineFleet:
    """Engines of a language model behind a balancer.

    Attributes:
        queue_limit: limit of each engine's queue, above which attempts are rejected. Attempts that join the next pass
            still count as waiting, as in vLLM's `num_requests_waiting`.
        window_s: passes that end in it count for what is on record of gaps and of time. [s]
        router: what a router of conversations was told, where that is not as usual.
    """

    table: StepTable
    rules: EngineRules
    replicas: int
    routing: Routing
    queue_limit: int | None = None
    window_s: tuple[float, float] = ALWAYS
    router: RouterRules | None = None

    def check(self, draws: AttemptDraws, clients: Clients, protection: Protection) -> None:
        """Raise an InputError for what engines in trouble do not have, and for draws without lengths."""
        protection.require_weights(self.routing)
        if self.routing is Routing.SHARED_QUEUE:
            raise DomainError("engines have a line each, and share no queue")
        if self.queue_limit == 0:
            raise DomainError(
                "a queue limit of 0 lets nothing into an engine, where all wait for the next step"
            )
        if (
            protection.shedding not in (Shedding.NONE, Shedding.NEW)
            or protection.abandoned is Abandoned.DROPPED
        ):
            raise DomainError(
                "engines of language models shed nothing that waits, and stop or serve an attempt that no client waits "
                "for"
            )
        if draws.sessions is not None and self.rules.scheduler is Scheduler.LLAMA_CPP:
            raise DomainError("slots of llama.cpp keep no blocks for later turns of sessions")
        lengths_of(draws).require_served(self.rules)
        if self.routing.needs_sessions and draws.sessions is None:
            raise DomainError(f"routing {self.routing} needs requests that are turns of sessions")
        if self.routing.needs_sessions and clients.hedge_s is not None:
            raise DomainError(
                f"routing {self.routing} follows one attempt of a turn at a time, and clients who hedge have several; "
                "leave out --hedge, or take another --routing"
            )


def lengths_of(draws: AttemptDraws) -> TokenDraws:
    """The lengths of requests to language models; raises a DomainError where there are none."""
    if draws.lengths is None:
        raise DomainError("engines of language models need the lengths of their requests")
    return draws.lengths


def check_faults(faults: Sequence[Fault], replicas: int) -> None:
    """Raise a DomainError for faults out of order, or of no replica."""
    if any(later.instant_s < fault.instant_s for fault, later in pairwise(faults)):
        raise DomainError("faults must be sorted by instant")
    if any(not 0 <= fault.replica < replicas for fault in faults):
        raise DomainError(f"faults must name one of {replicas} replicas")


def takes_chances(routing: Routing) -> bool:
    """Whether a rule of routing looks at random numbers."""
    return routing.base in (Routing.RANDOM, Routing.POWER_OF_TWO) or routing.needs_sessions


def routing_draws(first: Floats, clients: Clients, routing: Routing, seed: Seed) -> Floats:
    """Uniforms of all attempts, shape `(attempts, requests, 2)`.

    Args:
        first: those of first tries, which are those of requests without clients, shape `(2 * requests,)`.
    """
    if not takes_chances(routing):
        return np.zeros((0, 0, 2))
    return rows(first, seed, Purpose.ROUTING, clients.attempts).reshape(clients.attempts, -1, 2)


def backoff_draws(requests: int, clients: Clients, seed: Seed) -> Floats:
    """Uniforms of all attempts, shape `(attempts, requests)`; empty if clients retry at once."""
    if clients.backoff is None:
        return np.zeros((0, 0))
    return rows(np.zeros(requests), seed, Purpose.BACKOFF, clients.attempts)


def rows(first: Floats, seed: Seed, purpose: Purpose, attempts: int) -> Floats:
    """Uniforms of first tries, and below them those of each later attempt, from a stream of its own."""
    later = [seed.generator(purpose, number).random(len(first)) for number in range(1, attempts)]
    return np.stack([first, *later])
