"""Fluid: the fluid law, which says from arrival rate and capacity whether a fleet can get stuck.

A queue that holds more than a timeout's worth of work serves attempts whose clients have left and retry: the fleet is
busy, and no client gets an answer. `docs/background/theory.md` derives it.
"""

import math
from dataclasses import dataclass

from capacity.question.plan import Routing
from capacity.recovery.protection import Abandoned, Shedding
from capacity.recovery.stress import Stress
from capacity.recovery.trigger import TriggerKind
from capacity.traffic.clients import BudgetKind, Clients, Failure

# The balancer knows of these at once, or they affect all replicas alike.
_KNOWN_AT_ONCE = (TriggerKind.SPIKE, TriggerKind.LOSE, TriggerKind.SPOT, TriggerKind.ROLLOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluid:
    """Results of the fluid law.

    Attributes:
        stuck: whether it never recovers; None if the law does not describe the protection.
        amplification: attempts per request when all of them fail.
        critical_budget: smallest budget, in retries per first try, that keeps a fleet down, 1/load - 1.
        recovery_s: time from the trigger's end; None if stuck or not described. [s]
        backlog: attempts waiting when the trigger ends; None if not described.
    """

    stuck: bool | None
    amplification: float
    critical_budget: float
    recovery_s: float | None
    backlog: float | None


def amplification(clients: Clients, rate_rps: float) -> float:
    """Attempts per request when all of them time out, in the long run.

    Args:
        rate_rps: rate of first tries, which share the tokens that a budget gains with time. [requests/s]

    >>> amplification(Clients(timeout_s=0.5, attempts=3), 280.0)
    3.0
    """
    most, budget = _attempts_that_fit(clients), clients.budget
    if budget.kind is BudgetKind.FIRST_TRIES:
        return min(most, 1.0 + (budget.ratio + budget.tokens_per_s / rate_rps) / max(budget.cost, 1e-12))
    if budget.kind is BudgetKind.CONCURRENT:
        return min(most, 1.0 / (1.0 - budget.ratio) if budget.ratio < 1.0 else math.inf)
    if budget.kind in (BudgetKind.SUCCESSES, BudgetKind.THROTTLE):
        return 1.0  # no success, no retry
    return most


def _attempts_that_fit(clients: Clients) -> float:
    """Attempts of a request before its deadline if none is answered."""
    hedges = clients.hedge_s is not None
    if not hedges and (Failure.TIMED_OUT not in clients.retried or clients.timeout_s is None):
        return 1.0
    every_s = clients.hedge_s if hedges else clients.timeout_s
    if clients.deadline_s is None or not every_s:
        return float(clients.attempts)
    return float(min(clients.attempts, math.ceil(clients.deadline_s / every_s)))


def stuck_from(clients: Clients, *, rate_rps: float, capacity_rps: float) -> float:
    """Attempts waiting from which on retries or hedges alone keep a fleet down; infinite if they cannot.

    Every queue serves attempts in order, of those too that no client waits for any more.

    Args:
        rate_rps: rate of first tries. [requests/s]
        capacity_rps: attempts that the fleet serves if some always wait. [requests/s]

    >>> stuck_from(Clients(timeout_s=0.5, attempts=3), rate_rps=280.0, capacity_rps=400.0)
    200.0
    >>> stuck_from(Clients(timeout_s=0.5, attempts=3), rate_rps=130.0, capacity_rps=400.0)
    inf
    """
    wait_s = clients.hedge_s if clients.hedge_s is not None else patience_s(clients)
    if wait_s is None or amplification(clients, rate_rps) * rate_rps < capacity_rps:
        return math.inf
    return wait_s * capacity_rps


def fluid(stress: Stress) -> Fluid:
    """Results for a fleet whose queue is first in, first out, and serves every attempt."""
    tries = amplification(stress.clients, stress.rate_rps)
    critical = 1.0 / stress.load - 1.0
    timeout_s = _useful_wait_s(stress)
    if not is_described(stress) or timeout_s is None:
        return Fluid(stuck=None, amplification=tries, critical_budget=critical, recovery_s=None, backlog=None)
    capacity_rps, rate_rps = stress.capacity_rps, stress.rate_rps
    left_rps = capacity_rps * stress.trigger.left(stress.plan.replicas)
    backlog = _backlog(rate_rps * stress.spike_factor, left_rps, tries, timeout_s, stress.lasts_s)
    useful = timeout_s * capacity_rps  # a longer queue answers no request in time
    overloads = backlog > timeout_s * left_rps
    spare_rps = capacity_rps - tries * rate_rps
    stuck = overloads and backlog > useful and spare_rps <= 0.0
    back_s = max(0.0, backlog - useful) / spare_rps if spare_rps > 0.0 else 0.0
    return Fluid(
        stuck=stuck,
        amplification=tries,
        critical_budget=critical,
        recovery_s=None if stuck else back_s,
        backlog=backlog,
    )


def patience_s(clients: Clients) -> float | None:
    """Longest time that a client waits for one reply; None if it is unlimited. [s]"""
    given = [one for one in (clients.timeout_s, clients.deadline_s) if one is not None]
    return min(given, default=None)


def _useful_wait_s(stress: Stress) -> float | None:
    """Longest wait of an attempt that is still answered in time; None if it is unlimited, or none is. [s]"""
    wait_s = patience_s(stress.clients)
    return None if wait_s is None or wait_s <= stress.served_s else wait_s - stress.served_s


def is_described(stress: Stress) -> bool:
    """Whether the law holds: every attempt is served, in order, and as fast as before by replicas that are back."""
    return is_in_order(stress) and stress.cold is None and not stress.protection.slow_start_s


def is_in_order(stress: Stress) -> bool:
    """Whether every attempt is served, in order."""
    protection = stress.protection
    return (
        protection.shedding is Shedding.NONE
        and protection.abandoned is Abandoned.SERVED
        and stress.limit is None
        and not protection.ejects
        and stress.clients.hedge_s is None
        and is_even(stress)
    )


def is_even(stress: Stress) -> bool:
    """Whether the remaining capacity is above 0 and is shared by all requests alike.

    Behind a balancer without health checks, the queue of a slow, dead or pausing replica grows by itself.
    """
    replicas = stress.plan.replicas
    if stress.trigger.left(replicas) <= 0.0 or stress.breakdowns is not None:
        return False
    return stress.trigger.kind in _KNOWN_AT_ONCE or stress.plan.routing is Routing.SHARED_QUEUE


def _backlog(rate_rps: float, left_rps: float, tries: float, timeout_s: float, lasts_s: float) -> float:
    """Attempts waiting at the trigger's end: retries begin once the queue holds a timeout's worth of work."""
    if rate_rps <= left_rps:
        return 0.0
    filled_s = timeout_s * left_rps / (rate_rps - left_rps)
    if filled_s >= lasts_s:
        return (rate_rps - left_rps) * lasts_s
    return timeout_s * left_rps + max(0.0, tries * rate_rps - left_rps) * (lasts_s - filled_s)


def spike_survived_s(stress: Stress, factor: float) -> float:
    """Longest spike that an unprotected fleet survives, timeout/(factor * load - 1). [s]

    >>> round(0.5 / (2.0 * 0.7 - 1.0), 6)
    1.25
    """
    timeout_s = _useful_wait_s(stress)
    excess = factor * stress.load - 1.0
    return math.inf if timeout_s is None or excess <= 0.0 else timeout_s / excess
