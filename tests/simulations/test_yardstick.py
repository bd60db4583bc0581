"""The C loops of the benchmarks: request by request what the SimPy model gives, and in the long run theory."""

import itertools
import math

import numpy as np
import pytest
import systems
import yardstick

from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.queues.markov.mmc import MMc
from capacity.queues.shortest_queue import ShortestQueue
from capacity.server.batch.plan import BatchPlan
from simulations.draws.arrivals import Draws
from simulations.draws.service import ExponentialTimes
from simulations.reference.cluster import run
from simulations.validation.systems import TableTimes

loops = yardstick.yardstick()
pytestmark = pytest.mark.skipif(loops is None, reason="no C compiler")
WORD = 2**64 - 1
TIMES_S = tuple(1e-3 * (2.0 + 0.5 * size) for size in range(1, 17))


def xoshiro(state):
    """xoshiro256+ of Blackman & Vigna (2021), in Python's whole numbers."""
    s = list(state)
    while True:
        yield (s[0] + s[3]) & WORD
        shifted = s[1] << 17 & WORD
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = (s[3] << 45 | s[3] >> 19) & WORD


def splitmix(seed):
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & WORD
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & WORD
        z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
        yield z ^ z >> 31


def generator(seed):
    return xoshiro(itertools.islice(splitmix(seed), 4))


def uniform(bits):
    """In (0, 1], as the C loops have it."""
    return ((bits >> 11) + 1) / 2**53


def draws(seed, requests, rate_rps, *, served=True, routed=False):
    """What a C loop draws, as the SimPy model takes it."""
    bits = generator(seed)
    gaps, service, routing = [], [0.0] * requests, [0.0] * (2 * requests)
    for i in range(requests):
        gaps.append(-math.log(uniform(next(bits))) / rate_rps)
        if routed:
            word = next(bits)
            routing[2 * i : 2 * i + 2] = (word >> 32) / 2**32, (word & 0xFFFFFFFF) / 2**32
        if served:
            service[i] = 1.0 - uniform(next(bits))
    return Draws(arrived_s=np.cumsum(gaps), service=np.array(service), routing=np.array(routing))


def test_generators_give_the_published_numbers():
    # xoshiro256+ from the state 1, 2, 3, 4; splitmix64 from 1234567
    assert list(itertools.islice(xoshiro((1, 2, 3, 4)), 4)) == [
        5, 211106232532999, 211106635186183, 9223759065350669058,
    ]  # fmt: skip
    assert list(itertools.islice(splitmix(1234567), 2)) == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("loop", ["mmc", "mmc_sorted"])
@pytest.mark.parametrize("servers", [1, 2, 3, 8, 11])
def test_mmc_request_by_request(loop, servers):
    rate_rps = 0.9 * servers
    plan = BatchPlan(profile="x", replicas=servers, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    theirs = run(plan, ExponentialTimes(1.0), draws(7, 3000, rate_rps)).response_s
    ours = getattr(loops, loop)(7, 3000, rate_rps=rate_rps, service_mean_s=1.0, servers=servers)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("servers", [1, 4, 5])
@pytest.mark.parametrize("size_max", [1, 2, 16])
@pytest.mark.parametrize("wait_max_s", [0.0, 0.001, 0.005, 0.1])
@pytest.mark.parametrize("load", [0.1, 0.8])
def test_batches_request_by_request(servers, size_max, wait_max_s, load):
    rate_rps, times_s = load * servers * size_max / TIMES_S[size_max - 1], TIMES_S[:size_max]
    plan = BatchPlan(
        profile="x",
        replicas=servers,
        batch_size_max=size_max,
        batch_wait_max_s=wait_max_s,
        routing=Routing.SHARED_QUEUE,
    )
    theirs = run(plan, TableTimes(times_s), draws(3, 1000, rate_rps, served=False)).response_s
    ours = loops.batches(
        3, 1000, rate_rps=rate_rps, batch_times_s=times_s, wait_max_s=wait_max_s, servers=servers
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("routing", yardstick.ROUTINGS)
@pytest.mark.parametrize("replicas", [2, 5, 16, 64])
@pytest.mark.parametrize("load", [0.8, 1.5])
def test_own_queues_request_by_request(replicas, routing, load):
    """At a load above 1 the queues outgrow the room that they begin with."""
    rate_rps = load * replicas
    plan = BatchPlan(profile="x", replicas=replicas, batch_size_max=1, routing=routing)
    drawn = draws(5, 3000, rate_rps, routed=routing is Routing.POWER_OF_TWO)
    theirs = run(plan, ExponentialTimes(1.0), drawn).response_s
    ours = loops.own_queues(
        5, 3000, rate_rps=rate_rps, service_mean_s=1.0, replicas=replicas, routing=routing
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


LAWS = {
    "M/M/8": (
        lambda seed: loops.mmc(seed, 100_000, rate_rps=6.4, service_mean_s=1.0, servers=8),
        MMc(arrival_rate_rps=6.4, service_rate_rps=1.0, servers=8),
    ),
    "one batching server": (
        lambda seed: loops.batches(
            seed, 100_000, rate_rps=1000.0, batch_times_s=TIMES_S, wait_max_s=0.005, servers=1
        ),
        Bulk(arrival_rate_rps=1000.0, batch_times_s=TIMES_S, batch_wait_max_s=0.005),
    ),
    "the shorter of two queues": (
        lambda seed: loops.own_queues(
            seed, 100_000, rate_rps=1.6, service_mean_s=1.0, replicas=2, routing=Routing.LEAST_OUTSTANDING
        ),
        ShortestQueue(arrival_rate_rps=1.6, service_rate_rps=1.0),
    ),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("statistic", ["mean", "P99"])
def test_theory_within_four_standard_errors(name, statistic):
    serve, law = LAWS[name]
    runs = [serve(seed)[2000:] for seed in range(20)]
    of, exact = {
        "mean": (np.mean, law.response_mean_s),
        "P99": (lambda x: float(np.quantile(x, 0.99, method="inverted_cdf")), law.response_quantile_s(0.99)),
    }[statistic]
    pooled = of(np.concatenate(runs))
    error = math.sqrt(sum((of(x) - pooled) ** 2 for x in runs) / 19 / 20)
    assert abs(pooled - exact) <= 4.0 * error
    assert error < 0.02 * exact


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="refuses its arguments"):
        loops.mmc(1, 100, rate_rps=1.0, service_mean_s=1.0, servers=0)
    with pytest.raises(ValueError, match="refuses its arguments"):
        loops.own_queues(
            1, 100, rate_rps=1.0, service_mean_s=1.0, replicas=65, routing=Routing.LEAST_OUTSTANDING
        )


def test_the_systems_are_the_loads_that_they_are_named_for():
    assert systems.MM8.rate_rps == pytest.approx(6.4)
    assert systems.BATCHES.rate_rps == pytest.approx(4480.0)
    assert systems.MM8.p99_s == pytest.approx(5.15, abs=0.01)
