"""Debian's HAProxy with the configuration that is shipped, in front of emulated replicas, beside the simulator."""

import json
from urllib.request import Request, urlopen

import numpy as np
import pytest
import recovery_beside_measured as bench
from serving import metric

from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.recovery.protection import Protection
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import BudgetKind, Clients, RetryBudget
from simulations.draws.attempts import AttemptDraws, BatchFleet
from simulations.draws.service import ProfileTimes
from simulations.kernel.recovery.run import run as simulated

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        bench.HAPROXY is None, reason="HAProxy is not installed; `apt-get install haproxy` does it on Debian"
    ),
]
PLAN = BatchPlan(profile="slow", replicas=2, batch_size_max=2, batch_wait_max_s=0.0, queue_limit=30)
SLEEPS_MS = {1: 40, 2: 60}
# A server adds about this to a batch.
PROFILE = ServiceProfile(
    name="slow",
    timings=tuple(BatchTiming(batch_size=size, mean_s=ms / 1e3) for size, ms in SLEEPS_MS.items()),
    batch_work_s=0.001,
)
CLIENTS = Clients(
    timeout_s=0.5, attempts=3, budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.1, tokens=20.0)
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two replicas behind HAProxy."""
    folder = tmp_path_factory.mktemp("haproxy")
    emulated = folder / "slow.csv"
    emulated.write_text("batch_size,mean_ms\n" + "".join(f"{size},{ms}\n" for size, ms in SLEEPS_MS.items()))
    with bench.fleet(PLAN, emulated, bench.FOREVER_S, folder) as found:
        yield found


def served(url):
    with urlopen(f"{url}/metrics") as answer:
        return metric(answer.read(), "serve_requests_total")


def test_each_replica_has_its_turn(fleet):
    url, urls = fleet
    before = [served(one) for one in urls]
    for _ in range(10):
        with urlopen(Request(f"{url}/predict", bench.BODY)) as answer:
            assert json.load(answer)["predictions"] == [0]
    assert [served(one) - count for one, count in zip(urls, before, strict=True)] == [5.0, 5.0]


def test_a_fleet_in_trouble_does_what_is_simulated(fleet):
    """Twice what two replicas serve for six seconds, then half of it."""
    gaps_s = np.concatenate([np.full(800, 1 / 132), np.full(330, 1 / 33)])
    arrived_s = np.cumsum(np.random.default_rng(1).exponential(gaps_s))
    draws = AttemptDraws(
        arrived_s=arrived_s,
        service=np.full((3, len(arrived_s)), 0.5),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )
    served = BatchFleet(plan=PLAN, service_times=ProfileTimes(PROFILE))
    wanted = simulated(served, draws, CLIENTS, Protection(), ())
    run, sender = bench.send(arrived_s, CLIENTS, fleet[0])
    found = bench.outcomes_of(run, sender)
    for part in (arrived_s < arrived_s[800], arrived_s >= arrived_s[800]):
        simulated_share = 1.0 - np.isnan(wanted.answered_s[part]).mean()
        assert 1.0 - np.isnan(found.answered_s[part]).mean() == pytest.approx(simulated_share, abs=0.1)
    assert len(sender.sent_s) == pytest.approx(wanted.attempts.sum(), rel=0.05)
