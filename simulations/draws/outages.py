"""Outages: the random numbers of a stress, the same users for every fleet, client and setting."""

from dataclasses import replace

import numpy as np

from capacity.errors import DomainError, InputError
from capacity.question.plan import Routing
from capacity.recovery.absence import in_order, with_breakdowns
from capacity.recovery.faults import Fault
from capacity.recovery.stress import Stress
from capacity.traffic.clients import Clients
from capacity.traffic.workload import TraceArrivals
from simulations.draws.arrivals import Purpose, Seed, Stream
from simulations.draws.attempts import AttemptDraws, takes_chances
from simulations.draws.records import Floats

REQUESTS_MAX = 20_000_000
_BLOCK = 65_536
_NOTHING = np.zeros((0, 0))


def attempt_draws(clients: Clients, routing: Routing, seed: Seed, arrived_s: Floats) -> AttemptDraws:
    """Random numbers of the first requests of a run, all of them or some; those of their service are apart.

    Args:
        arrived_s: instants of these requests, shape `(requests,)`. [s]
    """
    attempts, count = clients.attempts, len(arrived_s)
    routes = takes_chances(routing)
    waits = clients.backoff is not None
    return AttemptDraws(
        arrived_s=arrived_s,
        service=_NOTHING,
        routing=_rows(seed, Purpose.ROUTING, attempts, 2 * count).reshape(attempts, count, 2)
        if routes
        else np.zeros((0, 0, 2)),
        backoff=_rows(seed, Purpose.BACKOFF, attempts, count) if waits else _NOTHING,
    )


def service_draws(seed: Seed, attempts: int, count: int) -> Floats:
    """Uniforms of the batches of the first requests of a run, shape `(attempts, requests)`."""
    return _rows(seed, Purpose.SERVICE, attempts, count)


def _rows(seed: Seed, purpose: Purpose, attempts: int, count: int) -> Floats:
    """Each attempt has a stream of its own, so that more of them change nothing else."""
    rows = np.empty((attempts, count))
    for number in range(attempts):
        seed.generator(purpose, number).random(out=rows[number])
    return rows


def first_tries_s(stress: Stress, seed: Seed, until_s: float, requests_each: float = 1.0) -> Floats:
    """Instants of first tries, or of sessions, closer together in a spike, by the same users in the same order. [s]

    Args:
        requests_each: how many requests each of them stands for on average.

    Returns:
        Seconds, shape `(arrivals,)`.

    Raises:
        InputError: a trace, which has no further traffic; or more requests than a run may have.
    """
    if isinstance(stress.workload.arrivals, TraceArrivals):
        raise InputError(
            "a trace ends when its requests do; give a rate, and --arrivals gamma or mmpp for bursts"
        )
    extra_s = (stress.spike_factor - 1.0) * stress.lasts_s
    requests = stress.rate_rps * (until_s + extra_s)
    if requests > REQUESTS_MAX:
        raise DomainError(
            f"a run of {until_s:g} s has {requests:.3g} requests, and at most {REQUESTS_MAX:.3g} are simulated; "
            "shorten --horizon, or ask for a part of the fleet at its part of the rate"
        )
    rate_rps = stress.rate_rps / requests_each
    stream = Stream(replace(stress.workload, arrival_rate_rps=rate_rps), REQUESTS_MAX, seed)
    blocks: list[Floats] = []
    while not blocks or blocks[-1][-1] < until_s + extra_s:
        blocks.append(stream.arrived_s(_BLOCK))
    instants_s = np.concatenate(blocks)
    begins_s, lasts_s, factor = stress.begins_s, stress.lasts_s, stress.spike_factor
    first, last = np.searchsorted(instants_s, [begins_s, begins_s + factor * lasts_s + 1.0])
    within_s = begins_s + (instants_s[first:last] - begins_s) / factor
    instants_s[first:] -= extra_s
    np.maximum(np.minimum(within_s, begins_s + lasts_s), instants_s[first:last], out=instants_s[first:last])
    return instants_s[: np.searchsorted(instants_s, until_s)]


def faults_of(stress: Stress, seed: Seed) -> tuple[Fault, ...]:
    """Faults of each replica, and when; each breaks down by itself, whatever the fleet."""
    generator, replicas = seed.generator(Purpose.FAULTS), stress.plan.replicas
    away = stress.trigger.absences(
        replicas, begins_s=stress.begins_s, detection_s=stress.detection_s, startup_s=stress.startup_s
    )
    if stress.breakdowns is not None:
        away = with_breakdowns(
            away,
            stress.breakdowns,
            replicas=replicas,
            detection_s=stress.detection_s,
            until_s=stress.comes_until_s,
            uniforms=lambda replica: seed.generator(Purpose.FAULTS, replica).random,
        )
    slowdowns = stress.trigger.slowdowns(
        replicas, begins_s=stress.begins_s, exponential=lambda: float(generator.standard_exponential())
    )
    return in_order(away, slowdowns)


def inside(clients: Clients, overhead_s: float) -> Clients:
    """The clients' time limits, less the overhead outside the server.

    Raises:
        DomainError: nothing is left.
    """
    return replace(
        clients,
        timeout_s=_inside(clients.timeout_s, overhead_s, "timeout"),
        deadline_s=_inside(clients.deadline_s, overhead_s, "deadline"),
    )


def _inside(limit_s: float | None, overhead_s: float, name: str) -> float | None:
    if limit_s is None:
        return None
    if limit_s <= overhead_s:
        raise DomainError(
            f"a {name} of {limit_s:g} s is no longer than the request overhead, {overhead_s:g} s"
        )
    return limit_s - overhead_s
