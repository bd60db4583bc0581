"""Outages: the random numbers of a stress, the same users whatever the fleet, its clients and its settings."""

import numpy as np

from capacity.errors import DomainError, InputError
from capacity.recovery.absence import in_order, with_breakdowns
from capacity.recovery.faults import Fault
from capacity.recovery.stress import Stress
from capacity.traffic.workload import TraceArrivals
from simulations.draws.arrivals import Purpose, Seed, Stream
from simulations.draws.attempts import AttemptDraws
from simulations.draws.records import Floats

REQUESTS_MAX = 20_000_000
_BLOCK = 65_536
_NOTHING = np.zeros((0, 0))


def attempt_draws(stress: Stress, seed: Seed, attempts: int, until_s: float) -> AttemptDraws:
    """Everything random of one run up to an instant.

    Args:
        attempts: rows of draws; each has its own stream, so that more of them change nothing else.

    Raises:
        InputError: a trace, which has no traffic to go on with; or more requests than a run may have.
    """
    arrived_s = _arrived_s(stress, seed, until_s)
    count = len(arrived_s)
    routes = stress.plan.routing.value in ("random", "power-of-two")
    waits = stress.clients.backoff is not None
    return AttemptDraws(
        arrived_s=arrived_s,
        service=_rows(seed, Purpose.SERVICE, attempts, count),
        routing=_rows(seed, Purpose.ROUTING, attempts, 2 * count).reshape(attempts, count, 2)
        if routes
        else np.zeros((0, 0, 2)),
        backoff=_rows(seed, Purpose.BACKOFF, attempts, count) if waits else _NOTHING,
    )


def _rows(seed: Seed, purpose: Purpose, attempts: int, count: int) -> Floats:
    rows = np.empty((attempts, count))
    for number in range(attempts):
        seed.generator(purpose, number).random(out=rows[number])
    return rows


def _arrived_s(stress: Stress, seed: Seed, until_s: float) -> Floats:
    """First tries; in a spike they come closer together, by the same users in the same order. [s]"""
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
    stream = Stream(stress.workload, REQUESTS_MAX, seed)
    blocks: list[Floats] = []
    while not blocks or blocks[-1][-1] < until_s + extra_s:
        blocks.append(stream.arrived_s(_BLOCK))
    instants_s = np.concatenate(blocks)
    begins_s, lasts_s, factor = stress.begins_s, stress.lasts_s, stress.spike_factor
    within_s = begins_s + (instants_s - begins_s) / factor
    after_s = instants_s - extra_s
    moved_s = np.where(
        instants_s < begins_s, instants_s, np.maximum(np.minimum(within_s, begins_s + lasts_s), after_s)
    )
    return moved_s[moved_s < until_s]


def faults_of(stress: Stress, seed: Seed) -> tuple[Fault, ...]:
    """What happens to which replica, and when; each breaks down by itself, whatever the fleet."""
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
            until_s=stress.until_s,
            uniforms=lambda replica: seed.generator(Purpose.FAULTS, replica).random,
        )
    slowdowns = stress.trigger.slowdowns(
        replicas,
        begins_s=stress.begins_s,
        exponential=lambda: float(generator.standard_exponential()),
    )
    return in_order(away, slowdowns)
