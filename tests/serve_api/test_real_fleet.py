"""Debian's HAProxy and nginx with what `render` writes, in front of emulated replicas, beside the simulator."""

import json
from dataclasses import replace
from urllib.request import Request, urlopen

import numpy as np
import pytest
import recovery_beside_measured as bench
from members import incident_of
from serving import metric

from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.recovery.protection import Ejecting, Protection
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import BudgetKind, Clients, RetryBudget
from serve_api.balancer import NAMES, program
from simulations.draws.attempts import AttemptDraws, BatchFleet
from simulations.draws.service import ProfileTimes
from simulations.kernel.recovery.run import run as simulated

pytestmark = pytest.mark.long
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


@pytest.fixture(scope="module", params=NAMES)
def fleet(request, tmp_path_factory):
    """Two replicas behind a balancer, which leaves retries to clients."""
    if program(request.param) is None:
        pytest.skip(f"{request.param} is not installed; `apt-get install {request.param}` does it on Debian")
    folder = tmp_path_factory.mktemp(request.param)
    emulated = folder / "slow.csv"
    emulated.write_text("batch_size,mean_ms\n" + "".join(f"{size},{ms}\n" for size, ms in SLEEPS_MS.items()))
    one = bench.replica(PLAN, emulated, bench.FOREVER_S, slower=3.0)
    flags = {"replicas": PLAN.replicas, "timeout": "500ms"}
    text = bench.configuration(request.param, PROFILE, flags, passes_on=False)
    with bench.in_front(), bench.fleet(one, PLAN.replicas, request.param, text, folder) as found:
        yield found


def served(url):
    with urlopen(f"{url}/metrics") as answer:
        return metric(answer.read(), "serve_requests_total")


def test_each_replica_has_its_turn(fleet):
    url, members = fleet
    urls = [one.url for one in members]
    before = [served(one) for one in urls]
    for _ in range(10):
        with urlopen(Request(f"{url}/predict", bench.BODY)) as answer:
            assert json.load(answer)["predictions"] == [0]
    assert [served(one) - count for one, count in zip(urls, before, strict=True)] == [5.0, 5.0]


def test_a_fleet_in_trouble_does_what_is_simulated(fleet, request):
    """Twice what two replicas serve for six seconds, then half of it."""
    is_nginx = "nginx" in request.node.callspec.id
    protection = Protection(ejection=Ejecting.NGINX if is_nginx else Ejecting.NONE)
    gaps_s = np.concatenate([np.full(800, 1 / 132), np.full(330, 1 / 33)])
    arrived_s = np.cumsum(np.random.default_rng(1).exponential(gaps_s))
    draws = AttemptDraws(
        arrived_s=arrived_s,
        service=np.full((3, len(arrived_s)), 0.5),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
    )
    served = BatchFleet(plan=PLAN, service_times=ProfileTimes(PROFILE))
    wanted = simulated(served, draws, CLIENTS, protection, ())
    patient = replace(CLIENTS, timeout_s=CLIENTS.timeout_s + bench.GRACE_S)
    run, sender = bench.send(arrived_s, patient, fleet[0])
    found = bench.seen_of(run, sender)
    for part in (arrived_s < arrived_s[800], arrived_s >= arrived_s[800]):
        simulated_share = 1.0 - np.isnan(wanted.answered_s[part]).mean()
        assert 1.0 - np.isnan(found.answered_s[part]).mean() == pytest.approx(simulated_share, abs=0.1)
    assert len(sender.sent_s) == pytest.approx(wanted.attempts.sum(), rel=0.05)


def test_one_that_is_killed_costs_what_it_holds_and_comes_back(fleet):
    """Its requests are lost, at most a batch and a queue; what comes later goes to the other until it is back."""
    url, members = fleet
    incident = incident_of(Trigger(kind=TriggerKind.CRASH, lasting_s=2.0, replicas=1), members, 0.0)
    arrived_s = np.arange(0.05, 12.0, 0.1)
    run, _ = bench.send(arrived_s, Clients(timeout_s=2.0), url, incident, begins_s=2.0)
    lost = arrived_s[run.outcomes != 200]
    assert len(lost) <= 2
    assert ((lost >= 1.8) & (lost <= 2.1)).all()
    assert served(members[-1].url) >= 10.0


def test_one_that_is_slow_is_slow_for_as_long_as_the_trigger_says(fleet):
    url, members = fleet
    incident = incident_of(Trigger(kind=TriggerKind.STRAGGLER, lasting_s=2.0, factor=3.0), members, 0.0)
    arrived_s = np.arange(0.05, 6.0, 0.25)
    run, _ = bench.send(arrived_s, Clients(timeout_s=2.0), url, incident, begins_s=2.0)
    slow = run.ended_s - run.sent_s > 2.5 * SLEEPS_MS[1] / 1e3
    meanwhile = (arrived_s > 2.0) & (arrived_s < 4.0)
    assert (run.outcomes == 200).all()
    assert 3 <= slow[meanwhile].sum() <= 5
    assert not slow[~meanwhile].any()
