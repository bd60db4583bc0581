"""Arrivals and the other random numbers of a run: one named stream per purpose and replication."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from capacity.errors import InputError
from capacity.workload import (
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from simulations.records import Floats


class Purpose(IntEnum):
    """What a stream of random numbers is for; each draws from a stream of its own."""

    ARRIVALS = 0
    SERVICE = 1
    ROUTING = 2
    PROFILE = 3
    THINK = 4


class Stage(IntEnum):
    """What a simulation is for; candidates of one search share their streams, a certificate does not."""

    SEARCH = 0
    CERTIFY = 1
    HEADROOM = 2
    AGREEMENT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """The seed of a command, narrowed to one stage and one replication."""

    value: int
    stage: Stage = Stage.CERTIFY
    replication: int = 0

    def generator(self, purpose: Purpose) -> np.random.Generator:
        """The stream for one purpose, independent of all others."""
        key = (self.stage, self.replication, purpose)
        return np.random.default_rng(np.random.SeedSequence(self.value, spawn_key=key))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """The input of one run: what a simulation of the same requests by another engine starts from.

    Random numbers belong to requests, not to replicas or batches, so that every plan and every
    rate sees the same users (common random numbers) and either engine the same draws.

    Attributes:
        arrived_s: rising instants, shape `(requests,)`. [s]
        service: uniforms in [0, 1), shape `(requests,)`; a batch uses that of its oldest request.
        routing: uniforms in [0, 1), shape `(2 * requests,)`; two for each request.
    """

    arrived_s: Floats
    service: Floats
    routing: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClosedDraws:
    """The input of one run of a closed population, whose requests arrive when their users have thought.

    Attributes:
        users: how many.
        think_s: time that a user thinks after a request, by request in order of arrival, shape
            `(requests,)`. [s]
        service, routing: as in `Draws`.
    """

    users: int
    think_s: Floats
    service: Floats
    routing: Floats


def draw(workload: Workload, requests: int, seed: Seed) -> Draws:
    """Draws for the first `requests` requests of a workload; a trace has as many as it has."""
    arrived_s = arrival_instants_s(workload, requests, seed.generator(Purpose.ARRIVALS))
    return Draws(
        arrived_s=arrived_s,
        service=seed.generator(Purpose.SERVICE).random(len(arrived_s)),
        routing=seed.generator(Purpose.ROUTING).random(2 * len(arrived_s)),
    )


def draw_closed(population: ClosedPopulation, requests: int, seed: Seed) -> ClosedDraws:
    """Draws for the first `requests` requests of a closed population."""
    thoughts = seed.generator(Purpose.THINK).standard_exponential(requests)
    return ClosedDraws(
        users=population.users,
        think_s=population.think_time_s * thoughts,
        service=seed.generator(Purpose.SERVICE).random(requests),
        routing=seed.generator(Purpose.ROUTING).random(2 * requests),
    )


def arrival_instants_s(workload: Workload, requests: int, generator: np.random.Generator) -> Floats:
    """Instants of arrival, shape `(requests,)`; gaps of rate 1 are drawn and then scaled to the rate. [s]

    Raises:
        InputError: the rate and the length of the run overflow.
    """
    unit_instants = _unit_rate_instants(workload, requests, generator)
    instants_s = unit_instants / workload.arrival_rate_rps
    if not np.isfinite(instants_s[-1]):
        raise InputError(f"a run of {requests} requests at {workload.arrival_rate_rps:g} rps lasts too long")
    return instants_s


def _unit_rate_instants(workload: Workload, requests: int, generator: np.random.Generator) -> Floats:
    match workload.arrivals:
        case PoissonArrivals():
            return np.cumsum(generator.standard_exponential(requests))
        case DeterministicArrivals():
            return np.arange(1.0, requests + 1.0)
        case GammaArrivals(cv=cv):
            shape = 1.0 / cv**2
            return np.cumsum(generator.standard_gamma(shape, requests) / shape)
        case TraceArrivals(instants_s=instants_s) as trace:
            return (np.asarray(instants_s) - instants_s[0]) * trace.rate_rps
