"""Checks of a load test: each on figures that obey its law, and on figures that do not."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capacity.evidence.audit import audit_findings, check_run
from capacity.evidence.finding import Belief, CheckFinding, verdict_of
from capacity.evidence.inferences import implied_batch
from capacity.evidence.percentiles import averaged
from capacity.formats.load_test import Floats, Histogram, LoadRun, LoadTest, Loop, Moment, Samples
from capacity.formats.locust_csv import bucket_s
from capacity.performance import Interval

MS = 1e-3


def exactly(**values_ms: float) -> dict[float, Interval]:
    """p50=10 is {0.5: 10 ms}."""
    return {
        float(name[1:].replace("_", ".")) / 100.0: Interval.exact(MS * x) for name, x in values_ms.items()
    }


def run_of(**others: Any) -> LoadRun:
    usual = {
        "name": "run",
        "loop": Loop.CLOSED,
        "users": 4.0,
        "throughput_rps": 100.0,
        "duration_s": 100.0,
        "succeeded": 10_000,
        "failed": 0,
        "mean_s": 40 * MS,
        "min_s": 20 * MS,
        "max_s": 120 * MS,
        "quantiles_s": exactly(p50=38, p90=50, p99=70),
    }
    return LoadRun(**{**usual, **others})


def found(check: str, **others: Any) -> CheckFinding:
    (one,) = [one for one in check_run(run_of(**others)) if one.check == check]
    return one


def test_a_rate_of_none_is_no_rate_to_judge_by() -> None:
    """Locust writes 0.0 where all requests of an endpoint have one stamp."""
    assert "littles-law" not in {one.check for one in check_run(run_of(throughput_rps=0.0))}


def test_a_sound_run_holds_in_all() -> None:
    findings = check_run(run_of())
    assert verdict_of(findings) is Belief.HOLDS
    assert {one.check for one in findings} >= {"loop", "littles-law", "failures", "samples", "percentiles"}


@pytest.mark.parametrize(
    ("others", "belief", "words"),
    [
        ({}, Belief.HOLDS, "= 4 requests in flight, as many as there are users (4)"),
        ({"mean_s": 20 * MS}, Belief.HOLDS, "each rests 20 ms between requests"),
        ({"mean_s": 20 * MS, "think_time_s": 18 * MS}, Belief.HOLDS, "rests 20 ms between requests and thinks 18 ms"),
        ({"mean_s": 20 * MS, "think_time_s": 0.0}, Belief.DOUBTFUL, "rests 20 ms between requests and thinks 0 s"),
        ({"mean_s": 5 * MS, "think_time_s": 1 * MS}, Belief.DOUBTFUL, "each rests 35 ms"),
        ({"mean_s": 60 * MS}, Belief.BROKEN, "= 6 requests in flight, but each of 4 users can have one"),
        ({"throughput_rps": 1600.0}, Belief.BROKEN, "64 requests in flight"),
        ({"throughput_rps": 1600.0, "counts_inferences": True}, Belief.DOUBTFUL, "64 requests in flight"),
        ({"users": None}, Belief.UNKNOWN, "how many could be is not said"),
        ({"loop": Loop.OPEN}, Belief.HOLDS, "of 4 that may be"),
    ],
)  # fmt: skip
def test_littles_law(others: dict[str, Any], belief: Belief, words: str) -> None:
    one = found("littles-law", **others)
    assert (one.belief, words in one.message) == (belief, True), one.message


def test_a_generator_that_is_the_bottleneck_is_found_by_the_think_time() -> None:
    """A run of Locust with 400 users who think 100 ms, whose server took 12.6 ms while Locust measured 472 ms."""
    run = {"users": 400.0, "throughput_rps": 548.2, "mean_s": 0.4721, "max_s": None, "quantiles_s": {}}
    assert found("littles-law", **run).belief is Belief.HOLDS
    one = found("littles-law", think_time_s=0.1, **run)
    assert one.belief is Belief.DOUBTFUL
    assert "158 ms of each cycle of 730 ms are the generator's own" in one.fix


def test_failed_requests_are_in_flight_too() -> None:
    """Eight users, of whose requests three in ten fail at once: the mean of the others is of other requests."""
    good, bad = np.full(700, 14e-3), np.full(300, 1e-3)
    answered = Samples.of(np.arange(1000) * 1e-3, np.concatenate([good, bad]))
    mean_s = float(answered.response_s.mean())
    rate_rps = 8.0 / mean_s
    run = {"users": 8.0, "throughput_rps": rate_rps, "mean_s": 14e-3, "succeeded": 700, "failed": 300}
    for how in ({"answered": answered}, {"answered_mean_s": mean_s}):
        one = found("littles-law", **run, **how)
        assert (one.belief, one.numbers["in_flight"]) == (Belief.HOLDS, pytest.approx(8.0))
    assert found("littles-law", **run).belief is Belief.BROKEN  # where no mean of all is known


@pytest.mark.parametrize(
    ("count", "belief", "words"),
    [
        (1000, Belief.HOLDS, "10 of 1000 requests lie beyond P99"),
        (400, Belief.HOLDS, "20 of 400 requests lie beyond P95"),
        (200, Belief.HOLDS, "10 of 200 requests lie beyond P95"),
        (199, Belief.DOUBTFUL, "199 requests have 2 beyond P99"),
    ],
)
def test_single_requests_tell_the_percentiles_that_they_are_enough_for(count, belief, words) -> None:
    samples = Samples.of(np.arange(count) * 0.01, np.full(count, 0.04))
    quantiles_s = exactly(p50=40, p95=40, p99=40)
    one = found("samples", succeeded=count, samples=samples, quantiles_s=quantiles_s)
    assert (one.belief, words in one.message) == (belief, True), one.message
    assert one.fix == ("for P99 send at least 1000" if count in (400, 200) else one.fix)


def test_what_is_dropped_when_it_is_late_is_never_late() -> None:
    one = found("coordinated-omission", loop=Loop.OPEN, dropped=0)
    assert (one.belief, "would have been dropped" in one.message) == (Belief.HOLDS, True)
    assert found("coordinated-omission", loop=Loop.OPEN, dropped=3).belief is Belief.UNKNOWN


def test_a_batch_of_the_client_is_seen_by_littles_law() -> None:
    one = found("littles-law", throughput_rps=1600.0, counts_inferences=True)
    assert "each request carries 16 inferences (-b 16)" in one.fix


@pytest.mark.parametrize(
    ("rate_rps", "counts_inferences", "words"),
    [
        (51_370.0, False, "about 1000 times too many: was a duration or a rate read in another unit, ms taken"),
        (51_370.0, True, "about 1000 times too many"),  # 1027 inferences are no client batch either
        (45_000.0, False, "about 1000 times too many"),
        (63_000.0, False, "are not of the same requests"),
        (51_370e3, False, "about 1e+06 times too many"),
        (1_600.0, False, "are not of the same requests"),
        (1_550.0, True, "if each request carried several (-b), divide it by their number"),
    ],
)  # fmt: skip
def test_a_large_factor_is_never_excused(rate_rps: float, counts_inferences: bool, words: str) -> None:
    """A mean of 1 s at 51370 rps is 1027 requests for each of 50 users."""
    others = {"users": 50.0, "mean_s": 1.0, "throughput_rps": rate_rps, "max_s": None, "quantiles_s": {}}
    one = found("littles-law", counts_inferences=counts_inferences, **others)
    assert (one.belief, words in one.fix) == (Belief.BROKEN, True), one.fix


def test_few_ratios_are_those_of_a_client_batch() -> None:
    """Of ratios between 2 and 512 that mean nothing, evenly spread by their logarithm, one in 35."""
    shares = np.geomspace(2.0, 512.0, 20_000)
    taken = sum(
        implied_batch(run_of(throughput_rps=100.0 * share, counts_inferences=True)) is not None
        for share in shares
    )
    assert taken / len(shares) == pytest.approx(2 * 0.01 / np.log(2.0), rel=0.05)


@pytest.mark.parametrize(
    ("others", "belief", "words"),
    [
        ({"rate_asked_rps": 102.0}, Belief.HOLDS, "100 rps of the 102 rps"),
        ({"rate_asked_rps": 150.0}, Belief.BROKEN, "those of the lower rate"),
        ({"rate_asked_rps": 20.0, "rate_sent_rps": 142.0}, Belief.BROKEN, "142 rps of the 20 rps"),
        ({"rate_asked_rps": 90.0}, Belief.BROKEN, "those of the higher rate"),
        ({"rate_asked_rps": 90.0, "succeeded": 400}, Belief.DOUBTFUL, "may be chance if 400 requests"),
        ({"rate_asked_rps": 110.0, "succeeded": 400}, Belief.DOUBTFUL, "may be chance if 400 requests"),
        ({"rate_asked_rps": 150.0, "rate_sent_rps": 149.0}, Belief.HOLDS, "149 rps of the 150 rps"),
        ({"dropped": 3}, Belief.BROKEN, "3 requests were never sent"),
    ],
)
def test_the_generator_must_keep_up(others: dict[str, Any], belief: Belief, words: str) -> None:
    one = found("generator", **others)
    assert (one.belief, words in one.message) == (belief, True), one.message


@pytest.mark.parametrize(
    ("failed", "belief", "words"),
    [
        (0, Belief.HOLDS, "no request of 10000 failed"),
        (1, Belief.HOLDS, "1 of 10001 requests failed"),  # a hundredth of what lies beyond P99
        (50, Belief.DOUBTFUL, "P99 is where P99.495 of the good ones is"),
        (101, Belief.DOUBTFUL, "P99.99"),
        (102, Belief.BROKEN, "P99 is not finite"),
    ],
)
def test_a_lost_request_is_a_late_request(failed: int, belief: Belief, words: str) -> None:
    one = found("failures", failed=failed)
    assert (one.belief, words in one.message) == (belief, True), one.message


@pytest.mark.parametrize(
    ("count", "belief", "words"),
    [
        (10_000, Belief.HOLDS, "100 of 10000 requests lie beyond P99"),
        # The ends are Clopper and Pearson's for 5 of 500.
        (500, Belief.DOUBTFUL, "500 requests have 5 beyond P99; it may be anything from P97.682 to P99.675"),
        (80, Belief.BROKEN, "it is the slowest request"),
    ],
)
def test_a_percentile_needs_requests_beyond_it(count: int, belief: Belief, words: str) -> None:
    one = found("samples", succeeded=count)
    assert (one.belief, words in one.message) == (belief, True), one.message
    assert count != 80 or "send at least 1000 requests" in one.fix
    more = found("samples", succeeded=count, quantiles_s=exactly(p50=38, p99=70, p99_9=90))
    assert belief is not Belief.HOLDS or more.fix == ""  # P99.9 is nobody's aim


def test_percentiles_of_invented_requests_are_not_those_of_the_run() -> None:
    one = found("samples", succeeded=400, counted=4146, is_corrected=True)
    assert one.belief is Belief.BROKEN
    assert "of 4146 durations, and 400 requests were answered" in one.message
    omission = found("coordinated-omission", succeeded=400, counted=4146, is_corrected=True)
    assert omission.belief is Belief.DOUBTFUL
    assert "4146 durations are of 400 requests" in omission.message


def test_a_tool_that_fills_in_is_never_passed_over() -> None:
    """Ten of a thousand that were added are all that lies beyond P99; two are a fifth of it."""
    few, many = (
        found("coordinated-omission", succeeded=1000, counted=1000 + more, is_corrected=True)
        for more in (2, 10)
    )
    assert (few.belief, many.belief) == (Belief.HOLDS, Belief.DOUBTFUL)
    median = {"is_corrected": True, "quantiles_s": exactly(p50=38), "succeeded": 1000}
    less, more = (found("coordinated-omission", counted=count, **median) for count in (1140, 1145))
    assert (less.belief, more.belief) == (Belief.HOLDS, Belief.DOUBTFUL)  # an eighth
    assert found("coordinated-omission", is_corrected=True, users=None).belief is Belief.UNKNOWN


@pytest.mark.parametrize(
    ("others", "belief", "words"),
    [
        ({}, Belief.HOLDS, "they rise"),
        ({"quantiles_s": exactly(p50=38, p90=30)}, Belief.BROKEN, "P90 (30 ms) lies below P50 (38 ms)"),
        ({"quantiles_s": exactly(p50=38, p99=130)}, Belief.BROKEN, "above the maximum of 120 ms"),
        ({"mean_s": 10 * MS}, Belief.BROKEN, "the mean is 10 ms"),
        ({"mean_s": 60 * MS}, Belief.BROKEN, "the mean is 60 ms"),
        (
            {"quantiles_s": {0.5: Interval.exact(38 * MS), 1.0: Interval(value=0.125, low=0.1, high=0.13)}},
            Belief.HOLDS,  # its bucket reaches down to the maximum
            "they rise",
        ),
        (
            {"quantiles_s": {0.5: Interval.exact(38 * MS), 1.0: Interval(value=0.125, low=0.121, high=0.13)}},
            Belief.BROKEN,
            "P100 of 125 ms lies above the maximum of 120 ms",
        ),
    ],
)
def test_percentiles_must_rise_and_allow_for_the_mean(others, belief, words) -> None:
    one = found("percentiles", **others)
    assert (one.belief, words in one.message) == (belief, True), one.message


@pytest.mark.parametrize(
    ("mean_ms", "others", "belief"),
    [
        # P25 of 10 ms and P75 of 40 ms: at least 0, 10 and 40 ms for a quarter, a half and a quarter of the
        # requests, which is 15 ms; at most 10, 40 and 100 ms, which is 47.5 ms.
        (15.0, {}, Belief.HOLDS),
        (14.99, {}, Belief.BROKEN),
        (47.5, {}, Belief.HOLDS),
        (47.51, {}, Belief.BROKEN),
        (14.99, {"resolution_s": 0.02 * MS}, Belief.HOLDS),
        (47.51, {"resolution_s": 0.02 * MS}, Belief.HOLDS),
        # Of a thousand requests one may be on either side of a percentile; at 100 ms it is 0.1 ms of the mean.
        (14.91, {"succeeded": 1000}, Belief.HOLDS),
        (14.89, {"succeeded": 1000}, Belief.BROKEN),
        (47.59, {"succeeded": 1000}, Belief.HOLDS),
        (47.61, {"succeeded": 1000}, Belief.BROKEN),
        (47.51, {"max_s": None}, Belief.HOLDS),
    ],
)
def test_a_mean_lies_within_the_bounds_of_its_percentiles(mean_ms, others, belief) -> None:
    given = {"mean_s": mean_ms * MS, "max_s": 100 * MS, "quantiles_s": exactly(p25=10, p75=40)}
    assert found("percentiles", **{"succeeded": None, **given, **others}).belief is belief


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_of_real_samples_always_allow_for_their_mean(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.lognormal(size=int(generator.integers(5, 400)))
    quantiles = {
        q: Interval.exact(float(np.quantile(values, q, method="higher"))) for q in (0.25, 0.5, 0.9, 0.99)
    }
    one = found(
        "percentiles",
        mean_s=values.mean(),
        min_s=values.min(),
        max_s=values.max(),
        quantiles_s=quantiles,
        succeeded=len(values),
    )
    assert one.belief is Belief.HOLDS, one.message


@pytest.mark.parametrize(
    ("interval", "belief", "words"),
    [
        (Interval(value=0.5, low=0.45, high=0.5), Belief.HOLDS, "between 450 ms and 500 ms"),
        (Interval(value=0.5, low=0.25, high=0.5), Belief.DOUBTFUL, "between 250 ms and 500 ms"),
        (Interval(value=math.inf, low=10.0, high=math.inf), Belief.BROKEN, "beyond the last bound, 10 s"),
    ],
)
def test_a_bucket_leaves_a_percentile_open(interval: Interval, belief: Belief, words: str) -> None:
    one = found("resolution", quantiles_s={0.99: interval}, max_s=None)
    assert (one.belief, words in one.message) == (belief, True), one.message


def test_a_coarse_clock_is_told() -> None:
    one = found("resolution", resolution_s=10 * MS)
    assert (one.belief, "whole multiples of 10 ms" in one.message) == (Belief.DOUBTFUL, True)


def samples_of(values_s: np.ndarray) -> Samples:
    return Samples.of(np.arange(len(values_s), dtype=float), values_s)


def test_a_cold_beginning_and_a_drift_are_told() -> None:
    steady = np.random.default_rng(1).exponential(size=4_000) * 10 * MS
    assert found("warm-up", samples=samples_of(steady)).belief is Belief.HOLDS
    assert found("stationarity", samples=samples_of(steady)).belief is Belief.HOLDS
    cold = steady.copy()
    cold[:200] *= 10.0
    assert found("warm-up", samples=samples_of(cold)).belief is Belief.DOUBTFUL
    rising = steady * np.linspace(1.0, 2.0, len(steady))
    one = found("stationarity", samples=samples_of(rising))
    assert one.belief is Belief.DOUBTFUL
    assert one.numbers["rise"] == pytest.approx(0.4, abs=0.08)


def test_users_that_are_being_added_are_told() -> None:
    history = tuple(Moment(float(t), users=min(50.0, 5.0 * t), median_s=0.02) for t in range(40))
    one = found("ramp", history=history)
    assert (one.belief, "users were being added for 10 s of 39 s" in one.message) == (Belief.DOUBTFUL, True)


AT = (0.9, 0.95, 0.99)


def part(name: str, count: int, values_ms: tuple[float, ...]) -> LoadRun:
    quantiles = {q: Interval.exact(MS * x) for q, x in zip(AT, values_ms, strict=True)}
    return run_of(name=name, succeeded=count, mean_s=None, max_s=None, quantiles_s=quantiles)


@pytest.mark.parametrize(
    ("values_ms", "belief"),
    [
        ((70.0, 110.0, 300.0), Belief.HOLDS),
        ((81.25, 121.25, 325.0), Belief.BROKEN),  # by their requests: 3000 and 1000
        ((112.5, 160.0, 550.0), Belief.BROKEN),  # plainly
        ((81.25, 121.25, 300.0), Belief.HOLDS),  # some by chance
        ((70.0, 110.0, 200.0), Belief.BROKEN),  # 1.25 % of all are among the slow ones above 237.5 ms
        ((20.0, 30.0, 50.0), Belief.BROKEN),  # outside those of the parts
        ((20.0, 110.0, 1200.0), Belief.BROKEN),
    ],
)
def test_percentiles_are_no_averages(values_ms: tuple[float, ...], belief: Belief) -> None:
    runs = (
        part("fast", 3000, (50.0, 82.5, 100.0)),
        part("slow", 1000, (175.0, 237.5, 1000.0)),
        part("all", 4000, values_ms),
    )
    test = LoadTest(tool="x", name="x", runs=runs, whole="all")
    (one,) = [one for one in audit_findings(test) if one.check == "averages"]
    assert one.belief is belief, one.message


@pytest.mark.parametrize(
    ("whole_ms", "belief"),
    [
        ((22, 30, 469, 498), Belief.BROKEN),  # averages by requests, in whole ms
        ((22, 30, 930, 960), Belief.HOLDS),
        ((22, 30, 469, 970), Belief.HOLDS),  # one meets an average by chance
    ],
)
def test_averages_in_whole_milliseconds_are_averages(whole_ms: tuple[int, ...], belief: Belief) -> None:
    """Of two runs of Locust; percentiles below P98 are too near each other to tell."""
    parts = {"a": (4870, (24, 34, 66, 95)), "b": (4087, (20, 25, 950, 980)), "all": (8957, whole_ms)}
    runs = tuple(_rounded_run(name, count, values) for name, (count, values) in parts.items())
    one = next(averaged(LoadTest(tool="x", name="x", runs=runs, whole="all")))
    assert (one.belief is Belief.HOLDS) is (belief is Belief.HOLDS), one.message


def test_percentiles_of_all_are_bounded_by_those_of_the_parts() -> None:
    """2 % of 4087 requests above 945 ms are 0.9 % of all 8957, so that P99.9 of all is no less."""
    at, parts = (0.5, 0.98, 0.999), {"a": (4870, (12, 66, 120)), "b": (4087, (12, 950, 1000))}
    for whole_ms, belief, words in (
        (522, Belief.BROKEN, "0.91 % of the requests of its parts lie above it, and 0.1 % may"),
        (950, Belief.HOLDS, ""),
        (1200, Belief.BROKEN, "P99.9 of all, 1.2 s, lies outside those of its parts"),
    ):
        told = parts | {"all": (8957, (12, 900, whole_ms))}
        runs = tuple(_rounded_run(name, count, values, at) for name, (count, values) in told.items())
        one = next(averaged(LoadTest(tool="x", name="x", runs=runs, whole="all")))
        assert (one.belief, words in one.message) == (belief, True), one.message


def _rounded_run(
    name: str, count: int, values_ms: Sequence[float], at: Sequence[float] = (0.9, 0.95, 0.98, 0.99)
) -> LoadRun:
    quantiles_s = {q: bucket_s(float(x)) for q, x in zip(at, values_ms, strict=True)}
    return run_of(name=name, succeeded=count, mean_s=None, max_s=None, quantiles_s=quantiles_s)


def test_mixtures_of_two_laws_are_hardly_ever_taken_for_averages() -> None:
    """Quantiles of two laws and of both together, from their own samples, rounded as Locust rounds them."""
    rng, at = np.random.default_rng(5), (0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
    doubted = 0
    for _ in range(200):
        samples = [
            10.0
            * rng.uniform(0.5, 5.0)
            * rng.lognormal(0.0, rng.uniform(0.2, 1.0), size=rng.integers(500, 5000))
            for _ in range(2)
        ]
        runs = tuple(
            _rounded_run(name, len(took_ms), _rounded(np.quantile(took_ms, at, method="higher")), at)
            for name, took_ms in (("a", samples[0]), ("b", samples[1]), ("all", np.concatenate(samples)))
        )
        found = averaged(LoadTest(tool="x", name="x", runs=runs, whole="all"))
        doubted += any(one.belief is not Belief.HOLDS for one in found)
    assert doubted <= 1


def _rounded(took_ms: Floats) -> list[float]:
    return [round(float(x), 0 if x < 100.0 else -1 if x < 1000.0 else -2) for x in took_ms]


def test_a_single_percentile_may_meet_an_average_by_chance() -> None:
    runs = [part(name, 1000, (50.0, 60.0, x)) for name, x in (("a", 100.0), ("b", 200.0), ("all", 150.0))]
    test = LoadTest(tool="x", name="x", runs=tuple(runs), whole="all")
    (one,) = [one for one in audit_findings(test) if one.check == "averages"]
    assert one.belief is Belief.DOUBTFUL


def test_averages_are_sought_from_the_median_to_below_the_maximum_where_all_parts_have_it() -> None:
    """P25 and the maximum of the whole are averages here, and P99 is not known of one part."""
    values_ms = {
        "fast": {"p25": 10, "p50": 50, "p90": 80, "p99": 100, "p100": 100},
        "slow": {"p25": 30, "p50": 170, "p90": 240, "p100": 300},
        "all": {"p25": 20, "p50": 60, "p90": 200, "p99": 900, "p100": 200},
    }
    runs = tuple(
        run_of(name=name, succeeded=1000, mean_s=None, max_s=None, quantiles_s=exactly(**values))
        for name, values in values_ms.items()
    )
    (one,) = [
        one
        for one in audit_findings(LoadTest(tool="x", name="x", runs=runs, whole="all"))
        if one.check == "averages"
    ]
    assert one.belief is Belief.HOLDS


def test_users_belong_to_all_endpoints_together() -> None:
    names = ("GET /", "all", "login")  # a part's name may come before or after that of the whole
    runs = tuple(run_of(name=name) for name in names)
    findings = audit_findings(LoadTest(tool="x", name="x", runs=runs, whole="all"))
    for check in ("littles-law", "coordinated-omission"):
        assert [one.run for one in findings if one.check == check] == ["all"]


def endpoints(**requests: int) -> LoadTest:
    """A run for each endpoint with its number of requests, and that of all."""
    runs = [run_of(name=name, succeeded=count, users=None) for name, count in requests.items()]
    whole = run_of(name="all", succeeded=sum(requests.values()))
    return LoadTest(tool="x", name="x", runs=(*runs, whole), whole="all")


def test_a_rare_endpoint_is_told_and_does_not_turn_the_verdict() -> None:
    findings = audit_findings(endpoints(predict=10_000, login=3, health=400))
    assert verdict_of(findings) is Belief.HOLDS
    told = {one.run: one for one in findings if one.check == "endpoint-samples"}
    assert {name: one.message for name, one in told.items()} == {
        "login": "too few requests to judge: 3",
        "health": "too few requests to judge: 400",
    }
    assert {one.belief for one in told.values()} == {Belief.UNKNOWN}
    assert {one.check for one in findings if one.run in told} == {"endpoint-samples"}
    assert list(dict.fromkeys(one.run for one in findings)) == ["predict", "login", "health", "all"]


def test_failures_of_a_rare_endpoint_are_told_and_those_of_a_frequent_one_are_judged() -> None:
    for count, message in ((40, "too few requests to judge: 40, of which 40 failed"), (1500, None)):
        test = endpoints(predict=50_000, login=count)
        login = replace(test.runs[1], succeeded=0, failed=count, quantiles_s={}, mean_s=None)
        findings = audit_findings(replace(test, runs=(test.runs[0], login, test.runs[2])))
        told = [one.message for one in findings if one.check == "endpoint-samples"]
        assert told == ([message] if message else [])
        assert (verdict_of(findings) is Belief.BROKEN) == (message is None)


@pytest.mark.parametrize(
    "requests",
    [
        {"a": 3, "b": 4},  # all are rare
        {"a": 8_000, "b": 990},  # more than a tenth is not rare
        {f"e{number}": 300 for number in range(20)},  # all of them together are many
    ],
)
def test_where_no_other_endpoint_stands_for_the_run_few_requests_turn_it(requests: dict[str, int]) -> None:
    findings = audit_findings(endpoints(**requests))
    assert "endpoint-samples" not in {one.check for one in findings}
    assert verdict_of(findings) in (Belief.DOUBTFUL, Belief.BROKEN)


def test_series_of_a_server_may_be_rare_and_runs_of_a_sweep_may_not() -> None:
    for loop, is_rare in ((Loop.SERVED, True), (Loop.CLOSED, False)):
        runs = tuple(
            run_of(name=name, loop=loop, succeeded=count, users=None)
            for name, count in (("seconds{path=/predict}", 10_000), ("seconds{path=/metrics}", 5))
        )
        findings = audit_findings(LoadTest(tool="x", name="x", runs=runs))
        assert ("endpoint-samples" in {one.check for one in findings}) == is_rare
        assert (verdict_of(findings) is Belief.BROKEN) != is_rare


def test_few_requests_of_one_metric_are_not_rare_beside_the_tokens_of_another() -> None:
    """A page of vLLM counts a gap for each token, and a first token for each request."""
    runs = tuple(
        run_of(name=f"{name}{{engine=0}}", loop=Loop.SERVED, succeeded=count, users=None)
        for name, count in (("inter_token_latency", 100_000), ("time_to_first_token", 400))
    )
    findings = audit_findings(LoadTest(tool="x", name="x", runs=runs))
    assert [one.run for one in findings if one.belief is Belief.DOUBTFUL] == ["time_to_first_token{engine=0}"]


def test_percentiles_of_single_requests_are_no_averages_whatever_belongs_to_no_endpoint() -> None:
    """A third of the requests was answered by the proxy itself, in no time, and lies outside the parts."""
    quick, slow = np.full(500, MS), np.full(1000, 50 * MS)
    samples = Samples.of(np.arange(1500.0), np.concatenate([quick, slow]))
    parts = [run_of(name=name, succeeded=500, quantiles_s=exactly(p50=50, p90=50)) for name in "ab"]
    whole = run_of(name="all", succeeded=1500, quantiles_s=exactly(p50=1, p90=50))
    for seen, belief in ((None, Belief.BROKEN), (samples, Belief.HOLDS)):
        runs = (*parts, run_of(name="all", succeeded=1500, quantiles_s=whole.quantiles_s, samples=seen))
        assert next(averaged(LoadTest(tool="x", name="x", runs=runs, whole="all"))).belief is belief


def test_nothing_is_established_without_requests_to_count() -> None:
    findings = check_run(run_of(succeeded=None))
    assert verdict_of(findings) is Belief.UNKNOWN
    assert found("samples", succeeded=None).belief is Belief.UNKNOWN
    assert found("samples", succeeded=9, quantiles_s={}).belief is Belief.BROKEN
    assert verdict_of(check_run(run_of(loop=Loop.UNKNOWN))) is Belief.UNKNOWN


def test_figures_of_a_server_hold_without_a_loop() -> None:
    findings = check_run(run_of(loop=Loop.SERVED, users=None))
    assert verdict_of(findings) is Belief.HOLDS
    assert not [one for one in findings if one.check == "coordinated-omission"]


def test_a_mean_that_was_filled_in_obeys_no_law() -> None:
    assert found("littles-law", is_corrected=True, mean_s=60 * MS).belief is Belief.UNKNOWN


def test_what_is_answered_after_the_last_was_sent_took_no_time_of_sending() -> None:
    """200 requests in 20 s, each answered 20 s later: 5 a second over all, and 10 a second as they were sent."""
    others = {
        "loop": Loop.OPEN,
        "rate_asked_rps": 10.0,
        "throughput_rps": 5.0,
        "duration_s": 40.0,
        "mean_s": 20.0,
    }
    assert found("generator", **others).belief is Belief.HOLDS
    assert found("generator", **{**others, "rate_sent_rps": 5.0}).belief is Belief.BROKEN


def test_a_histogram_holds_its_quantiles_between_bounds() -> None:
    histogram = Histogram((0.0, 0.1, 0.2, math.inf), (90.0, 9.0, 1.0))
    assert histogram.quantile(0.5) == Interval(value=0.1, low=0.0, high=0.1)
    assert histogram.quantile(0.9) == Interval(value=0.1, low=0.0, high=0.1)
    assert histogram.quantile(0.99) == Interval(value=0.2, low=0.1, high=0.2)
    assert histogram.quantile(0.999).high == math.inf


@pytest.mark.parametrize(
    ("loop", "users", "words"),
    [
        (Loop.CLOSED, 1.0, "closed, with 1 user waiting for each answer"),
        (Loop.CLOSED, 4.0, "closed, with 4 users waiting for each answer"),
        (Loop.CLOSED, None, "closed, with its users waiting for each answer"),
        (Loop.OPEN, None, "open: requests were sent by a schedule"),
        (Loop.UNKNOWN, None, "does not say whether requests were sent by a schedule"),
    ],
)
def test_the_kind_of_loop_is_told(loop: Loop, users: float | None, words: str) -> None:
    one = found("loop", loop=loop, users=users)
    assert words in one.message
    assert one.numbers == ({"users": users} if users is not None else {})


@pytest.mark.parametrize(
    ("others", "belief", "rest_s"),
    [
        ({"throughput_rps": 105.0}, Belief.HOLDS, None),  # 4.2 in flight of 4 users
        ({"throughput_rps": 105.1}, Belief.BROKEN, None),
        ({"mean_s": 36 * MS}, Belief.HOLDS, None),  # a tenth at rest is none
        ({"mean_s": 35.9 * MS}, Belief.HOLDS, 4.1 * MS),
        ({"mean_s": 20 * MS}, Belief.HOLDS, 20 * MS),
        ({"mean_s": 5 * MS, "think_time_s": 31.1 * MS}, Belief.HOLDS, 35 * MS),  # within a tenth of 40 ms
        ({"mean_s": 5 * MS, "think_time_s": 30.9 * MS}, Belief.DOUBTFUL, 35 * MS),
        ({"mean_s": 5 * MS, "think_time_s": 38.9 * MS}, Belief.HOLDS, 35 * MS),
        ({"mean_s": 5 * MS, "think_time_s": 39.1 * MS}, Belief.DOUBTFUL, 35 * MS),
    ],
)
def test_how_long_users_rest(others: dict[str, Any], belief: Belief, rest_s: float | None) -> None:
    """Four users at 100 rps send every 40 ms each."""
    one = found("littles-law", **others)
    assert one.belief is belief
    assert one.numbers.get("rest_s") == (None if rest_s is None else pytest.approx(rest_s))
    run = run_of(**others)
    assert run.throughput_rps is not None
    assert run.mean_s is not None
    assert one.numbers["in_flight"] == pytest.approx(run.throughput_rps * run.mean_s)


def filled(**others: Any) -> CheckFinding:
    """Four users at 100 rps have a cycle of 40 ms; what the tool filled in is above that."""
    return found("coordinated-omission", **{"is_corrected": True, "mean_s": 44 * MS, **others})


@pytest.mark.parametrize(
    ("others", "share"),
    [
        ({"quantiles_s": exactly(p99=440), "max_s": 0.5}, 0.01),  # 4 ms more in the mean, 400 ms each
        ({"quantiles_s": exactly(p99=44), "max_s": 0.5}, 1.0),
        ({"quantiles_s": exactly(p99=43), "max_s": 0.5}, 1.0),
        ({"quantiles_s": exactly(p99=48), "max_s": 0.5}, 0.5),
        ({"quantiles_s": exactly(p99=60), "max_s": 79.9 * MS}, 0.0),  # nothing took two cycles
        ({"quantiles_s": exactly(p99=60), "max_s": 80 * MS}, 0.2),
        ({"quantiles_s": exactly(p99=60), "max_s": None}, 0.2),
        ({"quantiles_s": exactly(p99=440), "max_s": 0.5, "mean_s": 40 * MS}, 0.0),
        ({"counted": 10_100}, 1.0 - 10_000 / 10_100),
        ({"counted": 9_900}, 0.0),
        ({"counted": 0}, 0.0),
    ],
)
def test_at_most_how_much_was_filled_in_beyond_a_percentile(others: dict[str, Any], share: float) -> None:
    one = filled(**others)
    assert one.numbers["filled_share_max"] == pytest.approx(share)
    assert one.belief is (Belief.HOLDS if share <= 0.0025 else Belief.DOUBTFUL)


def test_what_was_filled_in_is_told_by_means_where_it_is_not_counted() -> None:
    one = filled(quantiles_s=exactly(p99=440), max_s=0.5)
    assert "the mean of 44 ms is of both, that of the requests sent is 40 ms" in one.message
    assert "P99 of 440 ms is an estimate" in one.message
    for others in ({"users": None}, {"throughput_rps": None}, {"mean_s": None}, {"quantiles_s": {}}):
        assert filled(**others).belief is Belief.UNKNOWN


@pytest.mark.parametrize(
    ("others", "lacking", "fix"),
    [
        ({"users": None}, "the number of users would be needed", "give --users"),
        ({"throughput_rps": None}, "the rate would be needed", ""),
        (
            {"users": None, "quantiles_s": {}, "max_s": None},
            "the number of users and percentiles up to the maximum, or single responses would be needed",
            "give --users",
        ),
    ],
)
def test_what_is_lacking_to_tell_an_omission_is_named(others: dict[str, Any], lacking: str, fix: str) -> None:
    one = found("coordinated-omission", **others)
    assert (one.belief, one.fix) == (Belief.UNKNOWN, fix)
    assert one.message.startswith(lacking)


@pytest.mark.parametrize(
    ("delay_ms", "mean_delay_ms", "belief", "words"),
    [
        (77.0, None, Belief.HOLDS, "P99 from the schedule on is 77 ms"),
        (77.1, None, Belief.BROKEN, "from when it was due it is at least 77.1 ms"),
        (90.0, 10.0, Belief.BROKEN, "it is at least 90 ms, and the mean 50 ms instead of 40 ms"),
    ],
)
def test_a_tenth_later_is_late(delay_ms, mean_delay_ms, belief, words) -> None:
    """P99 is 70 ms from when requests were sent."""
    one = found(
        "coordinated-omission",
        loop=Loop.OPEN,
        schedule_delay_p99_s=delay_ms * MS,
        schedule_delay_mean_s=None if mean_delay_ms is None else mean_delay_ms * MS,
    )
    assert (one.belief, words in one.message) == (belief, True), one.message


@pytest.mark.parametrize(
    ("asked", "others", "belief"),
    [
        (100.0, {"rate_sent_rps": 95.0}, Belief.HOLDS),
        (100.0, {"rate_sent_rps": 105.0}, Belief.HOLDS),
        (100.0, {"rate_sent_rps": 94.9}, Belief.BROKEN),
        (100.0, {"rate_sent_rps": 105.1}, Belief.BROKEN),
        (100.0, {"rate_sent_rps": 94.9, "succeeded": None}, Belief.BROKEN),
        (100.0, {"rate_sent_rps": 71.0, "succeeded": 100}, Belief.DOUBTFUL),  # 0.3 are 3 deviations of 100
        (100.0, {"rate_sent_rps": 69.0, "succeeded": 100}, Belief.BROKEN),
        (100.0, {"duration_s": None}, Belief.HOLDS),
        (111.0, {"duration_s": 10.0, "mean_s": 1.0}, Belief.HOLDS),  # 1000 in the 9 s until the last was sent
        (111.0, {"duration_s": 10.0, "mean_s": None}, Belief.BROKEN),
    ],
)
def test_a_twentieth_less_or_more_is_another_rate(asked, others, belief) -> None:
    quiet = {"loop": Loop.OPEN, "rate_asked_rps": asked, "max_s": None, "quantiles_s": {}}
    one = found("generator", **{**quiet, **others})
    assert one.belief is belief, one.message


def test_a_rate_that_is_not_known_is_not_judged() -> None:
    for others in ({"rate_asked_rps": None}, {"rate_asked_rps": 0.0}, {"duration_s": 10.0, "mean_s": 10.0}):
        given = {"loop": Loop.OPEN, "rate_asked_rps": 9.0, "quantiles_s": {}, "max_s": None, **others}
        assert not [one for one in check_run(run_of(**given)) if one.check == "generator"]


@pytest.mark.parametrize(
    ("share", "batch"),
    [
        (2.0, 2),
        (2.019, 2),
        (2.021, None),
        (1.981, 2),
        (1.979, None),
        (1.0, None),
        (512.0, 512),
        (1024.0, None),
    ],
)
def test_a_client_batch_is_a_power_of_two(share: float, batch: int | None) -> None:
    run = run_of(throughput_rps=100.0 * share, counts_inferences=True)
    assert implied_batch(run) == batch
    for others in ({"counts_inferences": False}, {"users": None}, {"batch_size": 2}, {"mean_s": None}):
        given = {"throughput_rps": 100.0 * share, "counts_inferences": True, **others}
        assert implied_batch(run_of(**given)) is None
