"""Each caveat is given where it holds, and not where it does not."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from questions import batch_question

from capacity.performance import Interval, Kind, Performance, Width
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.profile.sampling import FloorDoubt
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.candidate import Candidate, Doubt, LikeIt, Rejection, Verdict
from capacity.question.caveat import CaveatCode, in_order
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.search.batches import BatchTheory
from capacity.search.caveats import (
    headroom_caveats,
    mean_caveats,
    routing_caveats,
    search_caveats,
    trace_caveats,
    with_implausible,
)
from capacity.search.recommendation import Floors, Headroom, Recommendation
from capacity.server.batch.batching import Batching
from capacity.server.batch.caveats import (
    autoscale_caveats,
    batching_caveats,
    interval_caveats,
    plausibility_caveats,
    profile_caveats,
    size_caveats,
)
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import PoissonArrivals, TraceArrivals, Workload
from capacity.units import format_count

FLOOR = FloorDoubt(
    batch_size=1,
    samples=100,
    batches_missing=300.0,
    floor_s=Interval(value=0.1, low=0.05, high=0.2),
    limit_s=0.12,
)
FULL = BatchTiming(batch_size=1, mean_s=0.003, p50_s=0.003, p99_s=0.0032)
MANY = BatchTiming(batch_size=1, samples_s=tuple(0.003 + 1e-6 * i for i in range(1000)))


def codes(timing: BatchTiming, quantile: float = 0.99, **fields) -> set[CaveatCode]:
    timings = (timing, replace(timing, batch_size=2))  # of one size more would be said
    profile = ServiceProfile(name="p", timings=timings, **fields)
    return {caveat.code for caveat in profile_caveats(profile, 1, [0.5, quantile])}


def messages(profile: ServiceProfile, quantile: float, code: CaveatCode) -> list[str]:
    return [one.message for one in profile_caveats(profile, 1, [quantile]) if one.code is code]


def test_a_full_set_of_samples_leaves_nothing_open():
    assert codes(MANY) == set()


def test_a_summary_has_an_unknown_error():
    assert codes(FULL) == {CaveatCode.PROFILE_ERROR_UNKNOWN}


@pytest.mark.parametrize(
    ("given", "absent", "code"),
    [
        (codes(BatchTiming(batch_size=1, mean_s=0.003)), codes(FULL), CaveatCode.PROFILE_NO_SPREAD),
        (codes(FULL, quantile=0.999), codes(FULL), CaveatCode.PROFILE_PERCENTILE_MISSING),
        (
            codes(BatchTiming(batch_size=1, mean_s=0.01105, p95_s=0.011, p99_s=0.0111)),
            codes(FULL),
            CaveatCode.PROFILE_TAIL_STRETCHED,
        ),
        (codes(BatchTiming(batch_size=1, samples_s=(0.003,) * 999)), codes(MANY), CaveatCode.PROFILE_FEW_SAMPLES),
        (codes(FULL, source={"excludes": "network"}), codes(FULL), CaveatCode.PROFILE_EXCLUDES),
        (codes(FULL, instances_per_device=2), codes(FULL), CaveatCode.DEVICE_SHARED),
    ],
    ids=lambda value: value if isinstance(value, CaveatCode) else "",
)  # fmt: skip
def test_given_where_it_holds_and_only_there(given, absent, code):
    assert code in given
    assert code not in absent


@pytest.mark.parametrize(("quantile", "column"), [(0.9, "p90_ms"), (0.93, "p95_ms"), (0.99, "p99_ms")])
def test_the_percentile_that_is_asked_for_is_one_that_a_file_may_have(quantile, column):
    low = BatchTiming(batch_size=1, mean_s=0.003, p50_s=0.003)
    profile = ServiceProfile(name="p", timings=(low,))
    (message,) = messages(profile, quantile, CaveatCode.PROFILE_PERCENTILE_MISSING)
    assert f"give {column} or raw samples" in message
    mended = replace(low, **{f"{column.removesuffix('_ms')}_s": 0.0031})
    assert CaveatCode.PROFILE_PERCENTILE_MISSING not in codes(mended, quantile)


def test_beyond_the_percentiles_of_a_file_only_samples_help():
    (message,) = messages(
        ServiceProfile(name="p", timings=(FULL,)), 0.999, CaveatCode.PROFILE_PERCENTILE_MISSING
    )
    assert "give raw samples" in message
    assert "_ms" not in message  # no summary has a column for it
    samples = replace(MANY, samples_s=MANY.samples_s * 10)
    assert codes(samples, 0.999) == set()


def test_what_a_profile_leaves_out_is_told_until_it_is_added():
    left_out = {"source": {"excludes": "network"}}
    assert CaveatCode.PROFILE_EXCLUDES in codes(FULL, **left_out)
    assert CaveatCode.PROFILE_EXCLUDES not in codes(FULL, **left_out, request_overhead_s=0.005)


def test_few_samples_name_the_flag_that_gives_as_many_as_it_takes():
    profile = ServiceProfile(name="p", timings=(replace(MANY, samples_s=MANY.samples_s[:300]),))
    (message,) = messages(profile, 0.99, CaveatCode.PROFILE_FEW_SAMPLES)
    assert "300 samples of batch size 1" in message
    assert "capacity profile --samples 1000" in message


def test_only_the_batch_sizes_that_a_plan_can_use_are_spoken_of():
    bare = BatchTiming(batch_size=64, mean_s=0.05)
    profile = ServiceProfile(name="p", timings=(FULL, bare))
    small = {caveat.code for caveat in profile_caveats(profile, 1, [0.99])}
    large = {caveat.code for caveat in profile_caveats(profile, 64, [0.99])}
    assert CaveatCode.PROFILE_NO_SPREAD in large
    assert CaveatCode.PROFILE_NO_SPREAD not in small


@pytest.mark.parametrize(("size", "is_told"), [(5, True), (6, False), (7, False)])
def test_a_caveat_is_about_sizes_below_twice_the_largest_batch(size, is_told):
    """The largest batch is 3; a size below 6 may be the next node of its interpolation."""
    profile = ServiceProfile(name="p", timings=(FULL, BatchTiming(batch_size=size, mean_s=0.05)))
    plan = BatchPlan(profile="p", replicas=2, batch_size_max=3)
    for told in (autoscale_caveats(profile, plan, None), profile_caveats(profile, 3, [0.99])):
        assert (CaveatCode.PROFILE_NO_SPREAD in {caveat.code for caveat in told}) is is_told


def test_a_trace_happened_once():
    trace = TraceArrivals(instants_s=(0.0, 1.0))
    assert [c.code for c in trace_caveats(Workload(arrival_rate_rps=1.0, arrivals=trace))] == [
        CaveatCode.TRACE_ONE_PATH
    ]
    told = replace(trace, remarks=("it was sorted",))
    path, remark = trace_caveats(Workload(arrival_rate_rps=1.0, arrivals=told))
    assert (path.code, remark.code) == (CaveatCode.TRACE_ONE_PATH, CaveatCode.TRACE_READING)
    assert remark.message == "it was sorted"
    poisson = Workload(arrival_rate_rps=1.0, arrivals=PoissonArrivals())
    assert list(trace_caveats(poisson)) == []


def test_a_fleet_that_follows_its_load_is_told_what_its_profile_leaves_open_of_p99():
    timings = (
        BatchTiming(batch_size=1, samples_s=(0.003,)),
        BatchTiming(batch_size=2, mean_s=0.004, p95_s=0.005),
    )
    profile = ServiceProfile(name="p", timings=timings)
    plan = BatchPlan(profile="p", replicas=2, batch_size_max=2)
    told = {one.code: one.message for one in autoscale_caveats(profile, plan, None)}
    assert "so P99 of the service time is unknown" in told[CaveatCode.PROFILE_ONE_SAMPLE]
    assert "no percentile as high as P99" in told[CaveatCode.PROFILE_PERCENTILE_MISSING]


@pytest.mark.parametrize(
    ("size_max", "metric", "is_told"),
    [
        (2, Metric.UTILIZATION, True),
        (1, Metric.UTILIZATION, False),
        (2, Metric.CONCURRENCY, False),
        (2, None, False),
    ],
)
def test_batches_make_utilization_say_more_than_the_load(size_max, metric, is_told):
    level = 0.5 if metric is Metric.UTILIZATION else 2.0
    scaler = metric and Autoscaler(target=Target(metric=metric, level=level), replicas_max=3)
    profile = ServiceProfile(name="p", timings=(FULL, replace(FULL, batch_size=2)))
    plan = BatchPlan(profile="p", replicas=2, batch_size_max=size_max)
    expected = [CaveatCode.UTILIZATION_OF_BATCHES] * is_told + [CaveatCode.PROFILE_ERROR_LEFT_OUT]
    assert [one.code for one in autoscale_caveats(profile, plan, scaler)] == expected


def test_open_rates_are_told_where_more_than_10_percent_lie_between():
    """Or a quarter of the growth, which of a rate that is many times today's is more."""

    def told(refused_rps: float, doubt: Doubt | None, today_rps: float = 180.0) -> list[CaveatCode]:
        headroom = Headroom(today_rps=today_rps, accepted_rps=200.0, refused_rps=refused_rps, doubt=doubt)
        return [one.code for one in headroom_caveats(headroom, BatchTheory())]

    assert told(221.0, Doubt.REQUESTS) == [CaveatCode.HEADROOM_IN_DOUBT]
    assert told(219.0, Doubt.REQUESTS) == []
    assert told(221.0, None) == []
    assert told(244.0, Doubt.REQUESTS, 20.0) == []
    assert told(248.0, Doubt.REQUESTS, 20.0) == [CaveatCode.HEADROOM_IN_DOUBT]


def test_what_servers_do_without_a_wait_is_told():
    def told(**changes) -> list[str]:
        return [
            one.message
            for one in batching_caveats(BatchPlan(profile="p", replicas=1, batch_size_max=8, **changes))
        ]

    (torchserve,) = told(batching=Batching.TORCHSERVE)
    assert "takes 2 requests at most into a batch, and up to 8 were evaluated" in torchserve
    (triton,) = told(preferred_sizes=(4,))
    assert "at the first preferred size that it comes to while all instances are busy, 4," in triton
    assert told() == told(preferred_sizes=(8,)) == told(batching=Batching.RAY_SERVE) == []
    assert told(batching=Batching.TORCHSERVE, batch_wait_max_s=0.001) == []
    assert told(preferred_sizes=(4,), batch_wait_max_s=0.001) == []


def told_of_sizes(timings: dict[int, BatchTiming], **changes: Any) -> list[str]:
    plan = BatchPlan(**{"profile": "p", "replicas": 1, "batch_size_max": 8} | changes)
    return [
        one.message for one in size_caveats(ServiceProfile(name="p", timings=tuple(timings.values())), plan)
    ]


def test_a_smaller_batch_that_serves_clearly_more_is_named():
    """Batches of 4 take 10 ms; of 8 a fifth less a second than those, and then 4 % less, which is no matter."""

    def told(largest_s: float, **changes: Any) -> list[str]:
        means_s = {1: 0.004, 4: 0.010, 8: largest_s}
        timings = {size: BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items()}
        return told_of_sizes(timings, **changes)

    fewer = "% fewer requests a second than with batches of 4; try --batch-size-max 4"
    assert told(0.025) == [f"with full batches of 8 a replica serves 20 {fewer}"]
    assert told(0.020 / 0.96) == told(0.025, batch_size_max=4) == told(0.016) == []
    # Between the sizes it is the straight line that counts.
    assert told(0.025, batch_size_max=6) == [f"with full batches of 6 a replica serves 14 {fewer}"]
    assert told(0.025, batch_size_max=9) == []  # which is refused
    assert told(0.025, batching=Batching.RAY_SERVE) == []  # whose batches need not be full
    assert told(0.025, preferred_sizes=(8,)) == []  # which a smaller one would not allow
    assert told(0.025, preferred_sizes=(4,)) != []


@pytest.mark.parametrize(("spread", "is_told"), [(0.1, True), (1.0, False)])
def test_a_smaller_batch_that_serves_more_by_chance_is_not_named(spread: float, is_told: bool) -> None:
    """Means of a hundred samples with a standard deviation of 6 % or 58 %, a fifth apart a request."""
    even = [1.0 + spread * (2.0 * ((37 * n) % 100 + 0.5) / 100.0 - 1.0) for n in range(100)]
    means_s = {4: 0.010, 8: 0.025}
    timings = {
        size: BatchTiming(batch_size=size, samples_s=tuple(mean_s * one for one in even))
        for size, mean_s in means_s.items()
    }
    assert (told_of_sizes(timings) != []) is is_told


def test_every_message_names_its_mend():
    profile = ServiceProfile(
        name="p",
        timings=(BatchTiming(batch_size=1, mean_s=0.003),),
        source={"excludes": "network"},
        instances_per_device=2,
    )
    for caveat in profile_caveats(profile, 1, [0.99]):
        assert any(word in caveat.message for word in ("measure", "add it with", "would include")), caveat


def test_the_widths_and_the_batches_that_are_missing_are_those_by_hand():
    """Three times as wide as asked: nine times the fewest samples, of which there is one time."""
    timings = (replace(MANY, samples_s=MANY.samples_s[:50]), replace(MANY, batch_size=2))
    profile = ServiceProfile(name="p", timings=timings)
    wide = Width(found=0.03, simulated=0.01, samples_times=9.0)
    (one,) = interval_caveats(profile, wide, 0.01)
    assert one.message == (
        "the interval is 3 % wide to a side, and 1 % was asked; no simulation narrows it, since it comes from "
        "the few samples of the profile; measure about 400 more batches of each size"
    )
    summaries = ServiceProfile(name="p", timings=(FULL,))
    (two,) = interval_caveats(summaries, replace(wide, samples_times=None), 0.01)
    assert two.message.endswith("the budget is used up; raise --requests-max")


def test_means_are_of_the_served_where_any_are_rejected():
    def told(objective: Objective | None = None, **fields) -> list[str]:
        objective = objective or Objective()
        return [one.message for one in mean_caveats(Performance(kind=Kind.SIMULATION, **fields), objective)]

    for counted in (Objective.of(loss=0.05), Objective.of(response={0.9: 0.2})):
        (message,) = told(counted, loss_probability=0.0123, response_mean_s=0.1)
        assert (
            message == "means leave out the 1.23 % of requests that are rejected"
        )  # before: give --loss-max
    (message,) = told(loss_probability=0.0123, response_mean_s=0.1)
    assert message.startswith("means leave out the 1.23 % of requests that are rejected;")
    assert told(loss_probability=0.0123) == []  # none was served, and there is no mean
    assert told(loss_probability=0.0, response_mean_s=0.1) == told(response_mean_s=0.1) == []


@pytest.mark.parametrize(
    ("number", "told"), [(1234.5, "1200"), (1250.1, "1300"), (0.2, "1"), (-3.0, "1"), (1.4, "1.4")]
)
def test_numbers_of_things_have_two_digits(number, told):
    assert format_count(number) == f"{float(told):.0f}"


def in_doubt(found: Interval | None, allowed: float = 0.1, **fields) -> Candidate:
    promise = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=allowed)
    quantiles = {} if found is None else {0.99: found}
    given = {
        "plan": BatchPlan(profile="p", replicas=1, batch_size_max=1),
        "verdict": Verdict.INCONCLUSIVE,
        "rejection": Rejection.of(promise, 0.2),
        "performance": Performance(kind=Kind.SIMULATION, response_quantiles_s=quantiles),
    }
    return Candidate(**(given | fields))


def _no(_: BatchPlan) -> bool:
    return False


def search_of(*profiles: ServiceProfile, considered: tuple[Candidate, ...] = (), **fields) -> SimpleNamespace:
    """What the caveats of a search look at."""
    question = batch_question(
        profiles=profiles,
        workload=Workload(arrival_rate_rps=1.0),
        objective=Objective.of(response={0.99: 0.1}),
    )
    untried = {"fleets_untried": 0, "fleets_between": 0, "is_put_off": _no, "is_outdone": _no}
    given = {"floors": Floors(), "theory": BatchTheory(), **untried}
    return SimpleNamespace(question=question, considered=considered, **(given | fields))


def cheaper(replicas: int, doubt: Doubt | None = None, profile: str = "p", size: int = 1) -> Candidate:
    plan = BatchPlan(profile=profile, replicas=replicas, batch_size_max=size)
    return in_doubt(None, plan=plan, doubt=doubt)


def test_cheaper_fleets_in_doubt_are_named_up_to_three_and_then_counted():
    sampled = ServiceProfile(name="p", timings=(MANY,))
    chosen = cheaper(9)
    told = [
        one.message
        for one in search_caveats(search_of(sampled, considered=(cheaper(9), cheaper(10))), chosen)
    ]
    assert told == []
    three = (cheaper(1), cheaper(2, Doubt.MARGIN), cheaper(3, size=2), cheaper(3, size=1))
    told = [one.message for one in search_caveats(search_of(sampled, considered=three), chosen)]
    ending = "cheaper and undecided;"
    assert told == [
        f"a fleet of 1 with batches up to 1 is {ending} raise --requests-max",
        f"a fleet of 2 with batches up to 1 is {ending} measure more batches of each size for the profile and "
        "lower --precision to separate it from its limit",
        f"a fleet of 3 with batches up to 1 or 2 is {ending} raise --requests-max",
    ]
    four = (*three, cheaper(5, Doubt.PROFILE))
    (message,) = [one.message for one in search_caveats(search_of(sampled, considered=four), chosen)]
    assert message.startswith(f"4 fleets, of 1 to 5 replicas, are {ending} raise --requests-max, and measure")
    assert message.endswith(", and measure more batches of each size for the profile")
    accepted = replace(cheaper(1), verdict=Verdict.MET)
    assert list(search_caveats(search_of(sampled, considered=(accepted,)), chosen)) == []
    assert list(search_caveats(search_of(sampled, considered=three), None)) == []


def test_of_several_profiles_a_fleet_is_named_by_its_own():
    summary, other = (ServiceProfile(name=name, timings=(FULL,), hourly_usd=1.0) for name in "pq")
    search = search_of(summary, other, considered=(cheaper(2, Doubt.MARGIN, profile="q"),))
    (one,) = search_caveats(search, cheaper(3))
    assert one.message == (
        "a fleet of 2 of q with batches up to 1 is cheaper and undecided; "
        "lower --precision to separate it from its limit"
    )


def test_a_doubt_of_the_profile_counts_the_batches_up_to_a_million():
    sampled = ServiceProfile(name="p", timings=(replace(MANY, samples_s=MANY.samples_s[:50]),))

    def told(times: float) -> str:
        found = Interval(value=0.05, low=0.01, high=0.2)
        doubtful = in_doubt(found, doubt=Doubt.PROFILE, samples_times=times)
        search = search_of(sampled, considered=(doubtful,))
        (caveat,) = search_caveats(search, cheaper(2))
        return caveat.message.partition("; ")[2]

    assert told(9.0) == "measure about 400 more batches of each size for the profile"
    assert told(math.inf) == "measure more batches of each size for the profile"


def test_doubts_of_a_profile_that_several_fleets_have_take_one_number_of_batches_the_largest():
    sampled = ServiceProfile(name="p", timings=(replace(MANY, samples_s=MANY.samples_s[:50]),))
    found = Interval(value=0.05, low=0.01, high=0.2)
    doubtful = tuple(
        in_doubt(
            found,
            doubt=Doubt.PROFILE,
            samples_times=times,
            plan=replace(cheaper(1).plan, batch_size_max=size),
        )
        for size, times in ((1, 3.0), (2, 9.0), (4, math.inf), (8, 5.0))
    )
    (caveat,) = search_caveats(search_of(sampled, considered=doubtful), cheaper(2))
    assert caveat.message.partition("; ")[2] == "measure about 400 more batches of each size for the profile"


def test_what_the_budget_left_out_is_named():
    profile = ServiceProfile(name="p", timings=(FULL,))
    one, last = search_caveats(search_of(profile, fleets_untried=7, fleets_between=8), None)
    assert one.message == (
        "7 fleets that may be cheaper were not tried because the budget that all share ran out; ask about fewer, "
        "with one --profile, --routing or --batch-wait, or a smaller --batch-size-max"
    )
    assert last.message.startswith(
        "8 cheaper fleets whose batches wait, or may be slower than larger ones, lie between"
    )
    assert one.code is last.code is CaveatCode.FLEETS_UNTRIED


def test_a_fleet_that_was_put_off_is_settled_by_asking_about_fewer():
    """A larger budget for one plan would not help: the budget of all of them is what ended."""
    profile = ServiceProfile(name="p", timings=(FULL,))
    put_off = cheaper(1, Doubt.REQUESTS)
    search = search_of(profile, considered=(put_off,), is_put_off=lambda plan: plan == put_off.plan)
    (caveat,) = search_caveats(search, cheaper(2))
    assert "is cheaper and undecided; ask about fewer, with one --profile" in caveat.message


def test_a_floor_in_doubt_names_its_batches_or_another_limit():
    def told(batches_missing: float, high_s: float = 0.2) -> str:
        known_to = 0.15 if math.isinf(high_s) else None
        doubt = FloorDoubt(
            batch_size=4,
            samples=100,
            batches_missing=batches_missing,
            floor_s=Interval(value=0.1, low=0.05, high=high_s, known_to=known_to),
            limit_s=0.12,
        )
        search = search_of(ServiceProfile(name="p", timings=(FULL,)), floors=Floors(doubts={("p", 4): doubt}))
        (caveat,) = search_caveats(search, None)
        assert caveat.code is CaveatCode.FLOOR_IN_DOUBT
        return caveat.message

    assert told(300.0) == (
        "p: the service time itself, from 100 samples of batch size 4, is 50 ms to 200 ms at that quantile, on "
        "both sides of 120 ms, and no number of replicas makes it shorter; measure about 300 more batches of "
        "size 4, or choose another limit"
    )
    assert told(math.inf).endswith("no number of replicas makes it shorter; choose a limit above 200 ms")
    assert "is at least 50 ms at that quantile, and not known above 150 ms, which leaves 120 ms open" in told(
        300.0, math.inf
    )


def test_what_is_told_of_profiles_that_the_plan_does_not_have_is_marked():
    """Without a plan all profiles matter alike."""
    times = {"own": 0.01, "other": 100.0}
    profiles = tuple(
        ServiceProfile(
            name=name,
            timings=(BatchTiming(batch_size=1, mean_s=mean_s),),
            timings_column="mean_s",
            hourly_usd=1.0,
        )
        for name, mean_s in times.items()
    )
    question = batch_question(
        profiles=profiles,
        workload=Workload(arrival_rate_rps=1.0),
        objective=Objective.of(response={0.99: 1.0}),
    )
    plan = BatchPlan(profile="own", replicas=1, batch_size_max=1)
    found = Recommendation(verdict=Verdict.MET, objective=question.objective, plan=plan)
    told = with_implausible(found, question).caveats
    assert [(one.code, one.of_another_profile) for one in in_order(told)] == [
        (CaveatCode.PROFILE_ONE_SIZE, False), (CaveatCode.PROFILE_UNIT, True), (CaveatCode.PROFILE_ONE_SIZE, True)
    ]  # fmt: skip
    refused = Recommendation(verdict=Verdict.MISSED, objective=question.objective)
    assert not any(one.of_another_profile for one in with_implausible(refused, question).caveats)
    floors = Floors(doubts={(name, 1): FLOOR for name in times})
    search = search_of(*profiles, floors=floors)
    marked = [
        one.of_another_profile for one in search_caveats(search, Candidate(plan=plan, verdict=Verdict.MET))
    ]
    assert marked == [False, True]


def test_seven_sizes_are_six_and_one_more():
    def told(sizes: int) -> str:
        timings = tuple(BatchTiming(batch_size=2 + size, samples_s=(0.003 + size,)) for size in range(sizes))
        profile = ServiceProfile(name="p", timings=timings)
        return next(one.message for one in plausibility_caveats([profile], 0.9))

    assert "a single sample of batch sizes 2, 3, 4, 5, 6, 7 and 1 more, which" in told(7)
    assert "a single sample of batch sizes 2, 3, 4, 5, 6, 7, which" in told(6)
    assert "a single sample of batch size 2, which" in told(1)
    assert "measure at least 99 more batches of that size (capacity profile --samples 100)" in told(1)
    assert "measure at least 99 more batches of each (capacity profile --samples 100)" in told(2)


def test_hardly_any_headroom_is_told_in_per_cent():
    def told(accepted_rps: float) -> list[str]:
        headroom = Headroom(today_rps=200.0, accepted_rps=accepted_rps, refused_rps=accepted_rps + 1.0)
        return [one.message for one in headroom_caveats(headroom, BatchTheory())]

    (message,) = told(208.0)
    assert "meet the objective with 4 % more traffic, up to 208 rps;" in message
    assert told(210.0) == []  # 5 % and no less
    assert "meet the objective up to today's 200 rps;" in told(200.0)[0]
    assert list(headroom_caveats(None, BatchTheory())) == []


def test_one_balancer_is_doubted_from_100_replicas_on_unless_it_sees_nothing():
    def told(**fields) -> list[str]:
        return [one.message for one in routing_caveats(BatchPlan(profile="p", batch_size_max=1, **fields))]

    (message,) = told(replicas=100, routing=Routing.LEAST_OUTSTANDING)
    assert " over 100 replicas needs one balancer that sees every request;" in message
    assert told(replicas=99, routing=Routing.LEAST_OUTSTANDING) == []
    assert told(replicas=100, routing=Routing.RANDOM) == []


def test_a_trace_of_few_bursts_says_so_first():
    trace = Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 1.0)))
    promise = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.2)
    few, path = trace_caveats(trace, LikeIt(verdict=Verdict.INCONCLUSIVE, limit=promise, found=None))
    assert (few.code, path.code) == (CaveatCode.TRACE_FEW_BURSTS, CaveatCode.TRACE_ONE_PATH)
    assert few.message.startswith("only a few bursts of the trace determine its P99:")
    assert "sections" not in path.message


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (Verdict.MET, "under traffic like it is 150 (100 to 250) ms, which meets the objective too"),
        (Verdict.MISSED, "under traffic like it is 150 (100 to 250) ms, which misses P99 <= 200 ms"),
        (Verdict.INCONCLUSIVE, "like it is 150 (100 to 250) ms, and whether P99 <= 200 ms holds then is in doubt"),
        (None, "by consecutive sections P99 under traffic like it is 150 (100 to 250) ms"),
    ],
)  # fmt: skip
def test_what_traffic_like_a_trace_does_is_told_by_its_sections(verdict: Verdict | None, told: str):
    trace = Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 1.0)))
    promise = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.2)
    found = Interval(value=0.15, low=0.1, high=0.25)
    (path,) = trace_caveats(trace, LikeIt(verdict=verdict, limit=promise, found=found))
    assert told in path.message


def test_the_worst_tail_and_the_fewest_samples_are_told():
    def told(*timings: BatchTiming) -> dict[CaveatCode, str]:
        profile = ServiceProfile(name="p", timings=timings)
        return {one.code: one.message for one in profile_caveats(profile, 4, [0.99])}

    few = tuple(replace(MANY, batch_size=n, samples_s=MANY.samples_s[: 100 * n]) for n in (1, 2))
    assert (
        "there are as few as 100 samples of batch sizes 1, 2; to know P99"
        in told(*few)[CaveatCode.PROFILE_FEW_SAMPLES]
    )
    alike = tuple(replace(MANY, batch_size=n, samples_s=MANY.samples_s[:999]) for n in (1, 2))
    assert "there are only 999 samples of batch sizes 1, 2;" in told(*alike)[CaveatCode.PROFILE_FEW_SAMPLES]
    assert CaveatCode.PROFILE_FEW_SAMPLES not in told(MANY, replace(MANY, batch_size=2))


def test_a_cheaper_fleet_that_waits_behind_a_better_one_in_doubt_needs_no_mend_of_its_own() -> None:
    """What settles the better one tells more of it, too."""
    profile = ServiceProfile(name="p", timings=(FULL,))
    better, behind = cheaper(1, Doubt.MARGIN), cheaper(1, Doubt.REQUESTS, size=2)
    search = search_of(profile, considered=(better, behind), is_outdone=lambda plan: plan == behind.plan)
    (caveat,) = search_caveats(search, cheaper(2))
    assert "lower --precision" in caveat.message
    assert "--requests-max" not in caveat.message
