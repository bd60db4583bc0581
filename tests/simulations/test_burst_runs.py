"""How soon queues fed by bursts settle, and how much of each spell a run needs, by hand."""

import math
from dataclasses import replace

import pytest

from capacity.traffic.workload import MmppArrivals, ModulatedArrivals
from simulations.statistics.bursts import BurstRuns, Fed

# One queue that serves a request a second, M/M/1: at load 0.25 it forgets within 0.25/(1 - 0.5)² = 1 request.
QUEUE = Fed(
    load=lambda rate_rps: rate_rps, sustainable_rps=1.0, queues=1, service_s=1.0, variability=2.0, batch=3
)


def runs(burst_s: float = 100.0, calm_s: float = 10_000.0, fed: Fed = QUEUE, **fields: object) -> BurstRuns:
    """A quarter of a request a second in bursts, a twenty-fifth between them."""
    bursts = MmppArrivals(ratio=6.25, burst_mean_s=burst_s, calm_mean_s=calm_s)
    rate_rps = (0.25 * burst_s + 0.04 * calm_s) / (burst_s + calm_s)
    arrivals = ModulatedArrivals(bursts=bursts)
    return BurstRuns(arrivals=arrivals, arrival_rate_rps=rate_rps, fed=fed, **fields)


@pytest.mark.parametrize(
    ("rate_rps", "lasting_s", "requests"),
    [
        (0.25, 80.0, 2.0 / (0.75 + math.sqrt(0.75**2 + 4.0 / 80.0))),
        (1.0, 50.0, math.sqrt(50.0)),  # without a drift θ²σ²/2 = 1/m
        (
            3.0,
            40.0,
            40.0 * (2.0 + math.sqrt(4.0 + 12.0 / 40.0)) / 2.0,
        ),  # those that come vary more than the served
    ],
)
def test_the_backlog_of_a_spell_is_the_root_and_a_batch(rate_rps, lasting_s, requests) -> None:
    assert QUEUE.backlog(rate_rps, lasting_s) == pytest.approx(requests + 3, rel=1e-12)
    two = replace(QUEUE, sustainable_rps=2.0, queues=2)
    assert two.backlog(2.0 * rate_rps, lasting_s) == pytest.approx(requests + 3, rel=1e-12)
    assert replace(QUEUE, places=5).backlog(rate_rps, lasting_s) == min(5, QUEUE.backlog(rate_rps, lasting_s))


def test_a_queue_without_a_limit_forgets_nothing_from_its_capacity_on() -> None:
    assert QUEUE.relaxation_requests(0.25) == pytest.approx(1.0)
    assert replace(QUEUE, queues=2, load=lambda x: x / 2.0).relaxation_requests(0.5) == pytest.approx(2.0)
    assert QUEUE.relaxation_requests(1.0) == math.inf
    assert replace(QUEUE, places=5).relaxation_requests(1.0) < math.inf


def test_a_spell_is_cut_where_it_lasts_twice_as_long_as_a_queue_takes_to_settle() -> None:
    """A burst takes 10 times 1 request at a quarter a second; the calm drains its backlog at 0.96 a second first."""
    calm_s = 10.0 / 0.04 + 10.0 * QUEUE.backlog(0.25, 80.1) / 0.96
    assert runs(80.1).settled_s == pytest.approx((40.0, calm_s))
    assert runs(79.9).settled_s[0] == math.inf
    assert runs(80.1, 2.01 * calm_s).settled_s[1] == pytest.approx(calm_s)
    assert runs(80.1, 1.99 * calm_s).settled_s[1] == math.inf
    slow = runs(80.1, fed=replace(QUEUE, memory_s=0.01))
    assert slow.settled_s == pytest.approx((math.inf, calm_s + 0.1))
    assert runs(may_cut=False).settled_s == (math.inf, math.inf)
    assert runs(settled_min_s=(45.0, 900.0)).settled_s == (45.0, 900.0)


def test_a_spell_that_is_cut_lasts_to_four_times_its_settling_and_has_a_stratum_from_there() -> None:
    found = runs(settled_min_s=(45.0, 900.0))
    assert found.strata.arrivals.spells_max_s == (180.0, 3600.0)
    assert found.strata.ages_s == ((45.0,), (900.0,))
    bursts, mean_rps = found.simulated
    lasting_s = (100.0 * -math.expm1(-1.8), 10_000.0 * -math.expm1(-0.36))
    assert (bursts.burst_mean_s, bursts.calm_mean_s) == pytest.approx(lasting_s)
    requests = 0.25 * lasting_s[0] + 0.04 * lasting_s[1]
    assert found.cycle_requests == pytest.approx(requests)
    assert mean_rps == pytest.approx(requests / sum(lasting_s))
    whole = runs(may_cut=False)
    assert whole.strata.ages_s == (tuple(-100.0 * math.log(left) for left in (0.5, 0.2, 0.06)), ())
    assert whole.simulated == (whole.arrivals.bursts, pytest.approx(whole.arrival_rate_rps))


def test_a_pool_has_200_cycles_and_as_many_relaxation_times_of_each_phase() -> None:
    """A cycle has 29 requests, 4 of them in the calm, each a relaxation time; 5000 of the whole are enough."""
    found = runs(100.0, 100.0, may_cut=False)
    assert found.relaxation_requests == pytest.approx(0.145 / (0.01 + 0.01))  # no sooner than the phases
    assert found.counted_min(1.0) == pytest.approx(200 * 29)
    assert found.counted_min(1e3) == pytest.approx(1e3 * 29 / 4)
    assert found.counted_min(1e9) == pytest.approx(5000 * 7.25)
