"""Fleets to compare: read from the command line, or taken from saved plans for one workload."""

from pathlib import Path

import pytest
from planned import saved_plan

from capacity.answer.compare import common_scenario, contenders, parse_fleet
from capacity.answer.saved_plan import read_plans
from capacity.errors import InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.typed import count_of, fields_of
from capacity.traffic.workload import ClosedPopulation, GammaArrivals, Workload


def profile(name: str, size: int) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=n, mean_s=0.01) for n in (1, size))
    return ServiceProfile(name=name, timings=timings)


SLOW, FAST = profile("slow", 16), profile("fast", 32)


def test_a_fleet_has_defaults_for_what_is_not_typed() -> None:
    """The defaults are the first profile, its largest batch and no wait."""
    found = parse_fleet("replicas=4", [SLOW, FAST])
    assert found.profile is SLOW
    assert found.plan == BatchPlan(profile="slow", replicas=4, batch_size_max=16)
    typed = "replicas = 2,batch=8, wait=2ms,routing=random,batching=torchserve,queue-limit=50,profile=fast"
    found = parse_fleet(typed, [SLOW, FAST])
    assert (found.profile, found.name) == (FAST, typed[:80])
    assert found.plan == BatchPlan(
        profile="fast",
        replicas=2,
        batch_size_max=8,
        batch_wait_max_s=0.002,
        routing=Routing.RANDOM,
        batching=Batching.TORCHSERVE,
        queue_limit=50,
    )
    assert parse_fleet("replicas=1,preferred-sizes=4+8", [SLOW]).plan.preferred_sizes == (4, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("replicas=1,profile=other", r"names none of the profiles; use one of p0, p1, p2, p3, p4$"),
        ("batch=1", r"says nothing of replicas; replicas=4,batch=16 is a fleet$"),
        ("replicas=1,routing=best", "has an unknown routing; use one of round-robin, "),
        ("replicas=1,speed=3", "has 'speed=3'; known keys are replicas, .* such as --timeout, is a flag of its own"),
        ("replicas=1,replicas=1", "not KEY=VALUE or appears twice"),
        ("replicas", "not KEY=VALUE or appears twice"),
        ("replicas=1,wait=3", "wait '3' has no unit; write 3ms or 3s$"),
    ],
)  # fmt: skip
def test_invalid_fleets_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_fleet(text, [profile(f"p{n}", 8) for n in range(6)])


def test_a_count_has_nine_digits_at_most() -> None:
    assert count_of("999999999", "x") == 999_999_999
    for text in ("1000000000", "-1", "1.0", "", "٣"):
        with pytest.raises(InputError, match="x has .*not a whole number of at most 9 digits"):
            count_of(text, "x")


def test_fields_are_split_at_commas_and_at_the_first_equals_sign() -> None:
    assert fields_of("a=1,b = x=y", ("a", "b")) == {"a": "1", "b": "x=y"}


def test_two_to_eight_fleets_are_compared() -> None:
    typed = [f"replicas={n}" for n in range(1, 10)]
    assert [one.name for one in contenders((), (), typed[:8], [SLOW])] == typed[:8]
    assert len(contenders((), (), typed[:2], [SLOW])) == 2
    for few_or_many in (typed[:1], typed):
        said = f"give 2 to 8 fleets to compare, .* got {len(few_or_many)}"
        with pytest.raises(InputError, match=said):
            contenders((), (), few_or_many, [SLOW])
    with pytest.raises(InputError, match="a --fleet needs a --profile, or a saved plan to take it from"):
        contenders((), (), typed[:2], ())


def test_saved_plans_come_first_and_their_profile_is_the_default() -> None:
    saved = saved_plan(replicas=5)
    first, second = contenders([saved], ["folder/mine.json"], ["replicas=2"], ())
    assert (first.name, first.plan) == ("folder/mine.json", saved.plan)
    assert (second.profile, second.plan.profile) == (saved.question.profiles[0], "resnet50")
    assert contenders([saved], [saved], ["replicas=2"], [SLOW])[0].name == "plan.json"
    assert contenders([saved], [saved], ["replicas=2"], [SLOW])[1].profile is SLOW


CALM, BUSY = Workload(arrival_rate_rps=1000.0), Workload(arrival_rate_rps=2000.0)
BURSTY = Workload(arrival_rate_rps=1000.0, arrivals=GammaArrivals(cv=2.0))
USERS = ClosedPopulation(users=8, think_time_s=0.1)


def test_plans_are_compared_under_their_common_workload_or_a_given_rate() -> None:
    plans = [saved_plan(), saved_plan(replicas=6)]
    assert common_scenario(plans, None).workload == CALM
    assert common_scenario([*plans, saved_plan(workload=BUSY)], 50.0).workload == Workload(
        arrival_rate_rps=50.0
    )


@pytest.mark.parametrize(
    ("other", "rate_rps", "said"),
    [
        (BUSY, None, r"different workloads \(1000 rps and 2000 rps\); give --rate to compare them at one rate"),
        (BURSTY, None, r"different workloads \(other arrivals\); make the plans for the same arrivals"),
        (BURSTY, 50.0, r"different workloads \(other arrivals\)"),
        (USERS, None, r"different workloads \(other arrivals\)"),
        (USERS, 50.0, r"plan.json is for users, not for a rate; leave --rate out"),
    ],
)  # fmt: skip
def test_plans_for_different_workloads_are_refused(other, rate_rps, said) -> None:
    with pytest.raises(InputError, match=said):
        common_scenario([saved_plan(), saved_plan(workload=other, queue_limit=None)], rate_rps)


def test_arrivals_are_given_only_to_restore_the_trace_of_a_saved_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--arrivals can only give a saved plan its trace again: trace:FILE"):
        read_plans([saved_plan()], "poisson")
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s\n" + "".join(f"{n}.0\n" for n in range(20)))
    with pytest.raises(InputError, match="a saved plan has all of its arrivals; leave --arrivals out"):
        read_plans([saved_plan()], f"trace:{trace}")
    assert read_plans([saved_plan()]) == [saved_plan()]
