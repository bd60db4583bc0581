"""Each caveat is given where it holds, and not where it does not."""

from dataclasses import replace

import pytest

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Doubt
from capacity.question.caveat import CaveatCode
from capacity.question.plan import Batching, Plan
from capacity.search.caveats import (
    autoscale_caveats,
    batching_caveats,
    headroom_caveats,
    profile_caveats,
    trace_caveats,
)
from capacity.search.recommendation import Headroom
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import PoissonArrivals, TraceArrivals, Workload

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
        (
            codes(BatchTiming(batch_size=1, samples_s=(0.003,) * 999)),
            codes(MANY),
            CaveatCode.PROFILE_FEW_SAMPLES,
        ),
        (codes(FULL, source={"excludes": "network"}), codes(FULL), CaveatCode.PROFILE_EXCLUDES),
        (codes(FULL, instances_per_device=2), codes(FULL), CaveatCode.DEVICE_SHARED),
    ],
    ids=lambda value: value if isinstance(value, CaveatCode) else "",
)
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


def test_a_trace_happened_once():
    trace = TraceArrivals(instants_s=(0.0, 1.0))
    assert [c.code for c in trace_caveats(Workload(arrival_rate_rps=1.0, arrivals=trace), [0.99])] == [
        CaveatCode.TRACE_ONE_PATH
    ]
    told = replace(trace, remarks=("it was sorted",))
    path, remark = trace_caveats(Workload(arrival_rate_rps=1.0, arrivals=told), [0.99])
    assert (path.code, remark.code) == (CaveatCode.TRACE_ONE_PATH, CaveatCode.TRACE_READING)
    assert remark.message == "it was sorted"
    poisson = Workload(arrival_rate_rps=1.0, arrivals=PoissonArrivals())
    assert list(trace_caveats(poisson, [0.99])) == []


def test_a_fleet_that_follows_its_load_is_told_what_its_profile_leaves_open_of_p99():
    timings = (
        BatchTiming(batch_size=1, samples_s=(0.003,)),
        BatchTiming(batch_size=2, mean_s=0.004, p95_s=0.005),
    )
    fleet = ScaledFleet(
        profile=ServiceProfile(name="p", timings=timings),
        plan=Plan(profile="p", replicas=2, batch_size_max=2),
        autoscaler=None,
        curve=DailyCurve(times_s=(0.0,), rates_rps=(25.0,)),
        response_p99_s=0.5,
    )
    told = {one.code: one.message for one in autoscale_caveats(fleet)}
    assert "so P99 of the service time is unknown" in told[CaveatCode.PROFILE_ONE_SAMPLE]
    assert "no percentile as high as P99" in told[CaveatCode.PROFILE_PERCENTILE_MISSING]


def test_open_rates_are_told_where_more_than_2_percent_lie_between():
    def told(refused_rps: float, doubt: Doubt | None) -> list[CaveatCode]:
        headroom = Headroom(today_rps=100.0, accepted_rps=200.0, refused_rps=refused_rps, doubt=doubt)
        return [one.code for one in headroom_caveats(headroom)]

    assert told(205.0, Doubt.REQUESTS) == [CaveatCode.HEADROOM_IN_DOUBT]
    assert told(203.0, Doubt.REQUESTS) == []
    assert told(205.0, None) == []


def test_what_servers_do_without_a_wait_is_told():
    def told(**changes) -> list[str]:
        return [
            one.message
            for one in batching_caveats(Plan(profile="p", replicas=1, batch_size_max=8, **changes))
        ]

    (torchserve,) = told(batching=Batching.TORCHSERVE)
    assert "takes 2 requests at most into a batch, and up to 8 were evaluated" in torchserve
    (triton,) = told(preferred_sizes=(4,))
    assert "at the first preferred size that it comes to while all instances are busy, 4," in triton
    assert told() == told(preferred_sizes=(8,)) == told(batching=Batching.RAY_SERVE) == []
    assert told(batching=Batching.TORCHSERVE, batch_wait_max_s=0.001) == []
    assert told(preferred_sizes=(4,), batch_wait_max_s=0.001) == []


def test_every_message_names_its_mend():
    profile = ServiceProfile(
        name="p",
        timings=(BatchTiming(batch_size=1, mean_s=0.003),),
        source={"excludes": "network"},
        instances_per_device=2,
    )
    for caveat in profile_caveats(profile, 1, [0.99]):
        assert any(word in caveat.message for word in ("measure", "add it with", "would include")), caveat
