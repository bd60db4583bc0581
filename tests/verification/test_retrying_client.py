"""Clients of `benchmarks/retrying_client.py`: in virtual time they do what the simulator's do."""

import asyncio

import numpy as np
import pytest
from retrying_client import RetryingClients, failure
from virtual_time import VirtualClock, run

from capacity.errors import DomainError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import Routing
from capacity.recovery.protection import Protection
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Backoff, BudgetKind, Clients, Failure, RetryBudget
from capacity.verification.run import NOT_CONNECTED, TIMED_OUT, LoadRun, Schedule
from capacity.verification.send import Balancer, Sent, send_all
from simulations.draws.attempts import AttemptDraws, BatchFleet
from simulations.draws.service import ProfileTimes
from simulations.kernel.recovery.run import run as simulated

SERVICE_S, TIMEOUT_S = 0.01, 0.1037  # no multiple, so that nothing happens at one instant


class Server:
    """One at a time, first in, first out, abandoned or not, each for the same time; a full queue rejects."""

    def __init__(self, queue_limit):
        self.queue_limit, self.free_s = queue_limit, 0.0

    async def __call__(self, replica, tokens=None):
        now_s = asyncio.get_running_loop().time()
        waiting = (
            np.ceil(max(0.0, self.free_s - now_s) / SERVICE_S - 1e-6) - 1.0
        )  # but for the one in service
        if self.queue_limit is not None and waiting >= self.queue_limit:
            return Sent(503)
        self.free_s = max(now_s, self.free_s) + SERVICE_S
        await asyncio.sleep(self.free_s - now_s)
        return Sent(200)


PROFILE = ServiceProfile(name="fixed", timings=(BatchTiming(batch_size=1, mean_s=SERVICE_S),))
BUDGETS = {
    "none": RetryBudget(),
    "first tries": RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.1, tokens=20.0),
    "successes": RetryBudget(kind=BudgetKind.SUCCESSES, ratio=0.3, cost=2.0, tokens=10.0),
}


def arrivals():
    """Above what is served for two seconds, and then below."""
    gaps_s = np.concatenate([np.full(300, 1.0 / 150.0), np.full(400, 1.0 / 60.0)])
    return np.cumsum(np.random.default_rng(3).exponential(gaps_s))


@pytest.mark.parametrize("queue_limit", [None, 6])
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_they_do_what_the_simulated_ones_do(budget, queue_limit):
    arrived_s = arrivals()
    clients = Clients(timeout_s=TIMEOUT_S, attempts=3, budget=budget)
    count = len(arrived_s)
    draws = AttemptDraws(
        arrived_s=arrived_s,
        service=np.zeros((3, count)),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )
    plan = BatchPlan(
        profile="fixed", replicas=1, batch_size_max=1, batch_wait_max_s=0.0, queue_limit=queue_limit
    )
    fleet = BatchFleet(plan=plan, service_times=ProfileTimes(PROFILE))
    wanted = simulated(fleet, draws, clients, Protection(), ())

    found = LoadRun.blank(Schedule(instants_s=arrived_s, duration_s=float(arrived_s[-1])))
    sender = RetryingClients(send=Server(queue_limit), clients=clients, clock=VirtualClock())
    balancer = Balancer(Routing.ROUND_ROBIN, 1, np.random.default_rng(0))
    run(send_all(found, sender, balancer, VirtualClock(), 900))
    began_s = sender.sent_s[0] - found.sent_s[0]
    assert np.array_equal(found.outcomes == 200, ~np.isnan(wanted.answered_s))
    assert found.ended_s == pytest.approx(wanted.ended_s, abs=1e-6)
    assert sum(sender.tries) == len(sender.sent_s) == wanted.attempts.sum() > count
    seconds = np.floor(np.array(sender.sent_s) - began_s).astype(int)
    assert np.bincount(seconds).tolist() == wanted.sent.tolist()


def test_how_an_attempt_failed():
    outcomes = (503, 504, 429, TIMED_OUT, 500, NOT_CONNECTED)
    assert [failure(Sent(outcome)) for outcome in outcomes] == (
        [Failure.REJECTED] * 3 + [Failure.TIMED_OUT] + [Failure.CRASHED] * 2
    )


def test_a_failure_that_is_not_retried_ends_it():
    async def refused(replica, tokens=None):
        return Sent(503)

    clients = Clients(timeout_s=1.0, attempts=3, retried=frozenset({Failure.TIMED_OUT}))
    sender = RetryingClients(send=refused, clients=clients, clock=VirtualClock())
    assert (run(sender(0, None)).outcome, sender.tries) == (503, [1])


@pytest.mark.parametrize(
    "other",
    [
        {"backoff": Backoff(initial_s=0.1, max_s=1.0)},
        {"deadline_s": 1.0},
        {"hedge_s": 0.1},
        {"budget": RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.2)},
        {"budget": RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens_per_s=10.0)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_they_cannot_do_is_refused(other):
    with pytest.raises(DomainError, match="only timeouts, attempts and plain budgets"):
        RetryingClients(send=Server(None), clients=Clients(attempts=2, **other), clock=VirtualClock())
