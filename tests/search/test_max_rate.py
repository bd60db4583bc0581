"""Rates that a plan keeps: against the roots of exact laws, in doubt, with a queue limit, in words and JSON."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from rich.console import Console
from scipy.optimize import brentq

from capacity.answer.documents import dumps, rates_document
from capacity.errors import DomainError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.closed import BulkClosed
from capacity.queues.batch.fleet import predict
from capacity.render.charts import objective_chart
from capacity.render.figures import rate_curve
from capacity.render.rates import rates_details, rates_tables, sentences
from capacity.search.batches import judged
from capacity.search.exact import theory_of
from capacity.search.max_rate import (
    RESOLUTION,
    Point,
    Rates,
    Stretch,
    _is_worth_it,
    _judge_grid,
    _own_caveats,
    _Trials,
    _unsettled,
    caveats,
    doubts_of,
    find_rates,
    stretches_of,
)
from capacity.search.what_if import Asker
from capacity.server.batch.batching import Batching
from capacity.server.batch.caveats import MENDS
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import sustainable_rate_rps
from capacity.traffic.scale import RATES, scale_of
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from simulations.judge import SimulationJudge

TIMES_S = {1: 0.005, 2: 0.006, 4: 0.008, 8: 0.012}


def profile_of(times_s: dict[int, float] = TIMES_S, **fields: object) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in times_s.items())
    return ServiceProfile(name="made-up", timings=timings, **fields)


def proposal_of(
    limit_s: float,
    arrivals: ArrivalProcess | None = None,
    profile: ServiceProfile | None = None,
    objective: Objective | None = None,
    **fields: object,
) -> Scenario:
    plan = {"replicas": 1, "batch_size_max": 8, **fields}
    return Scenario(
        profile=profile or profile_of(),
        workload=Workload(arrival_rate_rps=1.0, arrivals=arrivals or PoissonArrivals()),
        plan=BatchPlan(profile="made-up", **plan),
        objective=objective or Objective.of(response={0.99: limit_s}),
    )


def p99_s(scenario: Scenario, rate_rps: float) -> float:
    """The exact law, asked apart from the planner's own road to it."""
    return p99_of(scenario.profile, scenario.plan, rate_rps)


@cache
def p99_of(profile: ServiceProfile, plan: BatchPlan, rate_rps: float) -> float:
    queue = Bulk(
        arrival_rate_rps=rate_rps,
        batch_times_s=tuple(profile.service_mean_s(size) for size in range(1, plan.batch_size_max + 1)),
        batch_wait_max_s=plan.batch_wait_max_s,
        timer=plan.timer,
        replicas=plan.replicas,
        routing=plan.routing,
    )
    return queue.performance((0.99,)).response_quantiles_s[0.99].value


@pytest.fixture(scope="module", autouse=True)
def laws_are_asked_once() -> Iterator[None]:
    """They take most of the time here, and tests ask for the same rates of the same plans."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capacity.search.batches.predict", cache(predict))
        yield


class NoJudge:
    """Must not be asked: a law knows."""

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        raise AssertionError(scenario)

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        raise AssertionError(scenario)

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        raise AssertionError(scenario)


class ByRate(NoJudge):
    """P99 by a function of the rate; NaN is doubt, in short trials and, unless told otherwise, for good."""

    def __init__(
        self,
        p99: Callable[[float], float],
        certified: Callable[[float], float] | None = None,
        requests: int = 0,
    ):
        self.p99, self.certified, self.requests = p99, certified or p99, requests

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        return self._say(scenario, self.p99)

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        return replace(self._say(scenario, self.certified), requests=self.requests)

    def _say(self, scenario: Scenario, p99: Callable[[float], float]) -> Candidate:
        assert isinstance(scenario.workload, Workload)
        value_s = p99(scenario.workload.arrival_rate_rps)
        if math.isnan(value_s):
            rejection = Rejection(reason=Reason.BUDGET, allowed=10.0, needed=20.0)
            return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE, rejection=rejection)
        found = Performance(
            kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval.exact(value_s)}, loss_probability=0.0
        )
        return judged(scenario, found)


def silent(message: str) -> None:
    """Nobody waits."""


def root(scenario: Scenario, low_rps: float, high_rps: float) -> float:
    (limit_s,) = scenario.objective.by_quantile(Measure.RESPONSE).values()
    return brentq(lambda rate_rps: p99_s(scenario, rate_rps) - limit_s, low_rps, high_rps, xtol=1e-6)


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth * (1.0 + 1e-9) and truth <= interval.high * (1.0 + 1e-9)


def refusal_of(rates: Rates) -> Rejection:
    assert rates.closest.rejection is not None
    return rates.closest.rejection


def text_of(rates: Rates) -> str:
    console = Console(width=120, record=True, force_terminal=False)
    with console.capture() as captured:
        for part in (*rates_tables(rates, verbose=True), *rates_details(rates, "chart", 0.95)):
            console.print(part)
    return captured.get()


@pytest.mark.parametrize(
    ("limit_s", "routing", "replicas"),
    [(0.011, Routing.RANDOM, 1), (0.03, Routing.RANDOM, 3), (0.011, Routing.ROUND_ROBIN, 3)],
)
def test_the_end_of_a_greedy_plan_is_the_root_of_its_law(replicas, routing, limit_s) -> None:
    scenario = proposal_of(limit_s, replicas=replicas, routing=routing)
    rates = find_rates(scenario, NoJudge(), silent)
    (stretch,) = rates.stretches
    assert rates.verdict is Verdict.MET
    assert stretch.low == Interval.exact(0.0)
    wall_rps = sustainable_rate_rps(scenario.profile, scenario.plan)
    end_rps = root(scenario, 0.001 * wall_rps, 0.999 * wall_rps)
    assert holds(stretch.high, end_rps)
    assert stretch.high.value == stretch.high.low == rates.size_max
    assert "P99 rises with the rate, since batches start at once." in text_of(rates)
    assert rates_document(rates, seed=0, confidence=0.95)["rates"]["taken_to_rise"] is True
    assert stretch.high.high - stretch.high.low <= RESOLUTION * stretch.high.low + 1e-4 * wall_rps


@pytest.mark.long
def test_low_rates_are_refused_where_a_lone_request_waits_too_long() -> None:
    """A lone one takes T + s_1 = 35 ms; batches of four fill within that, the faster the more come."""
    scenario = proposal_of(
        0.0249, batch_size_max=4, batch_wait_max_s=0.030, batching=Batching.TORCHSERVE,
        profile=profile_of({1: 0.005, 2: 0.0052, 4: 0.0055}),
    )  # fmt: skip
    rates = find_rates(scenario, NoJudge(), silent)
    (stretch,) = rates.stretches
    assert rates.lone.verdict is Verdict.MISSED
    assert rates.lone.rejection.needed == pytest.approx(0.035, rel=1e-14)
    assert holds(stretch.low, root(scenario, 50.0, 600.0))
    assert holds(stretch.high, root(scenario, 600.0, 726.0))
    assert 0.0 < stretch.low.low < stretch.low.value == stretch.low.high
    told = " ".join(sentences(rates))
    assert "from " in told
    assert "35 ms: the objective is missed" in told


@pytest.mark.long
def test_two_stretches_with_a_missed_one_between() -> None:
    """At low rates nobody joins the lone request; at middling ones the batch is larger and slower."""
    scenario = proposal_of(0.040, batch_wait_max_s=0.020, batching=Batching.TORCHSERVE)
    rates = find_rates(scenario, NoJudge(), silent)
    first, second = rates.stretches
    assert first.low == Interval.exact(0.0)
    wall_rps = sustainable_rate_rps(scenario.profile, scenario.plan)
    ends = [root(scenario, a * wall_rps, b * wall_rps) for a, b in ((0.1, 0.35), (0.5, 0.7), (0.7, 0.95))]
    assert holds(first.high, ends[0])
    assert holds(second.low, ends[1])
    assert holds(second.high, ends[2])
    assert rates.size_max == second.high.value
    assert ", and from " in next(sentences(rates))


@pytest.mark.parametrize("limit_s", [0.0245, 0.0335, 0.0405])
@pytest.mark.parametrize(
    "batching", [Batching.TRITON, pytest.param(Batching.TORCHSERVE, marks=pytest.mark.long)]
)
def test_every_rate_that_is_reported_kept_is_kept(limit_s, batching) -> None:
    wait_s = 0.020 if batching is Batching.TORCHSERVE else 0.005
    scenario = proposal_of(limit_s, batch_wait_max_s=wait_s, batching=batching)
    rates = find_rates(scenario, NoJudge(), silent)
    for point in rates.points:
        kept = p99_s(scenario, point.size) <= limit_s
        assert (point.verdict is Verdict.MET) is kept
        inside = any(s.low.value <= point.size <= s.high.value for s in rates.stretches)
        assert inside is kept
    for stretch in rates.stretches:
        for rate_rps in (stretch.high.value, stretch.low.value):
            assert rate_rps == 0.0 or p99_s(scenario, rate_rps) <= limit_s
        assert p99_s(scenario, stretch.high.high) > limit_s
    if (wait_s + 0.005 <= limit_s) is False:
        assert all(stretch.low.value > 0.0 for stretch in rates.stretches)


def test_a_kept_stretch_below_the_grid_is_found_from_the_limit_of_low_rates() -> None:
    """T + s_1 = 25 ms is kept; the first pairs take T + s_2 = 26 ms as soon as 1 % have company."""
    rates = find_rates(
        proposal_of(0.0252, batch_wait_max_s=0.020, batching=Batching.TORCHSERVE), NoJudge(), silent
    )
    (stretch,) = rates.stretches
    assert stretch.low.value == 0.0
    assert 0.0 < stretch.high.value < 1.0
    assert stretch.high.high - stretch.high.low <= 1e-4 * 8 / 0.012
    assert p99_s(rates.scenario, stretch.high.value) <= 0.0252 < p99_s(rates.scenario, stretch.high.high)


def test_the_limit_of_low_rates_alone_is_no_rate() -> None:
    rates = find_rates(proposal_of(0.05, **SHARED), ByRate(lambda _: 0.1), silent)
    assert rates.lone.verdict is Verdict.MET
    assert (rates.verdict, rates.stretches) == (Verdict.MISSED, ())


def test_none_is_kept_and_the_closest_refusal_says_by_how_much() -> None:
    rates = find_rates(
        proposal_of(0.013, batch_wait_max_s=0.020, batching=Batching.TORCHSERVE), NoJudge(), silent
    )
    assert (rates.verdict, rates.stretches, rates.size_max) == (Verdict.MISSED, (), None)
    assert rates.verdict.exit_code == 3
    closest = refusal_of(rates)
    assert closest.allowed == 0.013
    least_s = min(p99_s(rates.scenario, point.size) for point in rates.points)
    assert closest.needed == pytest.approx(min(least_s, 0.025), rel=1e-12)
    assert "At no rate" in next(sentences(rates))


def test_below_the_service_floor_nothing_is_tried() -> None:
    rates = find_rates(proposal_of(0.004), NoJudge(), silent)
    assert rates.points == ()
    closest = refusal_of(rates)
    assert (closest.reason, closest.needed) == (Reason.SERVICE_FLOOR, 0.005)
    assert rates.verdict is Verdict.MISSED
    assert "no batch is served within 4 ms" in text_of(rates)


def test_beyond_the_profile_nothing_is_tried() -> None:
    rates = find_rates(proposal_of(0.1, batch_size_max=16), NoJudge(), silent)
    assert refusal_of(rates).reason is Reason.PROFILE_RANGE


def test_a_profile_without_batches_of_one_is_an_error() -> None:
    with pytest.raises(DomainError, match="measure batch size 1 too"):
        find_rates(proposal_of(1.0, profile=profile_of({2: 0.01})), NoJudge(), silent)


SHARED = {"routing": Routing.SHARED_QUEUE, "replicas": 2, "batch_size_max": 8}  # has no exact law
WALL_RPS = 2 * 8 / 0.012


def test_what_stays_in_doubt_is_never_called_kept() -> None:
    def p99(rate_rps: float) -> float:
        return math.nan if 600.0 < rate_rps < 900.0 else 0.01 if rate_rps < 750.0 else 0.1

    rates = find_rates(proposal_of(0.05, **SHARED), ByRate(p99), silent)
    (stretch,) = rates.stretches
    assert stretch.high.value <= 600.0
    assert stretch.high.high >= 900.0
    ((low_rps, high_rps),) = rates.doubts
    assert 600.0 < low_rps <= high_rps < 900.0
    assert "rates_in_doubt" in [caveat.code for caveat in caveats(rates)]
    assert "in doubt" in text_of(rates)


def test_a_doubt_is_settled_by_certificates_where_the_budget_allows() -> None:
    def short(rate_rps: float) -> float:
        return math.nan if 600.0 < rate_rps < 900.0 else 0.01 if rate_rps < 750.0 else 0.1

    def careful(rate_rps: float) -> float:
        return 0.01 if rate_rps < 750.0 else 0.1

    rates = find_rates(proposal_of(0.05, **SHARED), ByRate(short, careful), silent)
    (stretch,) = rates.stretches
    assert holds(stretch.high, 750.0)
    assert stretch.high.high <= 1.012 * stretch.high.low
    assert rates.doubts == ()
    assert "rates_in_doubt" not in [caveat.code for caveat in caveats(rates)]


def test_what_the_budget_for_certificates_leaves_in_doubt_is_told() -> None:
    def short(rate_rps: float) -> float:
        return math.nan if 600.0 < rate_rps < 1100.0 else 0.01 if rate_rps < 750.0 else 0.1

    judge = ByRate(short, lambda rate_rps: 0.01 if rate_rps < 750.0 else 0.1, requests=70_000_000)
    rates = find_rates(proposal_of(0.05, **SHARED), judge, silent)
    (stretch,) = rates.stretches
    assert stretch.high.low <= 750.0 <= stretch.high.high
    assert rates.doubts != ()
    assert all(
        stretch.high.low < low_rps <= high_rps < stretch.high.high for low_rps, high_rps in rates.doubts
    )


def test_one_doubt_that_cannot_be_settled_does_not_hide_the_next() -> None:
    """Batches that wait: the first doubt stays one; the second is settled by its certificate."""

    def short(rate_rps: float) -> float:
        return math.nan if 300.0 < rate_rps < 310.0 or 800.0 < rate_rps < 900.0 else 0.01

    def careful(rate_rps: float) -> float:
        return math.nan if 300.0 < rate_rps < 310.0 else 0.01

    plan = {**SHARED, "batch_wait_max_s": 0.001}
    rates = find_rates(proposal_of(0.05, **plan), ByRate(lambda r: short(r), careful), silent)
    assert not rates.only_rises
    assert not any(800.0 < low_rps < 900.0 for low_rps, _ in rates.doubts)


def test_doubt_everywhere_is_inconclusive() -> None:
    objective = Objective.of(response={0.99: 0.05})
    trace = TraceArrivals(instants_s=(0.0, 1.0, 2.0))
    rates = find_rates(
        proposal_of(0.05, arrivals=trace, objective=objective, **SHARED), ByRate(lambda _: math.nan), silent
    )
    assert rates.verdict.exit_code == 4
    assert rates.stretches == ()
    assert rates.lone is None  # recorded arrivals may share an instant, however slowly they are played
    assert next(sentences(rates)).startswith("No rate is known")
    assert "taken to rise" not in " ".join(sentences(rates))
    (doubt,) = [one.message for one in caveats(rates) if one.code is CaveatCode.RATES_IN_DOUBT]
    assert doubt.endswith("raise --requests-max")


def test_recorded_arrivals_have_no_known_limit_of_low_rates() -> None:
    trace = TraceArrivals(instants_s=(0.0, 1.0, 2.0))
    rates = find_rates(proposal_of(0.05, arrivals=trace, **SHARED), ByRate(lambda _: 0.01), silent)
    (stretch,) = rates.stretches
    assert stretch.low == Interval(value=1.0, low=0.0, high=1.0)  # as recorded
    assert stretch.high.value == pytest.approx(0.995 * WALL_RPS, rel=0.01)
    assert stretch.high.high == WALL_RPS  # never kept, whatever is promised


def users_p99_s(users: int, think_time_s: float) -> float:
    """P99 of the exact law of users of one replica that batches at once."""
    law = BulkClosed(
        users=users,
        think_time_s=think_time_s,
        batch_times_s=tuple(profile_of().service_mean_s(size) for size in range(1, 9)),
    )
    return law.performance((0.99,)).response_quantiles_s[0.99].value


class ByUsers(ByRate):
    """P99 of the exact law of users."""

    def __init__(self, think_time_s: float) -> None:
        super().__init__(lambda users: users_p99_s(round(users), think_time_s))

    def _say(self, scenario: Scenario, p99: Callable[[float], float]) -> Candidate:
        users = scenario.workload
        assert isinstance(users, ClosedPopulation)
        self.requests += 1
        found = Interval.exact(p99(users.users))
        return judged(scenario, Performance(kind=Kind.EXACT, response_quantiles_s={0.99: found}))


@pytest.mark.parametrize(("limit_s", "think_time_s"), [(0.020, 0.0), (0.016, 0.030), (0.0242, 0.1)])
def test_the_most_users_are_those_of_the_exact_law(limit_s: float, think_time_s: float) -> None:
    """The law is asked for every number: the last that meets the limit, and the first that misses it."""
    most = next(n for n in range(1, 200) if users_p99_s(n, think_time_s) > limit_s) - 1
    users = ClosedPopulation(users=1, think_time_s=think_time_s)
    scenario = replace(proposal_of(limit_s), workload=users)
    rates = find_rates(scenario, ByUsers(think_time_s), silent)
    (stretch,) = rates.stretches
    assert stretch.high == Interval(value=float(most), low=float(most), high=most + 1.0)
    assert all(point.size == round(point.size) >= 1 for point in rates.points)
    users_text = "1 user" if most == 1 else f"{most} users"
    assert f"carries {users_text} within" in next(sentences(rates))
    assert next(sentences(rates)).endswith(f"{most + 1} users are too many.")
    told = rates_document(rates, seed=0, confidence=0.95)
    assert told["users"]["users_max"] == most
    assert told["workload"] == {"think_time_s": think_time_s}
    assert [row["users"] for row in told["curve"]] == [point.size for point in rates.points]
    assert rate_curve(rates).x_title == "users"


def test_users_are_scaled_from_one_on() -> None:
    few = scale_of(ClosedPopulation(users=9))
    assert [few.whole(size) for size in (0.2, 1.4, 2.6, 1000.5)] == [1.0, 1.0, 3.0, 1000.0]
    assert few.tried == (1.0, 9.0)
    assert RATES.whole(0.2) == 0.2


def test_users_of_whom_one_waits_too_long_are_none() -> None:
    scenario = replace(proposal_of(0.0049), workload=ClosedPopulation(users=3))
    rates = find_rates(scenario, NoJudge(), silent)
    assert next(sentences(rates)).startswith("At no number of users would 1 replica of made-up")


def test_a_share_of_time_that_users_can_never_reach_has_no_end() -> None:
    """Theory does not know when a utilization is too high, so that the last number is no end."""
    busy = Objective.of(utilization=0.999)
    scenario = replace(
        proposal_of(1.0, objective=busy), workload=ClosedPopulation(users=3, think_time_s=0.02)
    )

    class Idle(NoJudge):
        def accepts(
            self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
        ) -> Candidate:
            return judged(scenario, Performance(kind=Kind.EXACT, utilization=0.5, response_quantiles_s={}))

    rates = find_rates(scenario, Idle(), silent)
    assert rates.stretches[-1].high.high == math.inf
    assert "at least" in next(sentences(rates))


def test_with_a_queue_limit_overloads_are_tried_and_an_open_end_is_told() -> None:
    """A mean is that of the served, and leaves any number to be lost."""
    means = Objective.of(response_mean=0.05)
    scenario = proposal_of(0.05, queue_limit=10, **{**SHARED, "objective": means})
    rates = find_rates(scenario, ByRate(lambda _: 0.01), silent)
    (stretch,) = rates.stretches
    assert stretch.high.value == 2.0 * WALL_RPS
    assert stretch.high.high == math.inf
    assert rates_document(rates, seed=0, confidence=0.95)["rates"]["intervals"][0]["high_rps"]["high"] is None
    assert "rates_open" in [caveat.code for caveat in caveats(rates)]
    assert "at least" in next(sentences(rates))


@pytest.mark.long
def test_a_loss_limit_ends_what_the_queue_limit_keeps_stable() -> None:
    """With one place more than a batch each, at twice the sustainable rate half is lost."""
    scenario = proposal_of(
        1.0,
        queue_limit=8,
        objective=Objective.of(response={0.99: 1.0}, loss=0.01),
        replicas=2,
        batch_size_max=8,
    )
    rates = find_rates(scenario, SimulationJudge(requests_max=40_000_000, precision=0.2), silent)
    (stretch,) = rates.stretches
    assert 0.5 * WALL_RPS < stretch.high.value < WALL_RPS
    assert stretch.high.high < 1.05 * stretch.high.low
    assert rates.limit.what == "loss"
    refused = rates.points[-1].candidate.rejection  # by theory, since half cannot be served
    assert refused.needed == pytest.approx(0.5)


@pytest.mark.long
def test_simulated_ends_hold_the_exact_ones() -> None:
    """The profile's samples are all but alike, so that no law is asked and yet one is as good as exact."""
    timings = tuple(
        BatchTiming(batch_size=size, samples_s=(time_s, time_s * (1.0 + 1e-9)))
        for size, time_s in TIMES_S.items()
    )
    alike = ServiceProfile(name="made-up", timings=timings)
    scenario = proposal_of(0.030, profile=alike, routing=Routing.ROUND_ROBIN, replicas=2)
    rates = find_rates(scenario, SimulationJudge(requests_max=8_000_000), silent)
    (stretch,) = rates.stretches
    exact = replace(scenario, profile=profile_of())
    end_rps = root(exact, 0.1 * WALL_RPS, 0.99 * WALL_RPS)
    assert stretch.high.low <= end_rps <= stretch.high.high
    assert stretch.high.high <= 1.05 * stretch.high.low


def test_document_is_strict_json_with_every_rate() -> None:
    rates = find_rates(
        proposal_of(0.040, batch_wait_max_s=0.020, batching=Batching.TORCHSERVE), NoJudge(), silent
    )
    answer = json.loads(dumps(rates_document(rates, seed=3, confidence=0.9)))
    assert (answer["verdict"], answer["exit_code"], answer["seed"]) == ("met", 0, 3)
    assert len(answer["rates"]["intervals"]) == 2
    assert answer["rates"]["arrival_rate_max_rps"] == rates.size_max
    assert answer["low_rate_limit"]["performance"]["response_quantiles_s"]["0.99"]["value"] == 0.025
    curve = answer["curve"]
    assert [row["arrival_rate_rps"] for row in curve] == sorted(row["arrival_rate_rps"] for row in curve)
    assert {row["verdict"] for row in curve} == {"met", "missed"}
    assert all(row["rejection"]["needed"] > 0.04 for row in curve if row["verdict"] == "missed")
    assert "rates_unseen" in {caveat["code"] for caveat in answer["caveats"]}


def test_chart_marks_verdicts_and_stays_within_its_width() -> None:
    rates = find_rates(
        proposal_of(0.040, batch_wait_max_s=0.020, batching=Batching.TORCHSERVE), NoJudge(), silent
    )
    curve = rate_curve(rates)
    assert curve.allowed == 40.0
    assert all(point.found.value <= curve.top for point in curve.points)
    chart = objective_chart(curve, width=80)
    frame = [line for line in chart.splitlines() if "│" in line or "┤" in line]
    assert any("o" in line for line in frame)
    assert any("x" in line for line in frame)
    assert any("---" in line for line in frame)
    assert max(len(line) for line in chart.splitlines()) <= 80


def test_an_end_is_told_with_its_bracket() -> None:
    assert RATES.span(Interval.exact(200.0)) == "200 rps"
    assert RATES.span(Interval(value=2.0, low=1.0, high=2.0)) == "2 (1 to 2) rps"


MET, MISSED, OPEN = Verdict.MET, Verdict.MISSED, Verdict.INCONCLUSIVE
ANY = BatchPlan(profile="made-up", replicas=1, batch_size_max=8)


def points_of(*found: tuple[float, Verdict]) -> list[Point]:
    return [
        Point(size=rate_rps, candidate=Candidate(plan=ANY, verdict=verdict)) for rate_rps, verdict in found
    ]


def test_an_end_lies_between_a_rate_that_is_kept_and_the_nearest_settled_one_beyond() -> None:
    points = points_of(
        (1.0, MISSED), (2.0, MISSED), (3.0, OPEN), (4.0, MET), (5.0, MET), (6.0, OPEN), (7.0, MISSED),
        (8.0, MISSED), (9.0, MET),
    )  # fmt: skip
    one, other = stretches_of(points)
    assert (one.low, one.high) == (
        Interval(value=4.0, low=2.0, high=4.0),
        Interval(value=5.0, low=5.0, high=7.0),
    )
    assert (other.low, other.high) == (
        Interval(value=9.0, low=8.0, high=9.0),
        Interval(value=9.0, low=9.0, high=math.inf),
    )
    assert doubts_of(points) == [(3.0, 3.0), (6.0, 6.0)]
    (from_0,) = stretches_of(points_of((0.0, MET), (1.0, MET), (2.0, OPEN), (3.0, OPEN)))
    assert (from_0.low, from_0.high.high) == (Interval.exact(0.0), math.inf)
    assert stretches_of(points_of((0.0, MET), (1.0, MISSED))) == []  # a limit is no rate
    assert doubts_of(points_of((2.0, OPEN), (3.0, OPEN))) == [(2.0, 3.0)]


@pytest.mark.parametrize(
    ("fields", "misses_from", "tried", "last"),
    [
        ({}, 0.7, 6, 0.8),
        ({}, 9.0, 12, 0.995),
        ({"batch_wait_max_s": 0.001}, 0.0, 19, 0.995),
        ({"queue_limit": 9}, 0.0, 26, 2.0),
    ],
)
def test_a_grid_that_only_rises_ends_with_two_refusals(fields, misses_from, tried, last) -> None:
    judge = ByRate(lambda rate_rps: 2.0 if rate_rps >= misses_from * 100.0 - 1e-9 else 0.5)
    scenario = proposal_of(1.0, arrivals=GammaArrivals(cv=1.3), **fields)
    trials = _Trials(scenario, Asker(judge, silent), 100.0)
    _judge_grid(trials, theory_of(scenario.profile).rates_effort(scenario))
    assert (len(trials.points), max(trials.points)) == (tried, pytest.approx(100.0 * last))
    assert min(trials.points) == 2.0


def test_loads_are_tried_up_to_the_wall_or_with_a_queue_limit_beyond_it() -> None:
    judge = ByRate(lambda _: 0.5)
    for fields, tried in (
        ({}, [2, 20, 40, 60, 70, 80, 86, 92, 96, 98, 99, 99.5]),
        ({"queue_limit": 9}, [*range(2, 99, 6), 99, 99.5, 105, 110, 120, 135, 150, 175, 200]),
    ):
        scenario = proposal_of(1.0, arrivals=GammaArrivals(cv=1.3), **fields)
        trials = _Trials(scenario, Asker(judge, silent), 100.0)
        _judge_grid(trials, theory_of(scenario.profile).rates_effort(scenario))
        assert list(trials.points) == pytest.approx(tried)


def test_the_doubt_farthest_from_its_limit_is_settled_first() -> None:
    """On either side of the limit of 2 s; points without figures come last."""

    def doubt(rate_rps: float, p99_s: float | None) -> Point:
        found = None
        if p99_s is not None:
            found = Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval.exact(p99_s)})
        candidate = Candidate(plan=ANY, verdict=OPEN, performance=found)
        return Point(size=rate_rps, candidate=candidate)

    trials = _Trials(proposal_of(2.0), Asker(NoJudge(), silent), 100.0)
    below, above, near, unknown = doubt(10.0, 0.8), doubt(20.0, 2.8), doubt(30.0, 2.0), doubt(40.0, None)
    for points, rate_rps in (
        ([below, above, near, unknown], 10.0),
        ([above, near, unknown], 20.0),
        ([near, doubt(50.0, 2.2)], 50.0),
        ([unknown, doubt(50.0, 2.2)], 50.0),
    ):
        assert _unsettled(trials, points, only_rises=False) == rate_rps
    assert _unsettled(trials, points_of((1.0, MET), (2.0, MISSED)), only_rises=False) is None


def test_one_refusal_between_is_none_in_a_row() -> None:
    """Missed at loads of 0.2, 0.6 and 0.7."""
    judge = ByRate(lambda rate_rps: 2.0 if round(rate_rps) in (20, 60, 70) else 0.5)
    trials = _Trials(proposal_of(1.0, arrivals=GammaArrivals(cv=1.3)), Asker(judge, silent), 100.0)
    _judge_grid(trials, theory_of(trials.scenario.profile).rates_effort(trials.scenario))
    assert list(trials.points) == pytest.approx([2.0, 20.0, 40.0, 60.0, 70.0])


@pytest.mark.parametrize(
    ("changes", "rises"),
    [
        ({}, True),
        ({"batch_wait_max_s": 0.001}, False),
        ({"preferred_sizes": (4,)}, False),
        ({"batch_wait_max_s": 0.001, "batch_size_max": 1}, True),
        ({"queue_limit": 5}, False),
        ({"profile": profile_of({1: 0.005, 8: 0.004})}, False),
        ({"profile": profile_of({1: 0.005, 8: 0.004}), "batch_size_max": 1}, True),
        ({"arrivals": GammaArrivals(cv=2.0)}, True),
        ({"arrivals": DeterministicArrivals()}, False),
        ({"objective": Objective.of(response_mean=1.0, wait={0.9: 1.0})}, True),
        ({"objective": Objective.of(response={0.9: 1.0}, utilization=0.5)}, False),
        ({"objective": Objective.of(response={0.9: 1.0}, loss=0.5)}, False),
        ({"users": 9}, True),
        ({"users": 9, "batch_wait_max_s": 0.001}, False),
    ],
)
def test_what_is_taken_to_rise(changes: dict[str, Any], rises: bool) -> None:
    users = changes.pop("users", None)
    scenario = proposal_of(1.0, **changes)
    if users is not None:
        scenario = replace(scenario, workload=ClosedPopulation(users=users))
    assert theory_of(scenario.profile).rates_effort(scenario).only_rises is rises


def test_neighbours_are_close_within_a_hundredth_or_a_ten_thousandth_of_the_wall() -> None:
    def close(low_rps: float, high_rps: float) -> bool:
        trials = _Trials(proposal_of(1.0), Asker(NoJudge(), silent), 1000.0)
        return trials.is_close(*points_of((low_rps, MET), (high_rps, MISSED)))

    assert [close(128.0, 129.0), close(0.0, 0.0999)] == [True, True]
    assert [close(96.0, 97.0), close(0.0, 0.125)] == [False, False]


def test_a_doubt_within_the_narrow_bracket_of_an_end_is_left() -> None:
    def worth(*found: tuple[float, Verdict]) -> bool:
        return _is_worth_it(points_of(*found), 1)

    assert worth((100.0, MET), (101.0, OPEN), (103.0, MISSED))
    assert not worth((100.0, MET), (101.0, OPEN), (101.9, MISSED))
    assert worth((100.0, MET), (101.0, OPEN), (101.9, MET))
    assert worth((100.0, OPEN), (101.0, OPEN), (101.9, MISSED))
    assert worth((100.0, MET), (101.0, OPEN), (101.9, OPEN))
    assert not worth((100.0, MET), (101.0, MET), (200.0, MISSED))


def test_doubts_outside_of_what_is_known_are_forgotten() -> None:
    trials = _Trials(proposal_of(1.0), Asker(NoJudge(), silent), 100.0)
    trials.points = {
        point.size: point
        for point in points_of((1, OPEN), (2, MET), (3, OPEN), (4, MET), (5, OPEN), (6, MISSED), (7, OPEN))
    }
    trials.forget_doubts()
    assert list(trials.points) == [2, 4, 5, 6]
    trials.points = {point.size: point for point in points_of((1, OPEN), (99, OPEN), (100, OPEN))}
    trials.forget_doubts()
    assert list(trials.points) == [1, 99]


def test_a_confirmation_begins_with_twice_what_a_trial_took() -> None:
    asked: list[tuple[int, int]] = []

    class Careful(NoJudge):
        def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
            asked.append((attempt, requests_first))
            return Candidate(plan=ANY, verdict=MET, requests=50)

    told: list[str] = []
    trials = _Trials(proposal_of(1.0), Asker(Careful(), told.append), 100.0)
    trials.certify(12.345678)
    trials.certify(12.345678)
    assert asked == [(1, 0), (1, 100)]
    assert trials.careful_requests == 100
    assert told == ["settling 12.3 rps"] * 2


def rates_of(*points: Point, **fields: Any) -> Rates:
    return Rates(scenario=proposal_of(1.0), points=tuple(points), only_rises=True, **fields)


def test_the_closest_refusal_is_that_of_a_promise_or_of_no_rate_at_all() -> None:
    promise = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=1.0)
    other = Limit(measure=Measure.RESPONSE_MEAN, allowed=1.0)

    def refused(rate_rps: float, needed: float, broken: Limit | None = promise) -> Point:
        rejection = Rejection(reason=Reason.LATENCY, allowed=2.0, needed=needed, limit=broken)
        return Point(size=rate_rps, candidate=Candidate(plan=ANY, verdict=MISSED, rejection=rejection))

    far, near, unstable = refused(1.0, 9.0, other), refused(2.0, 5.0), refused(3.0, 2.1, None)
    rates = rates_of(far, near, unstable)
    assert rates.closest is near.candidate
    assert replace(rates, lone=refused(0.0, 3.0).candidate).closest is not near.candidate
    assert rates_of(*points_of((1.0, MET))).closest is None
    given = replace(rates, refusal=unstable.candidate.rejection).closest
    assert (given.verdict, given.rejection) == (MISSED, unstable.candidate.rejection)
    assert rates.limit is other
    stretch = Stretch(low=Interval.exact(0.5), high=Interval(value=1.0, low=1.0, high=2.0))
    assert replace(rates, stretches=(stretch,)).limit is promise
    assert rates_of(unstable).limit == promise
    means = replace(rates_of().scenario, objective=Objective.of(response_mean=1.0, wait={0.9: 1.0}))
    assert replace(rates_of(), scenario=means).limit == means.objective.limits[-1]


def test_rates_that_are_open_are_told_with_what_settles_them() -> None:
    def told(rates: Rates) -> list[str]:
        return [one.message for one in _own_caveats(rates)]

    first, second = points_of((2.0, OPEN), (4.0, OPEN))
    profile = replace(second.candidate, doubt=Doubt.PROFILE)
    rates = rates_of(first, replace(second, candidate=profile), doubts=((2.0, 4.0), (2.0, 2.0)))
    ending = "the plan is undecided; "
    assert told(rates) == [
        f"from 2 rps to 4 rps {ending}{MENDS[Doubt.REQUESTS]}, and {MENDS[Doubt.PROFILE]}",
        f"at 2 rps {ending}{MENDS[Doubt.REQUESTS]}",
    ]
    held = Stretch(low=Interval.exact(0.5), high=Interval(value=3.0, low=3.0, high=math.inf))
    (message,) = told(rates_of(stretches=(held,)))
    assert message.startswith(
        "the objective still holds at 3 rps, the highest rate that was tried, as the queue"
    )
    assert len(told(replace(rates, stretches=(held,)))) == 2  # a doubt above says why it is open
    below = replace(rates, doubts=((2.0, 2.0),), stretches=(held,))
    assert told(below)[1] == message
    unseen = replace(rates_of(*points_of((2.0, MET), (5.0, MET), (7.0, MISSED))), only_rises=False)
    assert "two rates that were tried, up to 3 rps apart; try" in told(unseen)[0]
