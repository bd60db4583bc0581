"""What was promised: every limit in words, in numbers, and what is refused at birth."""

import math

import pytest

from capacity.errors import DomainError, InputError
from capacity.performance import Interval, Kind, Performance
from capacity.question.objective import TIERS, Limit, Measure, Objective, format_value

EVERYTHING = Objective.of(
    response={0.99: 0.2, 0.5: 0.05}, response_mean=0.08, wait={0.95: 0.01}, loss=0.001, utilization=0.8
)
FOUND = Performance(
    kind=Kind.SIMULATION,
    utilization=0.4,
    response_mean_s=0.04,
    loss_probability=0.0002,
    response_quantiles_s={0.5: Interval.exact(0.03), 0.99: Interval(value=0.1, low=0.08, high=0.12)},
    wait_quantiles_s={0.95: Interval(value=0.009, low=0.007, high=0.011)},
    intervals={"utilization": Interval(value=0.4, low=0.36, high=0.44)},
)


def promise_of(measure: Measure, quantile: float | None = None) -> Limit:
    return next(one for one in EVERYTHING.limits if (one.measure, one.quantile) == (measure, quantile))


def test_promises_stand_in_the_order_in_which_people_name_them() -> None:
    assert list(map(str, EVERYTHING.limits)) == [
        "P50 <= 50 ms", "P99 <= 200 ms", "wait P95 <= 10 ms", "mean <= 80 ms", "loss <= 0.1 %",
        "utilization <= 80 %",
    ]  # fmt: skip
    assert EVERYTHING.quantiles == (0.5, 0.95, 0.99)
    assert Objective.of(utilization=0.5).quantiles == ()


def test_durations_and_quantiles_are_those_of_their_measures() -> None:
    shares = {Measure.LOSS, Measure.UTILIZATION, Measure.MISSED}
    assert {one for one in Measure if not one.is_duration} == shares
    assert [one for one in Measure if one.has_quantile] == [
        Measure.TTFT, Measure.TPOT, Measure.ITL, Measure.RESPONSE, Measure.SESSION, Measure.WAIT
    ]  # fmt: skip


@pytest.mark.parametrize("measure", Measure)
def test_every_measure_is_a_field_of_a_performance(measure: Measure) -> None:
    assert hasattr(FOUND, measure)


@pytest.mark.parametrize(
    ("measure", "quantile", "found", "pressure"),
    [
        (Measure.RESPONSE, 0.5, (0.03, 0.03, 0.03), (0.6, 0.6, 0.6)),
        (Measure.RESPONSE, 0.99, (0.1, 0.08, 0.12), (0.5, 0.4, 0.6)),
        (Measure.WAIT, 0.95, (0.009, 0.007, 0.011), (0.9, 0.7, 1.1)),
        (Measure.RESPONSE_MEAN, None, (0.04, 0.04, 0.04), (0.5, 0.5, 0.5)),
        (Measure.LOSS, None, (0.0002, 0.0002, 0.0002), (0.2, 0.2, 0.2)),
        (Measure.UTILIZATION, None, (0.4, 0.36, 0.44), (0.5, 0.45, 0.55)),
    ],
)
def test_pressure_is_the_share_of_what_is_allowed(measure, quantile, found, pressure) -> None:
    promise = promise_of(measure, quantile)
    seen, share = promise.found(FOUND), promise.pressure(FOUND)
    assert share is not None
    assert (seen.value, seen.low, seen.high) == found
    assert (share.value, share.low, share.high) == pytest.approx(pressure, rel=1e-15)


def test_what_a_performance_does_not_have_has_no_pressure() -> None:
    bare = Performance(kind=Kind.EXACT)
    for promise in EVERYTHING.limits:
        assert promise.found(bare) is None
        assert promise.pressure(bare) is None


def test_the_promise_that_binds_is_the_one_nearest_to_its_limit_whatever_its_measure() -> None:
    assert EVERYTHING.binding(FOUND) == promise_of(Measure.WAIT, 0.95)
    without = Objective.of(response={0.5: 0.05, 0.99: 0.2}, utilization=0.8)
    assert str(without.binding(FOUND)) == "P50 <= 50 ms"
    known = Objective.of(response={0.9: 0.001}, utilization=0.8)  # P90 was not looked at
    assert str(known.binding(FOUND)) == "utilization <= 80 %"


def test_limits_are_kept_in_the_order_of_their_quantiles() -> None:
    assert list(EVERYTHING.by_quantile(Measure.RESPONSE)) == [0.5, 0.99]
    assert Objective(limits=EVERYTHING.limits[::-1]) == EVERYTHING


def test_no_promise_is_no_objective() -> None:
    with pytest.raises(InputError, match="no objective given; use --slo-p99 200ms or --tier interactive"):
        Objective().require()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response": {1.0: 0.1}}, r"a quantile must be within \(0, 1\), got 1.0"),
        ({"wait": {0.0: 0.1}}, r"a quantile must be within \(0, 1\), got 0.0"),
        ({"response": {0.99: 0.0}}, "the P99 limit must be positive, got 0.0"),
        ({"response": {0.99: math.inf}}, "the P99 limit must be positive, got inf"),
        ({"wait": {0.99: -1.0}}, "the wait P99 limit must be positive, got -1.0"),
        ({"wait": {0.99: math.nan}}, "the wait P99 limit must be positive, got nan"),
        ({"response_mean": 0.0}, "the limit of the mean response must be positive, got 0.0"),
        ({"response_mean": math.nan}, "the limit of the mean response must be positive, got nan"),
        ({"loss": 0.0}, r"the limit of loss_probability must be within \(0, 1\), got 0.0"),
        ({"loss": 1.0}, r"the limit of loss_probability must be within \(0, 1\), got 1.0"),
        ({"utilization": 1.0}, r"the limit of utilization must be within \(0, 1\), got 1.0"),
        ({"utilization": math.nan}, r"the limit of utilization must be within \(0, 1\), got nan"),
    ],
)
def test_a_limit_out_of_range_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        Objective.of(**fields)


def test_a_limit_that_a_stricter_one_makes_idle_is_refused() -> None:
    message = "the P50 limit 300 ms is above the P99 limit 200 ms and has no effect; drop or swap them"
    with pytest.raises(InputError, match=message):
        Objective.of(response={0.99: 0.2, 0.5: 0.3})
    with pytest.raises(InputError, match="the wait P90 limit 3 ms is above the wait P99 limit 2 ms"):
        Objective.of(wait={0.9: 0.003, 0.99: 0.002})
    Objective.of(response={0.5: 0.2, 0.99: 0.2}, wait={0.99: 0.3})


def test_tiers_are_those_of_the_contract() -> None:
    assert {name: tier.by_quantile(Measure.RESPONSE) for name, tier in TIERS.items()} == {
        "interactive": {0.5: 0.1, 0.95: 0.3, 0.99: 1.0},
        "batch": {0.5: 1.0, 0.95: 5.0, 0.99: 30.0},
        "background": {0.5: 10.0, 0.95: 60.0, 0.99: 300.0},
    }


def test_requests_beyond_a_limit_are_those_that_goodput_leaves() -> None:
    promise = Limit(measure=Measure.MISSED, allowed=0.02)
    assert promise.found(Performance(kind=Kind.SIMULATION, goodput=0.75)) == Interval.exact(0.25)
    assert promise.found(Performance(kind=Kind.SIMULATION)) is None


OF_TOKENS = Objective.of(
    response={0.99: 20.0},
    response_mean=9.0,
    ttft={0.99: 2.0, 0.5: 1.0},
    tpot={0.9: 0.05},
    itl={0.999: 0.2},
    ttft_mean=0.9,
    tpot_mean=0.04,
    itl_mean=0.03,
    goodput=0.9,
)


def test_limits_of_tokens_stand_before_those_of_the_response() -> None:
    assert list(map(str, OF_TOKENS.limits)) == [
        "TTFT P50 <= 1 s", "TTFT P99 <= 2 s", "TPOT P90 <= 50 ms", "ITL P99.9 <= 200 ms",
        "TTFT mean <= 900 ms", "TPOT mean <= 40 ms", "ITL mean <= 30 ms", "P99 <= 20 s", "mean <= 9 s",
        "share beyond a limit <= 10 %",
    ]  # fmt: skip
    assert OF_TOKENS.quantiles == (0.5, 0.9, 0.99, 0.999)
    assert OF_TOKENS.together == {
        Measure.RESPONSE: 20.0, Measure.TTFT: 2.0, Measure.TPOT: 0.05, Measure.ITL: 0.2
    }  # fmt: skip
    assert Objective.of(ttft_mean=1.0).together == {}


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"ttft_mean": 0.0}, DomainError, "the limit of the mean TTFT must be positive, got 0.0"),
        ({"tpot_mean": math.inf}, DomainError, "the limit of the mean TPOT must be positive, got inf"),
        ({"itl_mean": -1.0}, DomainError, "the limit of the mean ITL must be positive, got -1.0"),
        ({"goodput": 0.0}, DomainError, r"goodput must be within \(0, 1\), got 0.0"),
        ({"goodput": 1.0}, DomainError, r"goodput must be within \(0, 1\), got 1.0"),
        ({"goodput": 0.5, "ttft_mean": 1.0}, InputError, "goodput counts requests that keep all limits"),
        ({"itl": {0.9: 0.0}}, DomainError, "the ITL P90 limit must be positive, got 0.0"),
        ({"tpot": {0.9: 5}}, InputError, r"the limit \{0.9: 5\} is in seconds; write '5ms', or 5.0"),
        ({"ttft": {0.5: 2.0, 0.9: 1.0}}, InputError, "the TTFT P50 limit 2 s is above the TTFT P90 limit"),
    ],
)  # fmt: skip
def test_a_limit_of_tokens_out_of_range_is_refused(fields, error, message) -> None:
    with pytest.raises(error, match=message):
        Objective.of(**fields)


def test_small_limits_of_tokens_are_in_range() -> None:
    found = Objective.of(ttft={0.9: "5ms"}, itl_mean=0.5, goodput=0.001)
    assert found.by_quantile(Measure.TTFT) == {0.9: 0.005}
    assert (found.allowed(Measure.ITL_MEAN), found.allowed(Measure.MISSED)) == (0.5, 0.999)


@pytest.mark.parametrize(
    ("measure", "ends", "said"),
    [
        (Measure.RESPONSE, (0.0483, 0.046, 0.0507), "48.3 (46 to 50.7) ms"),
        (Measure.RESPONSE, (0.05, 0.05, 0.05), "50 ms"),
        (Measure.RESPONSE, (0.0009, 0.0008, 0.001), "900 µs (800 µs to 1 ms)"),
        (Measure.RESPONSE, (0.05, 0.04, math.inf), "50 ms (40 ms or more)"),
        (Measure.RESPONSE, (math.inf, 0.04, math.inf), "infinite"),
        (Measure.LOSS, (0.002, 0.001, 0.003), "0.2 (0.1 to 0.3) %"),
        (Measure.UTILIZATION, (0.5, 0.5, 0.5), "50 %"),
    ],
)
def test_a_value_is_said_with_its_ends_and_one_unit(measure, ends, said) -> None:
    value, low, high = ends
    promise = Limit(measure=measure, allowed=1.0, quantile=0.9 if measure.has_quantile else None)
    assert format_value(promise, Interval(value=value, low=low, high=high)) == said


def test_the_fewest_losses_are_allowed_by_the_strictest_limit() -> None:
    assert EVERYTHING.loss_allowed == 0.001
    assert EVERYTHING.strictest_of_losses.measure is Measure.LOSS
    quantiles = Objective.of(response={0.5: 0.1, 0.9: 0.2}, wait={0.99: 0.1}, response_mean=1.0)
    assert quantiles.loss_allowed == pytest.approx(0.01)
    assert quantiles.strictest_of_losses.measure is Measure.WAIT
    assert Objective.of(response_mean=1.0).loss_allowed is None


def test_a_known_figure_binds_before_an_unknown_one() -> None:
    objective = Objective.of(response={0.99: 1.0}, utilization=0.5)
    assert objective.binding(Performance(kind=Kind.EXACT, utilization=0.0)).measure is Measure.UTILIZATION


def test_objectives_are_hashable() -> None:
    limits = {0.99: 1.0}
    plain = Objective.of(response=limits, wait=limits)
    assert (
        len({plain, Objective.of(response=limits, wait=limits, ttft=limits), Objective(limits=plain.limits)})
        == 2
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"latency": {0.99: 1.0}}, "no limit is called latency; use ttft, tpot, itl"),
        ({"missed": 0.1}, "no limit is called missed; use ttft, .*, utilization or goodput"),
        ({"response": 0.2}, "response takes limits by quantile, .* got 0.2"),
        ({"response_mean": {0.5: 0.2}}, "response_mean takes one number, got {0.5: 0.2}"),
    ],
)
def test_a_limit_of_what_is_not_measured_is_refused(limits: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective.of(**limits)


def test_a_limit_that_a_server_does_not_measure_is_refused() -> None:
    objective = Objective.of(response={0.99: 1.0}, ttft={0.5: 1.0})
    message = "^a fleet of batches has no TTFT P50; leave out the limit TTFT P50 <= 1 s$"
    with pytest.raises(InputError, match=message):
        objective.require_among({Measure.RESPONSE}, "a fleet of batches")
    assert objective.require_among(Measure, "a language model") is objective
