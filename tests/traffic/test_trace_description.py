"""Descriptions of traffic and tests of Poisson: by hand, by another road, and how often they err.

Of 400 Poisson streams at a level of 1 % in all, more than 11 refusals come once in 1000.
"""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from capacity.answer.documents import dumps
from capacity.errors import InputError
from capacity.performance import Interval
from capacity.question.comparison import PoissonError
from capacity.render.trace import description_document, description_tables
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.burstiness import measure
from capacity.traffic.description import (
    LEVEL,
    PoissonTest,
    TraceDescription,
    _adjusted,
    clock_tick_s,
    describe,
    poisson_tests,
)
from capacity.traffic.workload import GammaArrivals, MmppArrivals, PoissonArrivals, TraceArrivals, Workload
from simulations.draws.arrivals import Seed, draw

PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=8)


def recorded(arrivals=PoissonArrivals(), rate_rps: float = 5.0, requests: int = 2000, seed: int = 1):  # noqa: B008
    instants_s = draw(
        Workload(arrival_rate_rps=rate_rps, arrivals=arrivals), requests, Seed(value=seed)
    ).arrived_s
    return TraceArrivals(instants_s=tuple(instants_s.tolist()), name="monday")


def named(trace: TraceArrivals) -> dict[str, PoissonTest]:
    return {test.name: test for test in describe(trace).tests}


def test_poisson_streams_are_refused_as_seldom_as_was_promised():
    about = [describe(recorded(requests=400, seed=seed)) for seed in range(1000, 1400)]
    assert sum(not one.is_poisson for one in about) <= 11
    names = [test.name for test in about[0].tests]
    usual = ["constant rate", "exponential gaps", "independent gaps"]
    assert names == ["counts in 1 s", *usual]
    for place, name in enumerate(names):
        values = [one.tests[place].p_value for one in about]
        bound = 1e-3 if name.startswith(("constant", "exponential")) else 1e-5  # the others are limit laws
        assert stats.kstest(values, "uniform").pvalue > bound, name


@pytest.mark.parametrize(
    ("arrivals", "name"),
    [
        (GammaArrivals(cv=1.2), "exponential gaps"),
        (GammaArrivals(cv=0.8), "exponential gaps"),
        (GammaArrivals(cv=0.8), "counts in 1 s"),
        (GammaArrivals(cv=2.0), "counts in 10 s"),
        (MmppArrivals(ratio=3.0, burst_mean_s=3.0, calm_mean_s=6.0), "independent gaps"),
        (MmppArrivals(ratio=3.0, burst_mean_s=60.0, calm_mean_s=90.0), "constant rate"),
    ],
)
def test_what_is_not_poisson_is_refused_by_the_test_for_it(arrivals, name):
    tests = named(recorded(arrivals, requests=4000))
    assert tests[name].rejects, tests


def test_gaps_are_tested_by_lewis_road():
    """Durbin's transformation, step by step as it is printed, for three gaps."""
    instants_s = [0.0, 1.0, 4.0, 6.0]
    burstiness = measure(np.arange(20.0), [1.0])
    tests, _ = poisson_tests([x * 0.9371 for x in instants_s[:2]] + instants_s[2:], burstiness)
    gaps = np.sort(np.diff([0.0, 0.9371, 4.0, 6.0])) / 6.0
    spacings = [3 * gaps[0], 2 * (gaps[1] - gaps[0]), gaps[2] - gaps[1]]
    uniform = np.cumsum(spacings)[:2]
    expected = stats.kstest(uniform, "uniform")
    (lewis,) = (test for test in tests if test.name == "exponential gaps")
    assert (lewis.statistic, lewis.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert sum(spacings) == pytest.approx(1.0)


def test_the_constant_rate_is_tested_without_the_ends():
    trace = recorded(requests=50)
    since = np.array(trace.instants_s[1:-1]) - trace.instants_s[0]
    expected = stats.kstest(since, "uniform", args=(0.0, trace.duration_s))
    assert named(trace)["constant rate"].p_value == pytest.approx(expected.pvalue)


def test_dispersion_is_chi_square_on_both_sides():
    metronome = named(TraceArrivals(instants_s=tuple(0.05 * k for k in range(2000))))
    assert metronome["counts in 1 s"].rejects
    assert metronome["counts in 1 s"].statistic < 0.1
    assert "independent gaps" not in metronome or metronome["independent gaps"].statistic <= 1.0


@pytest.mark.parametrize(
    ("rate_rps", "windows"), [(0.05, ["60 s"]), (0.5, ["10 s", "60 s"]), (2.0, ["1 s", "10 s", "60 s"])]
)
def test_counts_are_tested_in_windows_of_one_arrival_or_more(rate_rps, windows):
    names = [name for name in named(recorded(rate_rps=rate_rps)) if name.startswith("counts in ")]
    assert names == [f"counts in {window}" for window in windows]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
@settings(derandomize=True, deadline=None)
def test_p_values_are_adjusted_by_holm(values):
    tests = _adjusted([(str(place), 0.0, p) for place, p in enumerate(values)])
    order = np.argsort(values, kind="stable")
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        assert tests[place].p_value_adjusted == highest
    assert min(test.p_value_adjusted for test in tests) == min(1.0, len(values) * min(values))


def test_a_coarse_clock_hides_the_law_of_gaps():
    """Poisson stamped by whole seconds is not refused for its ties; by milliseconds nothing is left out."""
    instants_s = np.array(recorded(rate_rps=20.0, requests=20_000).instants_s)
    coarse = describe(TraceArrivals(instants_s=tuple(np.floor(instants_s).tolist())))
    assert coarse.left_out == ("the clock ticks every 1 s, too coarse to tell the law of gaps",)
    assert "exponential gaps" not in {test.name for test in coarse.tests}
    fine = describe(TraceArrivals(instants_s=tuple(np.round(instants_s, 6).tolist())))
    assert fine.left_out == ()
    assert fine.is_poisson


def test_ticks():
    assert clock_tick_s(np.array([0.002, 0.001, 0.0, 5.003])) == pytest.approx(0.001)
    assert clock_tick_s(np.array([0.002, 0.003])) == 0.0


def test_a_description_is_what_burstiness_measures():
    trace = recorded()
    about = describe(trace)
    assert about.burstiness == measure(trace.instants_s)
    assert about.is_poisson
    assert about.verdict.startswith("consistent with Poisson: none of 5 tests rejects it, at 0.01 jointly")
    bursty = describe(recorded(GammaArrivals(cv=3.0)))
    assert not bursty.is_poisson
    assert bursty.verdict.startswith("not Poisson: ")


def test_short_traffic_has_windows_of_its_own():
    about = describe(recorded(rate_rps=5000.0, requests=1000))
    (counts,) = about.burstiness.counts
    assert counts.windows in (19, 20)
    assert about.is_poisson


@pytest.mark.parametrize(
    ("instants_s", "message"),
    [
        (tuple(range(19)), "monday has 19 arrivals; describing traffic needs at least 20: record for longer"),
        (tuple(1e16 + 2.0 * k for k in range(30)), "monday: instants_s[0] must be finite and within 1e+15"),
    ],
)
def test_what_cannot_be_described(instants_s, message):
    with pytest.raises(InputError) as caught:
        describe(TraceArrivals(instants_s=tuple(map(float, instants_s)), name="monday"))
    assert message in str(caught.value)


def error_of(trace: tuple[float, float, float], poisson: tuple[float, float, float]) -> PoissonError:
    (a, b, c), (x, y, z) = trace, poisson
    return PoissonError(
        plan=PLAN,
        arrival_rate_rps=10.0,
        quantile=0.99,
        by_trace=Interval(low=a, value=b, high=c),
        by_poisson=Interval(low=x, value=y, high=z),
        confidence=0.95,
    )


def test_the_error_is_from_the_worst_end_to_the_other():
    error = error_of((2.0, 4.0, 5.0), (0.5, 1.0, 3.0)).relative_error
    assert (error.low, error.value, error.high) == (-0.9, -0.75, 0.5)


def shown(about: TraceDescription, error: PoissonError | None = None) -> str:
    from rich.console import Console

    console = Console(width=110, color_system=None)
    with console.capture() as text:
        for one in description_tables(about, error, []):
            console.print(one)
    return text.get()


@pytest.mark.parametrize(
    ("trace", "poisson", "words"),
    [
        ((2.0, 4.0, 5.0), (0.5, 1.0, 1.5), "too optimistic"),
        ((0.5, 1.0, 1.5), (2.0, 4.0, 5.0), "too pessimistic"),
        ((0.5, 1.0, 2.5), (2.0, 4.0, 5.0), "too wide to tell"),
    ],
)
def test_the_error_in_words(trace, poisson, words):
    text = shown(describe(recorded()), error_of(trace, poisson))
    assert words in text
    assert "P99 of 2 x p, batches up to 8, at 10 rps:" in text


def test_remarks_and_what_was_left_out_are_notes():
    trace = TraceArrivals(instants_s=tuple(float(k // 2) for k in range(400)), remarks=("half are double",))
    text = shown(describe(trace))
    assert "Note: half are double.\nNote: the clock ticks every 1 s" in text


def test_the_document_has_units_in_its_keys_and_no_nan():
    about = describe(
        TraceArrivals(instants_s=tuple(0.5 * k for k in range(101)), name="beats", remarks=("r",))
    )
    document = json.loads(dumps(description_document(about, error_of((2, 4, 5), (1, 1, 1)), [], seed=3)))
    assert document["schema_version"] == 1
    assert (document["trace"], document["arrivals"], document["remarks"]) == ("beats", 101, ["r"])
    assert (document["duration_s"], document["arrival_rate_rps"], document["gap_cv"]) == (50.0, 2.0, 0.0)
    assert document["gap_correlation"] is None
    assert document["counts"] == [{"window_s": 1.0, "windows": 50, "dispersion": 0.0, "peak_to_mean": 1.0}]
    assert (document["is_poisson"], document["level"]) == (False, LEVEL)
    assert {"name", "statistic", "p_value", "p_value_adjusted", "rejects"} == set(document["tests"][0])
    error = document["poisson_error"]
    assert error["response_by_trace_s"] == {"value": 4, "low": 2, "high": 5}
    assert error["relative_error"] == {"value": -0.75, "low": pytest.approx(-0.8), "high": -0.5}
    assert (document["seed"], document["confidence"]) == (3, 0.95)
    assert "poisson_error" not in description_document(about, None, [], seed=3)
    assert math.isfinite(error["arrival_rate_rps"])
