"""The batching simulator against a closed form: M/M^[1,B]/c, exponential service whatever the batch size.

A queue behind busy servers is geometric with the root r of cμ(r + ... + r^B) = λ, and from there on the law is
that of M/M/c with θ = cμ(1 - r^B) for the rate at which a wait ends.
"""

import math

import pytest
from scipy.optimize import brentq

from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.service import ExponentialTimes
from simulations.replication import Task, replicate
from simulations.statistics.pool import Pool
from simulations.statistics.relaxation import RELAXATIONS, relaxation_requests
from simulations.statistics.sample import Length


class BulkLaw:
    """M/M^[1,B]/c at service rate 1."""

    def __init__(self, rate: float, batch: int, servers: int) -> None:
        r = brentq(lambda x: servers * sum(x**k for k in range(1, batch + 1)) - rate, 0.0, 1.0, xtol=1e-15)
        terms = [rate**k / math.factorial(k) for k in range(servers + 1)]
        full = terms[servers] / (1.0 - r)
        self.wait_probability = full / (sum(terms[:servers]) + full)
        self.theta = servers * (1.0 - r**batch)

    @property
    def response_mean(self) -> float:
        return 1.0 + self.wait_probability / self.theta

    def response_tail(self, t: float) -> float:
        c, theta = self.wait_probability, self.theta
        return (1.0 - c) * math.exp(-t) + c * (theta * math.exp(-t) - math.exp(-theta * t)) / (theta - 1.0)

    def response_quantile(self, q: float) -> float:
        return brentq(lambda t: self.response_tail(t) - (1.0 - q), 0.0, 1e4, xtol=1e-12)


@pytest.mark.parametrize(("batch", "servers", "load"), [(4, 1, 0.7), (32, 1, 0.6), (8, 3, 0.7)])
def test_simulated_batches_follow_the_closed_form(batch, servers, load):
    """Within 4 standard errors, each at most 2 % of the exact value, at the run lengths the product uses."""
    rate = load * batch * servers
    law = BulkLaw(rate, batch, servers)
    relaxation = relaxation_requests(load, 1, rate, variability=1.0 + batch)
    warm_up = math.ceil(RELAXATIONS * relaxation)
    plan = BatchPlan(profile="x", replicas=servers, batch_size_max=batch, routing=Routing.SHARED_QUEUE)
    samples = [
        replicate(
            Task(
                plan=plan,
                workload=Workload(arrival_rate_rps=rate),
                service_times=ExponentialTimes(1.0),
                request_overhead_s=0.0,
                length=Length(warm_up=warm_up, measured=max(8 * warm_up, 60_000), cool_down=2 * batch),
                seed=Seed(value=5, stage=Stage.AGREEMENT, replication=number),
            )
        )
        for number in range(60)
    ]
    pool = Pool.of(samples)
    assert pool.is_level
    mean = pool.ratio(lambda sample: sample.responses.total_s, lambda sample: sample.counted)
    for exact, found in (
        (law.response_mean, mean),
        (law.response_quantile(0.5), pool.response_quantile(0.5)),
        (law.response_quantile(0.99), pool.response_quantile(0.99)),
    ):
        assert found.standard_error <= 0.02 * exact
        assert abs(found.value - exact) <= 4.0 * found.standard_error


def test_the_closed_form_is_m_m_c_without_batches():
    from capacity.queues.markov.mmc import MMc

    theory = MMc(arrival_rate_rps=2.4, service_rate_rps=1.0, servers=3)
    law = BulkLaw(2.4, 1, 3)
    assert law.wait_probability == pytest.approx(theory.wait_probability, rel=1e-12)
    assert law.response_quantile(0.99) == pytest.approx(theory.response_quantile_s(0.99), rel=1e-9)
