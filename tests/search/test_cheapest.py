"""The cheapest fleet, against trying all of them: by made-up fates, and by the laws of batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import batch_question, varied

from capacity.performance import Interval, Kind, Performance
from capacity.profile.contention import measured
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Rejection, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Measure, Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.question.scenario import Scenario
from capacity.queues.batch.fleet import predict
from capacity.search.plan_decision import recommend
from capacity.search.recommendation import Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import GammaArrivals, Workload

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)
P99 = Objective.of(response={0.99: 1.0})
(PROMISE,) = P99.limits


def profile_of(name: str, means_s: dict[int, float], **fields: object) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name=name, timings=timings, **fields)


# ---- Every fleet there is -------------------------------------------------------------------


class Oracle(Protocol):
    """Share of what is allowed that a plan takes up, of whatever binds."""

    def __call__(self, question: Question, plan: BatchPlan) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet that keeps what was promised, and outlives what it must."""

    plan: BatchPlan
    price: float
    pressure: float


def every_plan(question: Question) -> Iterator[BatchPlan]:
    """All combinations within the limits; counts are whole devices."""
    for profile, routing in product(question.profiles, question.routings):
        each = profile.instances_per_device
        for replicas in range(each, question.replicas_max + 1, each):
            for size in question.space.sizes(profile):
                for wait_s in question.space.waits_s(profile, size):
                    yield question.space.plan(
                        next(f for f in question.families if (f.profile, f.routing) == (profile, routing)),
                        replicas // each,
                        size,
                        wait_s,
                    )


def left_of(replicas: int, survival: Survival, each: int) -> int:
    """Replicas that are left, counted again; a zone takes whole devices."""
    gone = [0, survival.spare]
    if survival.zones is not None:
        devices = replicas // each
        gone.append(each * max(len(range(zone, devices, survival.zones)) for zone in range(survival.zones)))
    if survival.unavailable_share is not None:
        gone.append(max(1, int(survival.unavailable_share * replicas + 1e-9)))
    return replicas - max(gone)


def accepted_fleets(question: Question, oracle: Oracle) -> list[Fleet]:
    """By trying each."""
    fleets = []
    rate_rps = question.workload.arrival_rate_rps
    for plan in every_plan(question):
        profile = question.profile(plan.profile)
        left = left_of(plan.replicas, question.survival, profile.instances_per_device)
        if left < 1 or rate_rps >= left * profile.throughput_rps(plan.batch_size_max):
            continue
        if oracle(question, replace(plan, replicas=left)) > 1.0 or oracle(question, plan) > 1.0:
            continue
        devices = plan.replicas // profile.instances_per_device
        price = round(devices * (profile.hourly_usd or 1.0), 9)
        fleets.append(Fleet(plan=plan, price=price, pressure=oracle(question, plan)))
    return fleets


def assert_is_best(answer: Recommendation, fleets: list[Fleet]) -> None:
    """Of the lowest price, then of those whose batches start at once if any do, the one farthest from its limit."""
    if not fleets:
        assert answer.plan is None
        assert answer.verdict is Verdict.MISSED
        return
    price = min(fleet.price for fleet in fleets)
    cheapest = [fleet for fleet in fleets if fleet.price == price]
    at_once = [fleet for fleet in cheapest if fleet.plan.starts_at_once]
    best = min(fleet.pressure for fleet in at_once or cheapest)
    (found,) = [fleet for fleet in fleets if fleet.plan == answer.plan] or [None]
    assert found is not None, (answer.plan, price)
    assert (found.price, found.pressure) == (price, best)


# ---- Made-up fates --------------------------------------------------------------------------


class Fates:
    """Pressures from a seed: of batches that start at once falling with the replicas, others as they like."""

    def __init__(self, seed: int, spread: float) -> None:
        self.seed, self.spread = seed, spread

    def __call__(self, question: Question, plan: BatchPlan) -> float:
        profile = question.profile(plan.profile)
        if plan.batch_wait_max_s == 0.0 and profile.is_monotone:
            steps = [self._draw(replace(plan, replicas=count)) for count in range(1, plan.replicas + 1)]
            return 3.0 - sum(steps) * self.spread
        return (2.0 if profile.is_monotone else 6.0) * self._draw(plan)  # few of the crooked ones do

    def _draw(self, plan: BatchPlan) -> float:
        key = [
            self.seed,
            plan.replicas,
            plan.batch_size_max,
            round(1e6 * plan.batch_wait_max_s),
            PLAIN_ROUTINGS.index(plan.routing),
            *plan.profile.encode(),
        ]
        return _uniform(tuple(key))


@cache
def _uniform(key: tuple[int, ...]) -> float:
    return float(np.random.default_rng(key).integers(1, 9)) / 8.0  # eighths, so that there are ties


@dataclass
class FatefulJudge:
    """Says what the oracle says, without doubt."""

    question: Question
    oracle: Oracle
    searched: int = 0

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        self.searched += 1
        return self.accepts(scenario)

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        return self.accepts(scenario)

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        value = self.oracle(self.question, scenario.plan)
        performance = Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(value)})
        rejection = None if value <= 1.0 else Rejection.of(PROMISE, value)
        verdict = Verdict.MET if rejection is None else Verdict.MISSED
        return Candidate(plan=scenario.plan, verdict=verdict, rejection=rejection, performance=performance)


SURVIVALS = [
    Survival(),
    Survival(spare=1),
    Survival(spare=2),
    Survival(zones=2),
    Survival(zones=3),
    Survival(unavailable_share=0.4),
]
MEANS_S = [
    {1: 0.01},
    {1: 0.01, 2: 0.012, 4: 0.016},
    {1: 0.02, 4: 0.03},
    {1: 0.01, 2: 0.008, 4: 0.02},  # not monotone
]


@st.composite
def questions(draw: st.DrawFn) -> Question:
    count = draw(st.integers(1, 3))
    profiles = tuple(
        profile_of(
            f"p{number}",
            draw(st.sampled_from(MEANS_S)),
            hourly_usd=draw(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 1.0])),
            instances_per_device=(each := draw(st.sampled_from([1, 1, 2, 3]))),
            contention=measured([1.0] * each),
        )
        for number in range(count)
    )
    return batch_question(
        profiles=profiles,
        workload=Workload(
            arrival_rate_rps=draw(st.sampled_from([1.0, 90.0, 250.0, 600.0])), arrivals=GammaArrivals(cv=0.9)
        ),
        objective=P99,
        batch_waits_s=draw(st.sampled_from([(0.0,), (0.0, 0.002), (0.002,), (0.001, 0.0, 0.004), None])),
        routings=draw(
            st.sampled_from(
                [(Routing.ROUND_ROBIN,), (Routing.RANDOM, Routing.ROUND_ROBIN), PLAIN_ROUTINGS[:3]]
            )
        ),
        replicas_max=draw(st.integers(1, 9)),
        survival=draw(st.sampled_from(SURVIVALS)),
    )


@laws_hold
@given(questions(), st.integers(0, 10_000), st.sampled_from([0.4, 0.7, 1.0, 2.0]))
def test_the_answer_is_the_best_of_all_combinations(question: Question, seed: int, spread: float) -> None:
    """Whatever waiting fleets and crooked profiles do; of others more replicas never hurt."""
    oracle = Fates(seed, spread)
    answer = recommend(question, FatefulJudge(question, oracle))
    assert_is_best(answer, accepted_fleets(question, oracle))


@dataclass
class StricterJudge(FatefulJudge):
    """Whose certificates ask for more than its search did."""

    stricter: float = 0.0

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        value = self.oracle(self.question, scenario.plan) + self.stricter
        judgement = self.accepts(scenario)
        if value <= 1.0:
            return judgement
        return replace(judgement, verdict=Verdict.MISSED, rejection=Rejection.of(PROMISE, value))


@laws_hold
@given(questions(), st.integers(0, 10_000), st.sampled_from([0.7, 1.0]), st.sampled_from([0.125, 0.25, 0.5]))
def test_a_stricter_certificate_still_gets_the_lowest_price(
    question: Question, seed: int, spread: float, stricter: float
) -> None:
    """Of fleets that start at once, of profiles whose larger batches take longer."""
    crooked = [profile for profile in question.profiles if not profile.is_monotone]
    if crooked:
        question = replace(question, profiles=(profile_of("p", MEANS_S[1], hourly_usd=0.2),))
    question = varied(question, batch_waits_s=(0.0,))
    oracle = Fates(seed, spread)

    def strict(question: Question, plan: BatchPlan) -> float:
        return oracle(question, plan) + stricter

    answer = recommend(question, StricterJudge(question, oracle, stricter=stricter))
    fleets = accepted_fleets(question, strict)
    assert (answer.plan is None) is (not fleets)
    if answer.plan is not None:
        (found,) = [fleet for fleet in fleets if fleet.plan == answer.plan]
        assert found.price == min(fleet.price for fleet in fleets)


# ---- By the laws of batches -----------------------------------------------------------------

LAW_PROFILES = [
    profile_of("fast", {1: 0.010, 2: 0.012, 4: 0.016}),
    profile_of("slow", {1: 0.016, 2: 0.022, 4: 0.034}),
    profile_of("crooked", {1: 0.014, 2: 0.011, 4: 0.020}),
]
LAW_WAITS_S = (0.0, 0.005)  # the law of batches holds up to the service of a full batch
QUANTILES = (0.5, 0.9, 0.95, 0.99)


@cache
def lawful(profile: ServiceProfile, rate_rps: float, plan: BatchPlan) -> Performance:
    """The exact law, each asked once."""
    return predict(profile, Workload(arrival_rate_rps=rate_rps), plan, QUANTILES)


def anonymous(profile: ServiceProfile) -> ServiceProfile:
    """Without what no law depends on."""
    return replace(profile, hourly_usd=None)


def by_law(question: Question, plan: BatchPlan) -> float:
    """The largest share of what is allowed, of all that is promised."""
    profile = anonymous(question.profile(plan.profile))
    performance = lawful(profile, question.workload.arrival_rate_rps, plan)
    objective = question.objective
    shares = [
        performance.response_quantiles_s[q].value / x
        for q, x in objective.by_quantile(Measure.RESPONSE).items()
    ]
    shares += [
        performance.wait_quantiles_s[q].value / x for q, x in objective.by_quantile(Measure.WAIT).items()
    ]
    if objective.allowed(Measure.RESPONSE_MEAN) is not None:
        shares.append(performance.response_mean_s / objective.allowed(Measure.RESPONSE_MEAN))
    if objective.allowed(Measure.UTILIZATION) is not None:
        shares.append(performance.utilization / objective.allowed(Measure.UTILIZATION))
    return max(shares)


class LawJudge:
    """Is never asked: the law decides at every stage."""

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        raise AssertionError(f"the law of {scenario.plan} was not asked before")

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        return self.search(scenario, attempt)

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        return self.search(scenario, 1)


@pytest.fixture(scope="module", autouse=True)
def laws_are_asked_once() -> Iterator[None]:
    def ask(
        profile: ServiceProfile, workload: Workload, plan: BatchPlan, quantiles: tuple[float, ...]
    ) -> Performance:
        assert set(quantiles) <= set(QUANTILES)
        return lawful(anonymous(profile), workload.arrival_rate_rps, plan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capacity.search.batches.predict", ask)
        yield


OBJECTIVES = st.one_of(
    st.builds(lambda x: Objective.of(response={0.99: x}), st.floats(0.0165, 0.12)),
    st.builds(lambda x: Objective.of(response={0.5: x, 0.99: 3.0 * x}), st.floats(0.011, 0.04)),
    st.builds(lambda x: Objective.of(response_mean=x), st.floats(0.0105, 0.05)),
    st.builds(lambda x: Objective.of(wait={0.99: x}), st.floats(0.001, 0.05)),
    st.builds(lambda x: Objective.of(utilization=x), st.floats(0.2, 0.95)),
    st.builds(
        lambda x, y: Objective.of(response={0.99: x}, utilization=y),
        st.floats(0.0165, 0.12),
        st.floats(0.3, 0.95),
    ),
)


@st.composite
def lawful_questions(draw: st.DrawFn) -> Question:
    profiles = draw(
        st.lists(st.sampled_from(LAW_PROFILES), min_size=1, max_size=2, unique_by=lambda p: p.name)
    )
    return batch_question(
        profiles=tuple(replace(p, hourly_usd=draw(st.sampled_from([0.1, 0.2, 0.3, 0.45]))) for p in profiles),
        workload=Workload(arrival_rate_rps=170.0),
        objective=draw(OBJECTIVES),
        batch_waits_s=draw(st.sampled_from([LAW_WAITS_S, (0.0,), (0.005,)])),
        routings=draw(st.sampled_from([(Routing.ROUND_ROBIN,), (Routing.RANDOM, Routing.ROUND_ROBIN)])),
        replicas_max=draw(st.integers(1, 5)),
        survival=draw(st.sampled_from([Survival(), Survival(), Survival(spare=1), Survival(zones=3)])),
    )


@settings(laws_hold, max_examples=50)
@given(lawful_questions())
def test_the_answer_is_the_best_of_all_by_their_laws(question: Question) -> None:
    """Every fleet's law is known: P99, median, mean, wait and utilization, whole and after a loss."""
    answer = recommend(question, LawJudge(), plan_alone=True)
    assert_is_best(answer, accepted_fleets(question, by_law))


# ---- Budgets --------------------------------------------------------------------------------


@dataclass
class CostlyJudge(FatefulJudge):
    """Takes this many requests for each trial."""

    requests: int = 0

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        return replace(super().search(scenario, attempt), requests=self.requests)


TWO_PRICES = batch_question(
    profiles=(profile_of("dear", {1: 0.01}, hourly_usd=1.0), profile_of("cheap", {1: 0.01}, hourly_usd=0.6)),
    workload=Workload(arrival_rate_rps=90.0, arrivals=GammaArrivals(cv=0.9)),
    objective=P99,
    replicas_max=64,
)


def needs(replicas: dict[str, int]) -> Oracle:
    return lambda question, plan: 0.5 if plan.replicas >= replicas[plan.profile] else 2.0


@pytest.mark.parametrize("requests_max", range(1, 12))
def test_the_cheapest_accepted_plan_wins_wherever_the_budget_ends(
    monkeypatch: pytest.MonkeyPatch, requests_max: int
) -> None:
    """The dear family takes 8 replicas, the cheap one 10, which is tried first. Before, a family that was just
    accepted was forgotten when the budget ended amid its search, and one whose turn came later was passed in
    silence.
    """
    monkeypatch.setattr("capacity.search.batches.BatchTheory.search_requests_max", requests_max)
    question = TWO_PRICES
    answer = recommend(question, CostlyJudge(question, needs({"dear": 5, "cheap": 10}), requests=1))
    accepted = [one for one in answer.considered if one.accepted]
    codes = [caveat.code for caveat in answer.caveats]
    if answer.plan is None:
        assert answer.verdict is Verdict.INCONCLUSIVE
        assert CaveatCode.FLEETS_UNTRIED in codes
        return
    prices = {profile.name: profile.hourly_usd for profile in question.profiles}

    def price(plan: BatchPlan) -> float:
        return plan.replicas * prices[plan.profile]

    assert price(answer.plan) == min(price(one.plan) for one in accepted)
    assert price(answer.plan) == pytest.approx(5.0) or CaveatCode.FLEETS_UNTRIED in codes


def test_a_fleet_accepted_on_the_way_and_passed_over_is_certified_after_all() -> None:
    """The search refuses 3 replicas and accepts 4, and one fewer than these; the oracle changes its mind."""
    question = replace(TWO_PRICES, profiles=TWO_PRICES.profiles[:1])
    asked: list[int] = []

    def fickle(question: Question, plan: BatchPlan) -> float:
        asked.append(plan.replicas)
        odd = plan.replicas in (2, 4, 5, 6, 7) or plan.replicas > 7
        return 0.5 if odd else 2.0

    answer = recommend(question, FatefulJudge(question, fickle))
    accepted = [one.plan.replicas for one in answer.considered if one.accepted]
    assert answer.plan is not None
    assert answer.plan.replicas == min(accepted)


# ---- Candidates that are put off ------------------------------------------------------------


@dataclass
class PatientJudge(CostlyJudge):
    """Leaves some plans in doubt, and is asked to go on with them: for twice as long each time, up to its budget."""

    straddles: Callable[[BatchPlan], bool] = lambda plan: False
    last: Verdict = Verdict.INCONCLUSIVE
    spent: list[tuple[BatchPlan, int]] = field(default_factory=list)

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        if not self.straddles(scenario.plan):
            return super().search(scenario, attempt)
        return self._open(scenario.plan, 12_500_000)

    def _open(self, plan: BatchPlan, requests: int) -> Candidate:
        """Near its limit, which the last look may tell."""
        self.spent.append((plan, requests))
        is_last = requests == 100_000_000
        return Candidate(
            plan=plan,
            verdict=self.last if is_last else Verdict.INCONCLUSIVE,
            rejection=None if is_last and self.last is Verdict.MET else Rejection.of(PROMISE, 1.01),
            performance=Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval.exact(0.999)}),
            requests=requests,
            further=None if is_last else lambda: self._open(plan, 2 * requests),
        )


SIX = tuple(f"p{number}" for number in range(6))
SIX_AT_ONE_PRICE = replace(
    TWO_PRICES, profiles=tuple(profile_of(name, {1: 0.01}, hourly_usd=1.0) for name in SIX)
)


def five_straddle(sixth: int, **fields: Any) -> PatientJudge:
    """Five of the profiles straddle with 4 replicas and are enough with more; the sixth takes this many."""
    return PatientJudge(
        SIX_AT_ONE_PRICE,
        needs(dict.fromkeys(SIX, 4) | {"p5": sixth}),
        requests=1,
        straddles=lambda plan: plan.replicas == 4 and plan.profile != "p5",
        **fields,
    )


def test_no_family_goes_untried_because_earlier_ones_straddle() -> None:
    """Before, four of them took the whole budget, and the answer was 5 replicas, with a request to ask again."""
    judge = five_straddle(sixth=4)
    answer = recommend(SIX_AT_ONE_PRICE, judge, plan_alone=True)
    assert (answer.plan.profile, answer.plan.replicas) == ("p5", 4)
    assert [requests for _, requests in judge.spent] == 5 * [12_500_000]
    assert {one.code for one in answer.caveats}.isdisjoint(
        {CaveatCode.FLEETS_UNTRIED, CaveatCode.CHEAPER_INCONCLUSIVE}
    )


def test_cheaper_fleets_in_doubt_share_the_budget_by_turns() -> None:
    """All five are looked at for as long before any is for longer, until together they have had 400 million."""
    judge = five_straddle(sixth=5)
    answer = recommend(SIX_AT_ONE_PRICE, judge, plan_alone=True)
    assert answer.plan.replicas == 5
    spent = [requests for _, requests in judge.spent]
    assert spent == sorted(spent)
    assert [spent.count(millions * 1_000_000) for millions in (12.5, 25, 50, 100)] == [5, 5, 5, 3]
    (caveat,) = [one for one in answer.caveats if one.code is CaveatCode.CHEAPER_INCONCLUSIVE]
    assert caveat.message.startswith("5 fleets, of 4 to 4 replicas, are cheaper and undecided; ")
    assert "ask about fewer, with one --profile" in caveat.message
    assert "raise --requests-max" in caveat.message


def test_a_fleet_that_was_put_off_and_is_enough_is_the_answer() -> None:
    """The first of them is accepted by its last look, and the others are no longer worth one."""
    judge = five_straddle(sixth=5, last=Verdict.MET)
    answer = recommend(SIX_AT_ONE_PRICE, judge, plan_alone=True)
    assert (answer.plan.profile, answer.plan.replicas) == ("p0", 4)
    assert [plan.profile for plan, requests in judge.spent if requests == 100_000_000] == ["p0"]
    assert CaveatCode.CHEAPER_INCONCLUSIVE not in {one.code for one in answer.caveats}


def test_fleets_between_are_tried_once_a_doubt_is_settled() -> None:
    """With 7 replicas it is in doubt, then enough; between 3, which are refused, and 7 lie the fewest."""
    question = replace(TWO_PRICES, profiles=(profile_of("p", {1: 0.01}, hourly_usd=1.0),))
    judge = PatientJudge(
        question,
        needs({"p": 6}),
        requests=1,
        straddles=lambda plan: plan.replicas == 7,
        last=Verdict.MET,
    )
    assert recommend(question, judge, plan_alone=True).plan.replicas == 6
