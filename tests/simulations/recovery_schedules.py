"""Schedules of the recovery model: small runs in which many things happen at one instant."""

from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from cases import WAKES, GridTimes
from hypothesis import strategies as st

from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.recovery.faults import Action, ColdCache, Fault
from capacity.recovery.protection import Abandoned, Ejecting, Protection, Shedding, lacks_weights
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import ALL_FAILURES, Backoff, BudgetKind, Clients, Failure, RetryBudget
from simulations.draws.attempts import AttemptDraws, BatchFleet, Fleet, Outcomes
from simulations.draws.service import ALONE


class Case(NamedTuple):
    """What the recovery model is given, whatever its servers are."""

    fleet: Fleet
    draws: AttemptDraws
    clients: Clients
    protection: Protection
    faults: list[Fault]


# Of replicas that have a device each, or share one.
SLOWDOWNS = st.sampled_from([ALONE, ALONE, (1.0, 2.0), (1.0, 1.5), (1.0, 1.0, 2.0), (1.0, 1.3, 1.3, 4.0)])
# Steps between instants: exact, rounded, and so long that ejected replicas come back within the run.
STEPS_S = st.sampled_from([0.25, 0.25, 0.1, 2.5])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Every instant on one grid, but for some backoffs; each feature in a good part of the cases."""
    step_s = draw(STEPS_S)
    clients = draw(clients_on(step_s))
    replicas = draw(st.integers(1, 4))
    draws = draw(draws_on(step_s, clients.attempts))
    last = round(float(draws.arrived_s[-1]) / step_s)
    cold = st.builds(ColdCache, batches=st.integers(1, 4), factor=st.sampled_from([1.5, 2.0, 3.0]))
    protection = draw(protections_on(step_s))
    fleet = BatchFleet(
        plan=draw(plans_on(step_s, replicas)),
        service_times=GridTimes(
            step_s, draw(st.lists(st.integers(0, 6), min_size=1, max_size=3)), draw(WAKES)
        ),
        cold=draw(st.none() | cold),
        slowdowns=draw(SLOWDOWNS),
    )
    if fleet.plan.batching is Batching.RAY_SERVE and protection.shedding is Shedding.LIFO:
        protection = replace(protection, shedding=Shedding.LATE)
    return Case(
        fleet,
        draws,
        clients,
        possible(protection, fleet.routing),
        draw(faults_on(step_s, last + 8, replicas)),
    )


@st.composite
def plans_on(draw: st.DrawFn, step_s: float, replicas: int) -> BatchPlan:
    size_max = draw(st.sampled_from([1, 1, 2, 3, 4]))
    batching = draw(st.sampled_from([Batching.TRITON, Batching.TRITON, *Batching]))
    sizes = st.sets(st.integers(1, size_max), max_size=2) if batching is Batching.TRITON else st.just(set())
    routings = [
        one for one in PLAIN_ROUTINGS if (batching, one) != (Batching.RAY_SERVE, Routing.SHARED_QUEUE)
    ]
    return BatchPlan(
        profile="made-up",
        replicas=replicas,
        batch_size_max=size_max,
        batch_wait_max_s=step_s * draw(st.sampled_from([0, 0, 1, 2, 5])),
        routing=draw(st.sampled_from(routings)),
        batching=batching,
        preferred_sizes=tuple(sorted(draw(sizes))),
        queue_limit=draw(st.sampled_from([None, None, 0, 1, 3])),
    )


@st.composite
def draws_on(draw: st.DrawFn, step_s: float, attempts: int) -> AttemptDraws:
    """A crowd or a trickle; uniforms of the backoff on a grid or not."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    often = draw(st.sampled_from([[0, 1], [0, 0, 1], [0, 0, 0, 1], [0, 1, 2], [1, 3]]))
    gaps = generator.choice(often, draw(st.sampled_from([1, 3, 10, 20, 40, 60])))
    shape = (attempts, len(gaps))
    backoff = draw(st.sampled_from([generator.random(shape), generator.integers(0, 4, shape) / 4.0]))
    return AttemptDraws(
        arrived_s=np.cumsum(gaps) * step_s,
        service=generator.random(shape),
        routing=generator.random((*shape, 2)),
        backoff=backoff,
        scale=draw(st.sampled_from([None, generator.choice([1.0, 2.0, 0.5], len(gaps))])),
    )


@st.composite
def clients_on(draw: st.DrawFn, step_s: float) -> Clients:
    attempts = draw(st.sampled_from([1, 2, 3, 3, 4, 6]))
    hedges = attempts > 1 and draw(st.booleans())
    timeouts = st.sampled_from([None, None, 1, 2, 3, 5, 8])
    timeout, deadline = draw(timeouts), draw(st.sampled_from([None, None, None, 4, 6, 10]))
    return Clients(
        timeout_s=None if timeout is None else timeout * step_s,
        deadline_s=None if deadline is None else deadline * step_s,
        attempts=attempts,
        backoff=None if hedges else draw(st.none() | backoffs_on(step_s)),
        budget=draw(budgets_on(step_s)),
        retried=draw(st.sampled_from([ALL_FAILURES, ALL_FAILURES, frozenset({draw(failures)})])),
        hedge_s=step_s * draw(st.integers(0, 4)) if hedges else None,
    )


failures = st.sampled_from(list(Failure))


def backoffs_on(step_s: float) -> st.SearchStrategy[Backoff]:
    return st.builds(
        lambda first, more, multiplier: Backoff(
            initial_s=first * step_s, max_s=(first + more) * step_s, multiplier=multiplier
        ),
        st.sampled_from([1, 2, 4]),
        st.integers(0, 8),
        st.sampled_from([1.0, 1.6, 2.0]),
    )


def budgets_on(step_s: float) -> st.SearchStrategy[RetryBudget]:
    return st.builds(
        RetryBudget,
        kind=st.sampled_from([BudgetKind.NONE, *BudgetKind]),
        ratio=st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]),
        cost=st.sampled_from([1.0, 1.0, 0.7, 3.0]),
        tokens=st.sampled_from([0.0, 1.0, 2.5, 4.0, 10.0]),
        tokens_per_s=st.sampled_from([0.0, 0.0, 0.1 / step_s, 0.5 / step_s]),
        at_least=st.integers(0, 3),
    )


def protections_on(step_s: float) -> st.SearchStrategy[Protection]:
    return st.builds(
        lambda shedding, margin, target, interval, abandoned, ejection, slow_start_s: Protection(
            shedding=shedding,
            late_margin_s=margin * step_s,
            codel_target_s=target * step_s,
            codel_interval_s=interval * step_s,
            abandoned=abandoned,
            ejection=ejection,
            slow_start_s=slow_start_s,
        ),
        st.sampled_from([one for one in Shedding if one is not Shedding.NEW]),  # which takes sessions
        st.integers(0, 3),
        st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        st.integers(0, 6),
        st.sampled_from(list(Abandoned)),
        st.sampled_from(list(Ejecting)),
        st.sampled_from([0, 0, 1, 2, 7, 30]),
    )


def possible(protection: Protection, routing: Routing) -> Protection:
    """The protection, without a slow start where the routing knows no weights, or the balancer is nginx."""
    has_weights = lacks_weights(routing) is None and protection.ejection is not Ejecting.NGINX
    return protection if has_weights else replace(protection, slow_start_s=0)


# What becomes of a replica, one after another; the rest is drawn.
INCIDENTS = [
    [Action.LEAVE, Action.JOIN],
    [Action.LEAVE, Action.CRASH, Action.RESTART],
    [Action.CRASH],
    [Action.CRASH, Action.HIDE, Action.JOIN],
    [Action.CRASH, Action.RESTART],
    [Action.HANG],
    [Action.HANG, Action.LEAVE],
    [Action.HANG, Action.HIDE, Action.RESTART],
    [Action.PAUSE, Action.RESUME],
    [Action.SLOW, Action.SLOW],
    [Action.HIDE, Action.JOIN],
    [Action.AWAY, Action.JOIN],
    [Action.AWAY],
]


@st.composite
def faults_on(draw: st.DrawFn, step_s: float, last: int, replicas: int) -> list[Fault]:
    """Incidents as they happen, and anything at any time, also what makes no sense."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = [
        INCIDENTS[one]
        for one in generator.integers(0, len(INCIDENTS), draw(st.sampled_from([0, 1, 1, 2, 3])))
    ]
    rows += [[Action(one)] for one in generator.integers(0, len(Action), draw(st.sampled_from([0, 0, 2, 6])))]
    faults = []
    for actions in rows:
        replica = int(generator.integers(0, replicas))
        instants = np.cumsum([generator.integers(0, last), *generator.integers(0, 6, len(actions) - 1)])
        for action, instant, times in zip(
            actions, instants, generator.integers(1, 5, len(actions)), strict=True
        ):
            value = value_of(action, int(times), step_s)
            faults.append(
                Fault(instant_s=float(instant) * step_s, replica=replica, action=action, value=value)
            )
    return sorted(faults, key=lambda fault: fault.instant_s)


def value_of(action: Action, times: int, step_s: float) -> float:
    """Half to twice as slow, or a pause of some steps."""
    return {Action.SLOW: 0.5 * times, Action.PAUSE: step_s * times}.get(action, 0.0)


def assert_alike(found: Outcomes, expected: Outcomes, *, has_faults: bool) -> None:
    """The same outcomes, byte by byte; what counts over time is not on record of passes that are lost."""
    for name in (one.name for one in fields(expected) if one.name != "tokens"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.tokens is None) == (expected.tokens is None)
    if found.tokens is None or expected.tokens is None:
        return
    for name in (one.name for one in fields(found.tokens) if not has_faults or one.name in _OF_REQUESTS):
        here, there = getattr(found.tokens, name), getattr(expected.tokens, name)
        np.testing.assert_array_equal(here, there, err_msg=name)


_OF_REQUESTS = ("arrived_s", "first_s", "finished_s", "preemptions", "replica", "gap_counts")
