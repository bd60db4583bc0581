"""Questions: which fleets they are about, how few devices are stable, and which have no answer."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import batch_question, varied

from capacity.errors import DomainError, InputError
from capacity.profile.contention import measured
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.budget import Effort
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.question import Family, Question
from capacity.question.resilience import Spike, Survival
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, Workload

laws_hold = settings(derandomize=True, deadline=None, max_examples=200)
P99 = Objective.of(response={0.99: 0.1})


def profile_of(name: str = "p", means_s: dict[int, float] | None = None, **fields: object) -> ServiceProfile:
    means_s = means_s or {1: 0.010, 2: 0.012, 8: 0.024}
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name=name, timings=timings, **fields)


PROFILE = profile_of(hourly_usd=0.5)


def question_of(rate_rps: float = 250.0, **fields: object) -> Question:
    given = {"profiles": (PROFILE,), "workload": Workload(arrival_rate_rps=rate_rps), "objective": P99}
    return batch_question(**{**given, **fields})


def test_families_are_all_profiles_behind_all_routings() -> None:
    other = profile_of("q", hourly_usd=0.7)
    question = question_of(profiles=(PROFILE, other), routings=(Routing.RANDOM, Routing.ROUND_ROBIN))
    assert question.families == [
        Family(profile=PROFILE, routing=Routing.RANDOM),
        Family(profile=PROFILE, routing=Routing.ROUND_ROBIN),
        Family(profile=other, routing=Routing.RANDOM),
        Family(profile=other, routing=Routing.ROUND_ROBIN),
    ]
    assert question.profile("q") == other


def test_a_family_costs_its_devices_and_has_their_replicas() -> None:
    family = Family(profile=replace(PROFILE, instances_per_device=4), routing=Routing.RANDOM)
    assert (family.replicas(3), family.cost(3)) == (12, 1.5)
    assert Family(profile=replace(PROFILE, hourly_usd=None), routing=Routing.RANDOM).cost(3) == 3.0


@pytest.mark.parametrize(("price", "devices"), [(0.1, 3), (0.1, 6), (0.7, 3), (0.526, 1023), (1e-7, 3)])
def test_a_price_has_no_rounding_of_its_own(price: float, devices: int) -> None:
    """Exact in decimals, where 3 x 0.1 in binary is not 0.3."""
    family = Family(profile=replace(PROFILE, hourly_usd=price), routing=Routing.RANDOM)
    assert family.cost(devices) == float(f"{devices * price:.10g}")


def test_searched_waits_are_half_and_all_of_a_batch_of_one_and_of_the_largest() -> None:
    question = question_of(batch_waits_s=None)
    assert question.space.waits_s(PROFILE, 1) == (0.0,)
    assert question.space.waits_s(PROFILE, 8) == (0.0, 0.005, 0.010, 0.012, 0.024)
    assert question.space.waits_s(PROFILE, 2) == (0.0, 0.005, 0.006, 0.010, 0.012)
    alike = profile_of(means_s={1: 0.01, 2: 0.01})
    assert question.space.waits_s(alike, 2) == (0.0, 0.005, 0.010)


def test_given_waits_are_taken_as_given_but_batches_of_one_take_one_of_them() -> None:
    question = question_of(batch_waits_s=(0.003, 0.005))
    assert question.space.waits_s(PROFILE, 2) == (0.003, 0.005)
    assert question.space.waits_s(PROFILE, 1) == (0.003,)


def test_a_plan_carries_what_the_question_fixed() -> None:
    question = question_of(batching=Batching.TORCHSERVE, queue_limit=3)
    family = Family(profile=replace(PROFILE, instances_per_device=2), routing=Routing.POWER_OF_TWO)
    assert question.space.plan(family, 3, 8, 0.002) == BatchPlan(
        profile="p",
        replicas=6,
        batch_size_max=8,
        batch_wait_max_s=0.002,
        routing=Routing.POWER_OF_TWO,
        batching=Batching.TORCHSERVE,
        queue_limit=3,
    )


def test_events_are_the_losses_from_the_hardest_on_and_then_the_spike() -> None:
    spike = Spike(factor=2.5, startup_time_s=60.0)
    question = question_of(survival=Survival(spare=1, zones=2, unavailable_share=0.25, spike=spike))
    plan = question.space.plan(question.families[0], 9, 2, 0.0)
    events = list(question.events(plan))
    assert [(name, scenario.plan.replicas) for name, scenario in events] == [
        ("one of 2 zones gone", 4),
        ("rolling update", 7),
        ("1 replica gone", 8),
        ("2.5 times the traffic", 9),
    ]
    assert [scenario.spike for _, scenario in events] == [None, None, None, spike]
    assert all(scenario.workload == question.workload for _, scenario in events)


def test_a_loss_of_everything_leaves_nothing_to_judge() -> None:
    question = question_of(survival=Survival(spare=2, zones=2))
    plan = question.space.plan(question.families[0], 2, 2, 0.0)
    assert [name for name, _ in question.events(plan)] == ["one of 2 zones gone"]


@pytest.mark.parametrize(
    ("survival", "per_device", "devices"),
    [
        (Survival(), 1, 3),  # 250 rps on 100 rps each
        (Survival(spare=1), 1, 4),
        (Survival(zones=3), 1, 5),  # 5 lose 2; 4 would lose 2 as well
        (Survival(zones=2), 1, 6),
        (Survival(unavailable_share=0.5), 1, 5),  # 5 lose 2
        (Survival(), 2, 2),
        (Survival(spare=1), 2, 2),
        (Survival(zones=2), 4, 2),
    ],
)
def test_fewest_devices_by_hand(survival: Survival, per_device: int, devices: int) -> None:
    alone = measured([1.0] * per_device)
    profile = replace(PROFILE, instances_per_device=per_device, contention=alone)
    question = question_of(profiles=(profile,), survival=survival)
    assert question.space.devices_min(question, question.families[0], 1) == devices


@laws_hold
@given(
    st.floats(0.5, 3000.0),
    st.sampled_from([1, 2, 8]),
    st.integers(1, 5),
    st.integers(0, 3),
    st.none() | st.integers(2, 5),
    st.none() | st.floats(0.01, 0.95),
)
def test_fewest_devices_against_counting(rate_rps, size, per_device, spare, zones, share) -> None:
    survival = Survival(spare=spare, zones=zones, unavailable_share=share)
    alone = measured([1.0] * per_device)
    profile = replace(PROFILE, instances_per_device=per_device, contention=alone)
    question = question_of(rate_rps, profiles=(profile,), survival=survival)
    found = question.space.devices_min(question, question.families[0], size)

    def is_stable(devices: int) -> bool:
        return rate_rps < survival.left(devices * per_device, per_device) * profile.throughput_rps(size)

    assert is_stable(found)
    assert not any(is_stable(devices) for devices in range(max(1, found - 20), found))


def test_queues_that_end_somewhere_need_one_replica_that_is_left() -> None:
    users = question_of(workload=ClosedPopulation(users=5))
    assert users.space.devices_min(users, users.families[0], 1) == 1
    many = question_of(workload=ClosedPopulation(users=500))
    assert many.space.devices_min(many, many.families[0], 1) > 1  # by the response time law
    means = Objective.of(response_mean=1.0)  # which any loss leaves as it is
    limited = question_of(1e6, queue_limit=0, survival=Survival(spare=2), objective=means)
    assert limited.space.devices_min(limited, limited.families[0], 1) == 3


def test_queues_with_a_limit_need_what_serves_all_but_a_permitted_loss() -> None:
    """100 rps each, and P99 leaves 1 %: of 1000 rps 990 are 10 replicas, of 910 901, and of 909 900 are 9."""
    for rate_rps, replicas in ((1000.0, 10), (910.0, 10), (909.0, 9), (100.0, 1)):
        limited = question_of(rate_rps, queue_limit=0)
        assert limited.space.devices_min(limited, limited.families[0], 1) == replicas


def test_most_devices_are_whole_ones() -> None:
    question = question_of(replicas_max=10)
    family = Family(profile=replace(PROFILE, instances_per_device=4), routing=Routing.RANDOM)
    assert question.devices_max(family) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"profiles": ()}, "a question needs at least one profile and one routing"),
        ({"routings": ()}, "a question needs at least one profile and one routing"),
        ({"batch_waits_s": ()}, "a question needs at least one batch wait"),
        ({"profiles": (PROFILE, PROFILE)}, "profile p is given twice; rename or drop one"),
        (
            {"profiles": (PROFILE, profile_of("q"))},
            "profile q has no price and cannot be compared by cost with the others; give "
            "--hourly-usd q=0.50, or plan for one profile at a time",
        ),
        ({"objective": Objective.of(loss=0.01)}, "a loss limit needs a queue limit; give --queue-limit too"),
    ],
)  # fmt: skip
def test_a_question_without_an_answer_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        question_of(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"replicas_max": 0}, "replicas_max must be from 1 to 1000000, got 0"),
        ({"replicas_max": 1_000_001}, "replicas_max must be from 1 to 1000000, got 1000001"),
        ({"batch_size_limit": 0}, "batch_size_max must be >= 1, got 0"),
        ({"replicas_min": 0}, "replicas_min must be from 1 to replicas_max, 1024, got 0"),
        ({"replicas_min": 8, "replicas_max": 7}, "replicas_min must be from 1 to replicas_max, 7, got 8"),
        ({"batch_waits_s": (0.1, -0.1)}, "batch_waits_s must not be negative"),
        ({"preferred_sizes": (9,)}, "preferred size 9 is above the largest batch of p, 8; leave it out"),
        ({"preferred_sizes": (4,), "batch_size_limit": 2}, "preferred size 4 is above the largest batch of p, 2"),
    ],
)  # fmt: skip
def test_a_limit_out_of_range_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        question_of(**fields)


def test_the_ends_of_each_range_are_accepted() -> None:
    assert question_of(replicas_max=1_000_000, replicas_min=1_000_000).replicas_min == 1_000_000
    assert question_of(batch_size_limit=1, batch_waits_s=(0.0,)).space.sizes(PROFILE) == (1,)
    assert question_of(preferred_sizes=(8,)).space.sizes(PROFILE) == (8,)


def test_batch_sizes_are_the_measured_ones_within_the_range() -> None:
    assert question_of().space.sizes(PROFILE) == (1, 2, 8)
    assert question_of(batch_size_limit=4).space.sizes(PROFILE) == (1, 2, 4)
    assert question_of(batch_size_limit=2).space.sizes(PROFILE) == (1, 2)
    assert question_of(batch_size_min=2).space.sizes(PROFILE) == (2, 8)
    assert question_of(preferred_sizes=(2, 4)).space.sizes(PROFILE) == (8,)
    assert question_of(preferred_sizes=(1, 2)).space.sizes(PROFILE) == (2, 8)


def test_the_fewest_devices_hold_the_fewest_replicas() -> None:
    """Seven replicas, and two of them a device."""
    question = question_of(replicas_min=7)
    assert question.space.devices_min(question, question.families[0], 1) == 7
    pairs = question_of(
        profiles=(replace(PROFILE, instances_per_device=2, contention=measured([1.0, 1.0])),), replicas_min=7
    )
    assert pairs.space.devices_min(pairs, pairs.families[0], 1) == 4


def test_a_question_about_one_plan_keeps_the_other_fields() -> None:
    other = profile_of("q", hourly_usd=0.7)
    question = question_of(
        profiles=(PROFILE, other), routings=(Routing.RANDOM, Routing.ROUND_ROBIN), batch_waits_s=None
    )
    plan = BatchPlan(
        profile="q",
        replicas=5,
        batch_size_max=2,
        batch_wait_max_s=0.01,
        routing=Routing.ROUND_ROBIN,
        queue_limit=9,
    )
    about = question.for_plan(plan)
    assert about == varied(
        question,
        profiles=(other,),
        routings=(Routing.ROUND_ROBIN,),
        batch_size_min=2,
        batch_size_limit=2,
        batch_waits_s=(0.01,),
        queue_limit=9,
        replicas_min=5,
    )
    assert about.space.sizes(other) == (2,)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"confidence": 0.49}, "--confidence must be from 0.5 to below 1"),
        ({"confidence": 1.0}, "--confidence must be from 0.5 to below 1"),
        ({"precision": 0.0}, "--precision must be within (0, 1)"),
        ({"precision": 1.0}, "--precision must be within (0, 1)"),
        ({"requests_max": 0}, "--requests-max must be >= 1, got 0"),
        ({"requests_max": 10**30 + 1}, "--requests-max must be at most 1e+30; 100000000 is usual"),
        ({"seed": -1}, "--seed must be >= 0, got -1"),
    ],
)
def test_an_effort_has_limits(fields: dict[str, float], said: str) -> None:
    with pytest.raises(InputError) as refused:
        Effort(**fields)
    assert str(refused.value).startswith(said)
    Effort(confidence=0.5, precision=0.999, requests_max=10**30, seed=0)
    Effort(confidence=0.999, precision=0.001, requests_max=1)


def test_one_profile_needs_no_price() -> None:
    question = question_of(profiles=(profile_of("q"),))
    assert question.families[0].cost(7) == 7.0
