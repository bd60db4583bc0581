"""Little's law and the interactive law against textbooks, a built trace, and their own algebra."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.queues.little import LittlesLaw, LoadTestReport

laws = settings(derandomize=True, deadline=None)
positive = st.floats(1e-9, 1e9)


def test_lazowska_examples() -> None:
    """Lazowska et al. (1984), Quantitative System Performance, sec. 3.2 and 3.3."""
    assert LittlesLaw.solve(arrival_rate_rps=40.0, in_system_mean=4.0).response_mean_s == 0.1
    assert LittlesLaw.solve(arrival_rate_rps=0.5, in_system_mean=7.5).response_mean_s == 15.0
    report = LoadTestReport(users=64, think_time_s=30.0, throughput_rps=2.0)
    assert report.required_response_mean_s == 2.0


def test_denning_buzen_example() -> None:
    """Denning & Buzen (1978): 25 terminals think 18 s; a disk visited 20 times per job at 25 ms
    is 30 % busy, so that throughput is 0.3 / (20 x 0.025) and the response takes 23.7 s."""
    report = LoadTestReport(users=25, think_time_s=18.0, throughput_rps=0.3 / (20 * 0.025))
    assert report.required_response_mean_s == pytest.approx(23.7, abs=0.05)


@laws
@given(positive, positive)
def test_any_two_give_the_third(rate: float, response: float) -> None:
    whole = LittlesLaw.solve(arrival_rate_rps=rate, response_mean_s=response)
    number = whole.in_system_mean
    assert number == rate * response
    for part in (
        LittlesLaw.solve(arrival_rate_rps=rate, in_system_mean=number),
        LittlesLaw.solve(response_mean_s=response, in_system_mean=number),
        LittlesLaw(arrival_rate_rps=rate, response_mean_s=response, in_system_mean=number),
    ):
        assert part.arrival_rate_rps == pytest.approx(rate, rel=1e-12)
        assert part.response_mean_s == pytest.approx(response, rel=1e-12)


def test_the_law_holds_on_a_path_without_any_distribution() -> None:
    """Area under the number in the system is the sum of the stays, counted event by event."""
    rng = random.Random(1)
    stays = [(start := rng.uniform(0, 100), start + rng.choice((0.1, 3.0))) for _ in range(500)]
    events = sorted([(a, 1) for a, _ in stays] + [(d, -1) for _, d in stays])
    horizon, area, inside = events[-1][0], 0.0, 0
    for (now, change), (following, _) in itertools.pairwise(events):
        inside += change
        area += inside * (following - now)
    law = LittlesLaw.solve(
        arrival_rate_rps=len(stays) / horizon, response_mean_s=sum(d - a for a, d in stays) / 500
    )
    assert law.in_system_mean == pytest.approx(area / horizon, rel=1e-9)


def test_three_numbers_must_agree_and_one_does_not_suffice() -> None:
    with pytest.raises(DomainError, match="must equal in_system_mean, got 9; give any two"):
        LittlesLaw.solve(arrival_rate_rps=2.0, response_mean_s=4.0, in_system_mean=9.0)
    with pytest.raises(DomainError, match="needs two of"):
        LittlesLaw.solve(arrival_rate_rps=2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, 0.0, True])
def test_bad_numbers_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match="arrival_rate_rps must be > 0"):
        LittlesLaw.solve(arrival_rate_rps=bad, response_mean_s=1.0)
    with pytest.raises(DomainError, match="throughput_rps must be > 0"):
        LoadTestReport(users=1, think_time_s=0.0, throughput_rps=bad)
    if bad != 0.0:
        with pytest.raises(DomainError, match="think_time_s must be >= 0"):
            LoadTestReport(users=1, think_time_s=bad, throughput_rps=1.0)


@pytest.mark.parametrize("users", [0, -1, 1.5, True])
def test_users_are_counted(users: int) -> None:
    with pytest.raises(DomainError, match="users must be an integer >= 1"):
        LoadTestReport(users=users, think_time_s=1.0, throughput_rps=1.0)


@pytest.mark.parametrize(
    "quantiles", [{0.5: 2.0, 0.99: 1.0}, {1.0: 2.0}, {0.0: 1.0}, {0.5: -1.0}, {0.5: math.nan}]
)
def test_impossible_quantiles_are_refused(quantiles: dict[float, float]) -> None:
    with pytest.raises(DomainError, match="quantile"):
        LoadTestReport(users=1, think_time_s=1.0, throughput_rps=0.5, response_quantiles_s=quantiles)


def report(throughput_rps: float = 100.0, **reported: object) -> LoadTestReport:
    return LoadTestReport(users=100, think_time_s=0.3, throughput_rps=throughput_rps, **reported)


SEEN = {0.99: 0.340, 0.5: 0.045}  # out of order on purpose


def test_saturated_generator_is_not_credible() -> None:
    seen = report(response_quantiles_s=SEEN)
    assert seen.required_response_mean_s == pytest.approx(0.7)
    assert seen.body_mean_min_s == pytest.approx(0.49 * 0.045 / 0.99)
    assert seen.body_mean_max_s == pytest.approx((0.5 * 0.045 + 0.49 * 0.34) / 0.99)
    assert seen.response_mean_min_s == pytest.approx(0.49 * 0.045 + 0.01 * 0.34)
    assert seen.tail_mean_needed_s == pytest.approx((0.7 - 0.0225 - 0.1666) / 0.01)
    assert not seen.credible
    assert seen.reason == "needs a tail mean of 51.1 s beyond P99 (340 ms)"


def test_body_bounds_hold_for_any_sample() -> None:
    rng = random.Random(2)
    sample = sorted(rng.lognormvariate(0, 1) for _ in range(1000))
    seen = report(response_quantiles_s={q: sample[round(q * 1000) - 1] for q in (0.5, 0.9, 0.99)})
    body = sum(sample[:990]) / 990
    assert seen.body_mean_min_s <= body <= seen.body_mean_max_s
    assert seen.response_mean_min_s <= sum(sample) / 1000


def test_honest_report_is_credible() -> None:
    """Exponential responses of mean R have the quantiles R ln(1/(1-p))."""
    quantiles = {q: -0.7 * math.log1p(-q) for q in (0.5, 0.9, 0.99)}
    seen = report(response_quantiles_s=quantiles, response_mean_s=0.68)
    assert seen.credible, seen.reason
    assert "nothing reported contradicts" in seen.reason
    idle = report(320.0, response_quantiles_s=SEEN)  # the body alone fills R = 12.5 ms
    assert idle.tail_mean_needed_s == 0.340  # beyond P99 nothing is faster than P99
    assert 1.0 + 1.0 / -math.log(0.01) == pytest.approx(1.2, abs=0.05)  # said in the class's text


def test_throughput_beyond_the_users_is_not_credible() -> None:
    seen = report(400.0, response_quantiles_s=SEEN)
    assert seen.required_response_mean_s == pytest.approx(-0.05)
    assert seen.reason == "throughput 400 rps is above users / think time = 333.333 rps"
    assert not seen.credible


def test_more_in_flight_than_users_is_not_credible() -> None:
    seen = report(320.0, response_quantiles_s=SEEN)  # R = 12.5 ms, quantiles need 25.45 ms
    assert not seen.credible
    assert "at least 25.5 ms, thus 104.1 users, more than the 100" in seen.reason
    assert report(100 / 0.32546, response_quantiles_s=SEEN).credible
    assert not report(100 / 0.32544, response_quantiles_s=SEEN).credible


@pytest.mark.parametrize(("mean_s", "credible"), [(0.64, True), (0.62, False), (0.78, False)])
def test_reported_mean_within_a_tenth(mean_s: float, credible: bool) -> None:
    assert report(response_mean_s=mean_s).credible is credible


def test_tail_rule_turns_at_ten_times_the_last_quantile() -> None:
    for factor, credible in ((9.99, True), (10.01, False)):
        required = 0.5 * 0.045 + 0.49 * 0.34 + 0.01 * factor * 0.34
        assert report(100 / (0.3 + required), response_quantiles_s=SEEN).credible is credible


@pytest.mark.parametrize(
    ("solved", "told"),
    [
        (
            {"arrival_rate_rps": 100.0, "response_mean_s": 0.045},
            "L = λW: at 100 rps, each for 45 ms, 4.5 requests are in the system on average.",
        ),
        (
            {"in_system_mean": 12.0, "response_mean_s": 3.0},
            "L = λW: at 4 rps, each for 3 s, 12 requests are in the system on average.",
        ),
        (
            {"arrival_rate_rps": 100.0, "response_mean_s": 0.01},
            "L = λW: at 100 rps, each for 10 ms, 1 request is in the system on average.",
        ),
    ],
)
def test_the_law_in_words(solved: dict[str, float], told: str) -> None:
    assert LittlesLaw.solve(**solved).in_words == told


def test_a_report_in_words() -> None:
    """Whether it can be true, what its users would have to wait, and what speaks against it."""
    cause = "Likely cause: the load generator was saturated, or some of the users were idle."
    who = "100 users who think for 300 ms at {} rps wait {} on average; "
    quantiles = {q: -0.7 * math.log1p(-q) for q in (0.5, 0.9, 0.99)}
    assert report(response_quantiles_s=quantiles).in_words == (
        f"This report can be true: {who.format(100, '700 ms')}"
        "nothing reported contradicts users = throughput x (R + think)."
    )
    assert report(response_quantiles_s=SEEN).in_words == (
        f"This report cannot be true: {who.format(100, '700 ms')}"
        f"it needs a tail mean of 51.1 s beyond P99 (340 ms). {cause}"
    )
    # Users who think too long for such a throughput cannot wait: of that, nothing is said.
    assert report(400.0).in_words == (
        f"This report cannot be true: throughput 400 rps is above users / think time = 333.333 rps. {cause}"
    )
    busy = LoadTestReport(users=1, think_time_s=0.0, throughput_rps=10.0)
    assert busy.in_words == (
        "This report can be true: 1 user at 10 rps waits 100 ms on average; "
        "no response time was reported that could be held against it."
    )


@laws
@given(st.integers(1, 10**6), st.floats(0.0, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_changing_the_unit_of_time_changes_no_verdict(users, think, rate, k) -> None:
    seconds = LoadTestReport(users=users, think_time_s=think, throughput_rps=rate, response_quantiles_s=SEEN)
    others = LoadTestReport(
        users=users,
        think_time_s=think * k,
        throughput_rps=rate / k,
        response_quantiles_s={q: value * k for q, value in SEEN.items()},
    )
    scale = k * (users / rate + think)  # R is a difference of these two
    assert others.required_response_mean_s == pytest.approx(
        k * seconds.required_response_mean_s, abs=1e-12 * scale
    )
    assert others.tail_mean_needed_s == pytest.approx(
        k * seconds.tail_mean_needed_s, rel=1e-9, abs=1e-9 * scale
    )
