"""Contention: the noun, its fit, where a profile has it, and what it does to stability and reduction."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases import fixed
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import capacity

from capacity.errors import DomainError, InputError, UnstableError
from capacity.profile.contention import Contention, from_sweep, measured, processor_sharing
from capacity.profile.formats import parse_json
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.profile.scalability import UniversalScalability
from capacity.question.caveat import CaveatCode
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.fleet import predict
from capacity.server.batch.caveats import device_caveats, profile_caveats
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import (
    load,
    load_of,
    replicas_stable_min,
    require_answerable,
    sustainable_rate_rps,
)
from capacity.traffic.workload import GammaArrivals, Workload
from simulations.case import one_for_all
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Draws, Seed
from simulations.draws.service import ExponentialTimes
from simulations.kernel import serve as kernel
from simulations.replication import Engine, Task, replicate
from simulations.statistics.sample import Length

# One request a second on a device of its own, two instances to a device by processor sharing.
PAIRS = ServiceProfile(name="pairs", timings=(BatchTiming(batch_size=1, mean_s=1.0),), instances_per_device=2)


def plan_of(replicas: int, routing: Routing = Routing.SHARED_QUEUE) -> BatchPlan:
    return BatchPlan(profile="pairs", replicas=replicas, batch_size_max=1, routing=routing)


def test_processor_sharing_is_m_for_m_and_assumed() -> None:
    found = processor_sharing(3)
    assert (found.slowdowns, found.is_measured, found.instances) == ((1.0, 2.0, 3.0), False, 3)
    assert [found.slowdown(busy) for busy in (1, 2, 3)] == [1.0, 2.0, 3.0]
    assert found.up_to(2) == processor_sharing(2)


@pytest.mark.parametrize(
    ("slowdowns", "message"),
    [
        ((), "the first slowdown must be 1"),
        ((2.0, 3.0), "the first slowdown must be 1, got .2.0"),
        ((1.0, 0.9), "slowdown of 2 busy instances must be finite and not below the 1 of 1, got 0.9"),
        ((1.0, 1.5, 1.4), "slowdown of 3 busy instances must be finite and not below the 1.5 of 2, got 1.4"),
        ((1.0, math.inf), "must be finite"),
        ((1.0, math.nan), "must be finite"),
        ((math.nan,), "the first slowdown must be 1"),
    ],
)
def test_what_is_no_contention_is_not_born(slowdowns: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measured(slowdowns)


@pytest.mark.parametrize("busy", [0, 3])
def test_nothing_is_known_beyond_what_was_measured(busy: int) -> None:
    with pytest.raises(DomainError, match=f"known for 1 to 2 busy instances and not for {busy}; measure"):
        measured([1.0, 1.8]).slowdown(busy)
    with pytest.raises(DomainError, match="known for 1 to 2"):
        measured([1.0, 1.8]).up_to(busy)
    with pytest.raises(DomainError, match="instances must be >= 1, got 0"):
        processor_sharing(0)


def test_of_two_numbers_the_quotient_stands() -> None:
    """Twice 152.4 over 209.1, of FastPitch on an A100 (see test_devices)."""
    found = from_sweep({1: 152.4, 2: 209.1})
    assert found == measured([1.0, 2.0 * 152.4 / 209.1])
    assert from_sweep({1: 100.0, 2: 201.0}).slowdowns == (1.0, 1.0)  # a little superlinear is noise


@settings(derandomize=True, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.0, 0.5))
def test_of_more_numbers_the_law_is_found_again(sigma: float, kappa: float) -> None:
    """Slowdown 1 + sigma (m - 1) + kappa m (m - 1), also of 3, which was not measured."""
    law = UniversalScalability(throughput_one_rps=90.0, sigma=sigma, kappa=kappa)
    found = from_sweep({busy: law.throughput_rps(busy) for busy in (1, 2, 4)})
    expected = [1.0 + sigma * (m - 1) + kappa * m * (m - 1) for m in (1, 2, 3, 4)]
    assert found.is_measured
    assert found.slowdowns == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("throughputs_rps", "message"),
    [
        ({1: 5.0}, "needs 1 and at least one more"),
        ({2: 5.0, 3: 6.0}, "needs 1 and at least one more, got .2, 3."),
        ({1: 5.0, 3: 6.0}, "a sweep of 1 and 3 busy instances says nothing about the numbers in between"),
        ({1: 5.0, 2: 0.0}, "throughput of 2 busy instances must be > 0 and finite, got 0.0"),
        ({1: 5.0, 2: -6.0}, "throughput of 2 busy instances must be > 0 and finite, got -6.0"),
        ({1: 5.0, 2: math.inf}, "must be > 0 and finite"),
        ({1: 5.0, 2: 6.0, 3: -1.0}, "throughput at size 3"),
        (dict.fromkeys(range(2, 10), 5.0), r"got \[2, 3, 4, 5, 6, 7\];"),
        (dict.fromkeys(range(1001), 5.0), r"from 1 to 1000, got \[0, 1, 2, 3, 4, 5\];"),
        ({1: 5.0, 0: 6.0}, "busy instances must be from 1 to 1000"),
        ({1: 5.0, 2000: 6.0}, "busy instances must be from 1 to 1000"),
    ],
)
def test_what_is_no_sweep_is_refused(throughputs_rps: dict[int, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_sweep(throughputs_rps)


def profile_of(**keys: object) -> ServiceProfile:
    timings = [{"batch_size": 1, "mean_ms": 10}]
    return parse_json(json.dumps({"name": "p", "timings": timings, **keys}), "p.json")


def test_a_profile_reads_slowdowns_or_a_sweep() -> None:
    given_ = profile_of(instances_per_device=2, contention_slowdowns=[1, 1.8])
    assert given_.contention == measured([1.0, 1.8])
    swept = profile_of(instances_per_device=2, contention_throughputs_rps=[[1, 500], [2, 800]])
    assert swept.contention == measured([1.0, 1.25])
    assert profile_of(instances_per_device=2).contention is None
    assert profile_of(instances_per_device=2, contention_slowdowns=None).contention is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"contention_slowdowns": 2}, "p.json: contention_slowdowns must be a list"),
        ({"contention_slowdowns": []}, "contention_slowdowns must be a list of 1 to 1000"),
        ({"contention_slowdowns": [1] * 1001}, "contention_slowdowns must be a list of 1 to 1000"),
        ({"contention_slowdowns": [1, "2"]}, r"contention_slowdowns\[1\] must be a number, got '2'"),
        ({"contention_slowdowns": [2, 3]}, "p.json: the first slowdown must be 1"),
        ({"contention_throughputs_rps": [[1, 5]]}, "needs 1 and at least one more"),
        ({"contention_throughputs_rps": [[1, 5], 7]}, r"contention_throughputs_rps\[1\] must be a list, got 7"),
        ({"contention_throughputs_rps": [[1, 5], [1, 6]]}, "has 1 busy instances twice; keep one"),
        ({"contention_throughputs_rps": [[1.5, 5], [2, 6]]}, "must be a whole number, got 1.5"),
        (
            {"contention_slowdowns": [1, 2], "contention_throughputs_rps": [[1, 5], [2, 6]]},
            "say the same thing twice; keep one",
        ),
        (
            {"contention_slowdowns": [1, 2], "instances_per_device": 3},
            "knows the contention of 2 busy instances and has 3 per device; measure",
        ),
    ],
)  # fmt: skip
def test_what_a_profile_cannot_mean_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        profile_of(**keys)


def test_other_instances_take_what_was_measured_of_so_many() -> None:
    profile = profile_of(instances_per_device=3, contention_slowdowns=[1, 1.5, 2.5])
    assert replace(profile, instances_per_device=2).slowdowns(10) == (1.0, 1.5)
    assert replace(profile, instances_per_device=1).slowdowns(10) == (1.0,)
    assert replace(profile, instances_per_device=1).device_contention(10) is None
    assert profile.slowdowns(2) == (1.0, 1.5)  # no device of so small a fleet has three
    with pytest.raises(InputError, match="leave contention out, which assumes processor sharing"):
        replace(profile, instances_per_device=4)
    with pytest.raises(DomainError, match="has 3 instances, so that 4 cannot be busy"):
        profile.slowdown(4)


def test_unmeasured_contention_is_processor_sharing_and_said_to_be() -> None:
    assert PAIRS.device_contention(5) == processor_sharing(2)
    assert [PAIRS.slowdown(busy) for busy in (1, 2)] == [1.0, 2.0]
    (caveat,) = device_caveats(PAIRS)
    assert caveat.code is CaveatCode.DEVICE_SHARED
    assert "2 replicas share a device; processor sharing is assumed" in caveat.message
    assert "measure the throughput" in caveat.message
    assert caveat in list(profile_caveats(PAIRS, 1, [0.99]))
    assert list(device_caveats(replace(PAIRS, contention=processor_sharing(2)))) == [caveat]
    assert list(device_caveats(replace(PAIRS, contention=measured([1, 1.8])))) == []
    assert list(device_caveats(replace(PAIRS, instances_per_device=1))) == []


def test_no_law_is_claimed_for_instances_that_slow_each_other_down() -> None:
    workload = Workload(arrival_rate_rps=0.5)
    with pytest.raises(
        DomainError, match="^no exact law covers 2 instances per device, which slow each other down;"
    ):
        predict(PAIRS, workload, plan_of(2))
    unslowed = replace(PAIRS, contention=measured([1, 1]))
    alone = replace(PAIRS, instances_per_device=1)
    assert predict(unslowed, workload, plan_of(2)) == predict(alone, workload, plan_of(2))
    assert predict(PAIRS, workload, plan_of(1)) == predict(alone, workload, plan_of(1))


def test_measured_slowdowns_lie_between() -> None:
    profile = replace(PAIRS, contention=measured([1.0, 1.6]))
    assert sustainable_rate_rps(profile, plan_of(4)) == pytest.approx(4 / 1.6)
    assert sustainable_rate_rps(profile, plan_of(5)) == pytest.approx(4 / 1.6 + 1.0)
    assert load(profile, 1.25, plan_of(4)) == pytest.approx(0.5)


def backlog(
    rate_rps: float, plan: BatchPlan, slowdowns: tuple[float, ...], burst: int, span_s: float
) -> list[int]:
    """Requests under way after a quarter of the time and at its end, of a fleet that starts with a burst."""
    generator = np.random.default_rng(3)
    arrived_s = np.cumsum(generator.standard_exponential(round(rate_rps * span_s)) / rate_rps)
    arrived_s = np.concatenate([np.zeros(burst), arrived_s])
    count = len(arrived_s)
    draws = Draws(arrived_s=arrived_s, service=generator.random(count), routing=generator.random(2 * count))
    records = kernel.run(plan, ExponentialTimes(1.0), draws, slowdowns=slowdowns)
    instants_s = (arrived_s[-1] / 4.0, arrived_s[-1])
    return [int(np.sum((arrived_s <= now) & (records.finished_s > now))) for now in instants_s]


@pytest.mark.parametrize(
    ("routing", "replicas", "slowdowns"),
    [
        (Routing.SHARED_QUEUE, 3, (1.0, 2.0)),
        (Routing.LEAST_OUTSTANDING, 3, (1.0, 2.0)),
        (Routing.POWER_OF_TWO, 3, (1.0, 2.0)),
        (Routing.RANDOM, 3, (1.0, 2.0)),
        (Routing.ROUND_ROBIN, 3, (1.0, 2.0)),
        (Routing.SHARED_QUEUE, 5, (1.0, 1.2, 4.0)),
        (Routing.POWER_OF_TWO, 5, (1.0, 1.0, 1.0, 50.0)),
        (Routing.POWER_OF_TWO_HAPROXY, 5, (1.0, 1.0, 1.0, 50.0)),
    ],
)
def test_a_long_queue_shrinks_below_the_sustainable_rate_and_grows_above(routing, replicas, slowdowns):
    """5 % to either side; two choices of five leave the slow device more than it can do (the last cases)."""
    profile = replace(PAIRS, instances_per_device=len(slowdowns), contention=measured(slowdowns))
    plan = plan_of(replicas, routing)
    limit_rps = sustainable_rate_rps(profile, plan)
    span_s = 40_000.0 / limit_rps
    early, late = backlog(0.95 * limit_rps, plan, slowdowns, 2_500, span_s)
    assert late < 0.7 * early
    early, late = backlog(1.05 * limit_rps, plan, slowdowns, 2_500, span_s)
    assert late > 1.2 * early


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
@pytest.mark.parametrize("slowdowns", [(1.0, 2.0), (1.0, 1.3, 1.7), (1.0, 5.0), (1.0, 1.0, 1.0, 50.0)])
@pytest.mark.parametrize("rate_rps", [0.3, 1.0, 1.5, 2.0, 7.1, 40.0])
def test_fewest_replicas_are_the_first_of_all(routing, slowdowns, rate_rps) -> None:
    profile = replace(PAIRS, instances_per_device=len(slowdowns), contention=measured(slowdowns))
    first = next(c for c in range(1, 10_000) if load(profile, rate_rps, plan_of(c, routing)) < 1.0)
    assert replicas_stable_min(profile, rate_rps, profile.throughput_rps(1), routing) == first
    assert replicas_stable_min(profile, rate_rps, profile.throughput_rps(1)) <= first


@settings(derandomize=True, deadline=None)
@given(st.floats(0.001, 1e5), st.floats(1e-4, 10.0), st.sampled_from(PLAIN_ROUTINGS), st.floats(1.0, 9.0))
def test_fewest_replicas_have_a_load_below_one_whatever_is_rounded(rate_rps, mean_s, routing, slowdown):
    timings = (BatchTiming(batch_size=1, mean_s=mean_s),)
    profile = replace(PAIRS, timings=timings, contention=measured([1.0, slowdown]))
    replicas = replicas_stable_min(profile, rate_rps, profile.throughput_rps(1), routing)
    if replicas < 1_000_000:
        assert load(profile, rate_rps, plan_of(replicas, routing)) < 1.0
        assert replicas == 1 or load(profile, rate_rps, plan_of(replicas - 1, routing)) >= 1.0


def test_a_device_without_end_is_no_endless_search() -> None:
    endless = replace(PAIRS, instances_per_device=2**53)
    assert replicas_stable_min(endless, 0.5, endless.throughput_rps(1)) == 1
    assert replicas_stable_min(endless, 2.5, endless.throughput_rps(1)) > 1_000_000


def test_an_unstable_plan_names_replicas_that_suffice_behind_its_router() -> None:
    with pytest.raises(UnstableError, match="load 1.267 >= 1.*use at least 4 replicas") as refused:
        require_answerable(PAIRS, Workload(arrival_rate_rps=1.9), plan_of(3, Routing.RANDOM))
    assert refused.value.servers_min == 4
    require_answerable(PAIRS, Workload(arrival_rate_rps=1.9), plan_of(3))


def test_one_device_stands_for_full_ones_behind_a_random_split() -> None:
    workload = Workload(arrival_rate_rps=3.0)
    alone, plan = one_for_all(workload, plan_of(6, Routing.RANDOM), 2)
    assert (alone, plan.replicas) == (Workload(arrival_rate_rps=1.0), 2)


@pytest.mark.parametrize(
    ("workload", "replicas", "routing"),
    [
        (Workload(arrival_rate_rps=3.0), 5, Routing.RANDOM),
        (Workload(arrival_rate_rps=3.0), 6, Routing.ROUND_ROBIN),
        (Workload(arrival_rate_rps=3.0), 6, Routing.SHARED_QUEUE),
        (Workload(arrival_rate_rps=3.0, arrivals=GammaArrivals(cv=2.0)), 5, Routing.RANDOM),
    ],
)
def test_what_has_no_such_device_stays_whole(workload: Workload, replicas: int, routing: Routing) -> None:
    plan = plan_of(replicas, routing)
    assert one_for_all(workload, plan, 2) == (workload, plan)


def case_of(profile: ServiceProfile, rate_rps: float, plan: BatchPlan) -> BatchCase:
    return BatchCase(
        scenario=Scenario(
            profile=profile, workload=Workload(arrival_rate_rps=rate_rps), plan=plan, quantiles=(0.5,)
        )
    )


def test_a_reduced_device_and_the_whole_fleet_agree() -> None:
    """Three devices behind the dice, and one of them alone: the same mean, within 4 standard errors."""
    whole = case_of(PAIRS, 2.1, plan_of(6, Routing.RANDOM))
    assert whole.simulated.scenario.plan.replicas == 2
    task = Task(
        plan=whole.scenario.plan,
        workload=whole.scenario.workload,
        service_times=ExponentialTimes(1.0),
        request_overhead_s=0.0,
        length=Length(warm_up=3_000, measured=300_000, cool_down=100),
        seed=Seed(value=1),
        slowdowns=whole.slowdowns,
    )
    alone = replace(task, plan=whole.simulated.scenario.plan, workload=whole.simulated.scenario.workload)
    found = [
        np.array(
            [
                sample.responses.total_s / sample.counted
                for sample in (replicate(replace(one, seed=Seed(value=1, replication=n))) for n in range(10))
            ]
        )
        for one in (task, alone)
    ]
    means = [values.mean() for values in found]
    error = math.hypot(*(values.std(ddof=1) / math.sqrt(10) for values in found))
    assert error < 0.02 * means[0]
    assert abs(means[0] - means[1]) <= 4.0 * error


def test_a_case_hands_its_slowdowns_to_the_engines() -> None:
    case = case_of(replace(PAIRS, contention=measured([1.0, 1.6])), 1.0, plan_of(4))
    (task,) = case.tasks(case.length, Seed(value=0), range(1))
    assert task.slowdowns == (1.0, 1.6)
    assert case_of(replace(PAIRS, contention=measured([1, 1])), 1.0, plan_of(4)).slowdowns == (1.0,)
    short = replace(task, length=Length(warm_up=10, measured=500, cool_down=10))
    one, other = replicate(short), replicate(replace(short, engine=Engine.SIMPY))
    assert one.responses.total_s == other.responses.total_s
    assert one.busy_s == other.busy_s


def test_queues_of_one_device_are_seen_together() -> None:
    """They wait for each other: two of one device take twice what one queue of that load takes, not as much."""
    shared = case_of(PAIRS, 1.4, plan_of(4, Routing.RANDOM))
    alone = case_of(replace(PAIRS, instances_per_device=1), 0.7, plan_of(1))
    assert load_of(shared.scenario) == pytest.approx(load_of(alone.scenario))
    assert shared.counted_min(1.0) == pytest.approx(2.0 * alone.counted_min(1.0))


def test_a_run_of_the_kernel_is_that_of_its_slowdowns() -> None:
    draws = Draws(arrived_s=np.zeros(2), service=np.zeros(2), routing=np.zeros(4))
    plan = plan_of(2)
    assert kernel.run(plan, fixed(lambda size: 1.0), draws).finished_s.tolist() == [1.0, 1.0]
    slowed = kernel.run(plan, fixed(lambda size: 1.0), draws, slowdowns=PAIRS.slowdowns(2))
    assert slowed.finished_s.tolist() == [2.0, 2.0]


def test_contention_is_one_noun_with_value_equality() -> None:
    assert Contention(slowdowns=(1.0, 1.8), is_measured=True) == measured([1, 1.8])
    assert measured([1, 2]) != processor_sharing(2)


QUICK = ("--quantile", "0.5", "--precision", "0.5", "--batch-size-max", "4")
ASKED = ("--profile", "resnet50-t4-fp16", "--replicas", "2", "--rate", "300rps", *QUICK)


def test_simulate_slows_instances_of_one_device_and_says_what_it_assumes(tmp_path: Path) -> None:
    """By either engine to the same bytes; the load is that of one device."""
    alone = json.loads(capacity(tmp_path, "simulate", *ASKED, "--json").stdout)
    shared = capacity(tmp_path, "simulate", *ASKED, "--instances-per-device", "2", "--json")
    assert shared.returncode == 0, shared.stderr
    found = json.loads(shared.stdout)
    assert found["performance"]["load"] == pytest.approx(2.0 * alone["performance"]["load"])
    assert found["performance"]["response_mean_s"] > 1.2 * alone["performance"]["response_mean_s"]
    assert "device_shared" in [caveat["code"] for caveat in found["caveats"]]
    assert "device_shared" not in [caveat["code"] for caveat in alone["caveats"]]
    table = capacity(tmp_path, "simulate", *ASKED, "--instances-per-device", "2").stdout
    assert "Note: 2 replicas share a device; processor sharing is assumed" in " ".join(table.split())


def test_a_measured_profile_needs_no_note(tmp_path: Path) -> None:
    given_ = {"name": "p", "timings": [{"batch_size": 1, "mean_ms": 10}, {"batch_size": 4, "mean_ms": 20}]}
    given_ |= {"instances_per_device": 2, "contention_slowdowns": [1, 1.5]}
    (tmp_path / "p.json").write_text(json.dumps(given_))
    asked = ("--profile", "p.json", *ASKED[2:4], "--rate", "100rps", *QUICK)
    found = json.loads(capacity(tmp_path, "simulate", *asked, "--json").stdout)
    assert found["performance"]["load"] == pytest.approx(100.0 / (2.0 * 4.0 / 0.020 / 1.5))
    assert "device_shared" not in [caveat["code"] for caveat in found["caveats"]]
    more = capacity(tmp_path, "simulate", *asked, "--instances-per-device", "3")
    assert more.returncode == 2
    assert "profile p knows the contention of 2 busy instances and has 3 per device" in more.stderr
    law = capacity(
        tmp_path, "queue", "bulk", "--profile", "p.json", "--arrival-rate", "9rps", "--replicas", "2"
    )
    assert law.returncode == 2
    assert "2 instances per device, which slow each other down; no exact law covers that" in law.stderr
    one = capacity(tmp_path, "queue", "bulk", "--profile", "p.json", "--arrival-rate", "9rps")
    assert one.returncode == 0


@pytest.mark.long
def test_a_sweep_says_in_each_row_how_contention_is_known(tmp_path: Path) -> None:
    shared = ("sweep", *ASKED, "--replicas", "1", "--instances-per-device", "2")
    found = json.loads(capacity(tmp_path, *shared, "--json").stdout)
    assert [row["instances_per_device"] for row in found["rows"]] == [2, 2]
    assert [row["contention"] for row in found["rows"]] == ["assumed", "assumed"]
    assert [caveat["code"] for caveat in found["caveats"]] == ["device_shared"]
    assert "Note: 2 replicas share a device" in capacity(tmp_path, *shared).stdout
    into = capacity(tmp_path, *shared, "-o", "x.csv")
    assert "Note: 2 replicas share a device" in into.stdout
    alone = json.loads(capacity(tmp_path, "sweep", *ASKED, "--json").stdout)
    assert (alone["rows"][0]["contention"], alone["rows"][0]["instances_per_device"]) == ("none", 1)
    assert "caveats" not in alone
    assert capacity(tmp_path, "simulate", *ASKED, "--instances-per-device", "0").returncode == 2
