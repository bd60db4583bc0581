"""How fleets of engines are run and judged: lengths, budgets, sections, refusals, and the profile's own error."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capacity.errors import DomainError, InconclusiveError, InputError, UnstableError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.llm import Coefficients
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.grid import Outcome
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.overload import Saturation
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.traffic.lengths import LengthLaw, LengthLaws
from capacity.traffic.workload import GammaArrivals, MmppArrivals, TraceArrivals, Workload
from simulations import engine_replication, saturation
from simulations import judge as judge_of
from simulations.cases import engine as engine_case
from simulations.cases import engine_relaxation
from simulations.cases.engine import (
    EngineCase,
    require_below_knee,
    require_tokens_answerable,
)
from simulations.cases.engine_error import widened_by
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.tokens import TokenDraws
from simulations.engine_replication import replicate_tokens
from simulations.judge import SimulationJudge
from simulations.looks import is_settled, look_at_sections, looks
from simulations.simulate import answer
from simulations.statistics import pool as pools
from simulations.statistics.sample import Length
from simulations.statistics.strata import Strata
from simulations.statistics.verdict import Errors, Look, decide, found
from simulations.validation.token_systems import law_scenario

LENGTHS = LengthLaws(LengthLaw(kind="constant", mean=1), LengthLaw(kind="geometric", mean=20)).within(20_000)
LINE = Coefficients(base_s=0.01, per_prefill_token_s=0.0002, per_decode_request_s=0.0002)
P99_S, P50_S, MEAN_S, SHARE = 2.0, 1.0, 0.5, 0.05
OBJECTIVE = Objective.of(ttft={0.99: P99_S, 0.5: P50_S}, response_mean=MEAN_S)


def scenario_of(rate_rps: float = 70.0, replicas: int = 1, **fields: Any) -> TokenScenario:
    scenario = law_scenario(rate_rps, LENGTHS, LINE)
    return replace(scenario, plan=replace(scenario.plan, replicas=replicas), **fields)


@pytest.fixture
def saturates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine saturates at 100 rps, with eight requests running."""
    one = Saturation(
        rate_rps=100.0,
        running_mean=8.0,
        kv_utilization=0.5,
        preemption_rate=0.0,
        step_mean_s=0.01,
        prefill_time_share=0.1,
        binding="slots",
    )
    for module in (engine_case, engine_relaxation, saturation):
        monkeypatch.setattr(module, "saturated", lambda _: one)


def forgets(monkeypatch: pytest.MonkeyPatch, requests: float) -> list[tuple[float, ...]]:
    """The start is forgotten after this number of requests; returns what that was asked with."""
    asked: list[tuple[float, ...]] = []

    def told(*given: Any) -> float:
        *known, places = given
        assert places is None  # as no queue has a limit
        asked.append(tuple(known))
        return requests

    monkeypatch.setattr(engine_case, "open_relaxation_requests", told)
    return asked


@dataclass
class Known:
    """An estimate whose interval is as wide as its confidence is beyond 0.9, times `width`."""

    value: float
    width: float = 1.0
    independent_exceedances: float = 100.0

    def interval(self, confidence: float) -> Interval:
        half = self.width * (confidence - 0.9)
        return Interval(value=self.value, low=self.value - half, high=self.value + half)


@dataclass
class Pool:
    """What is known of each measure: at quantiles, beyond limits, and in the mean."""

    quantiles: dict[float, Known] = field(default_factory=dict)
    late: dict[float, Known] = field(default_factory=dict)
    average: Known = field(default_factory=lambda: Known(0.1))
    missed: Interval = field(default_factory=lambda: Interval(value=0.01, low=0.0, high=0.02))
    is_level: bool = True
    counted: int = 1_000_000
    replications: int = 20
    batch_size_largest: int = 4
    exceedances: float = 50.0

    def of_measure(self, measure: Measure, quantile: float) -> Known:
        return self.quantiles[quantile]

    def beyond(self, measure: Measure, limit_s: float) -> Known:
        return self.late[limit_s]

    def mean(self, measure: Measure) -> Known:
        return self.average

    def missed_interval(self, confidence: float) -> Interval:
        return self.missed

    def independent_exceedances(self, quantile: float, measures: Sequence[Measure]) -> float:
        return self.exceedances


def pool_of(p99_s: float = 1.0, late: float = 0.002, mean_s: float = 0.1, **fields: Any) -> Pool:
    return Pool(
        quantiles={0.99: Known(p99_s), 0.5: Known(0.2)},
        late={P99_S: Known(late, 0.01), P50_S: Known(0.1)},
        average=Known(mean_s),
        **fields,
    )


def look_of(pool: Any, *, settled: bool = True, requests: int = 1000) -> Look:
    return Look(pool=pool, settled=settled, requests=requests)


@pytest.mark.usefixtures("saturates")
def test_what_is_forgotten_is_asked_of_what_is_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """140 rps on 2 engines of 100 rps, of which one stands for both: load 0.7 and 0.7 * 8 in service.

    Gaps of cv 2 split in turns have half their squared variation, 2; geometric outputs of mean 20 have 0.95.
    """
    asked = forgets(monkeypatch, 10.0)
    case = EngineCase(scenario=scenario_of(140.0, 2))
    bursty = replace(case.scenario.workload, arrivals=GammaArrivals(cv=2.0))
    case = EngineCase(scenario=replace(case.scenario, workload=bursty))
    assert case.relaxation_requests == 10.0
    variability = 2.0 + case.scenario.lengths.moments.output_scv
    assert asked == [pytest.approx((0.7, 1, 5.6, variability))]
    assert replace(case, is_whole=True).relaxation_requests == 10.0
    assert asked[1] == pytest.approx((0.7, 2, 11.2, variability + 2.0))
    assert EngineCase(scenario=scenario_of(500.0)).relaxation_requests == 10.0
    assert asked[2][0] == 0.999
    assert asked[2][2] == pytest.approx(0.999 * 8.0)


@pytest.mark.usefixtures("saturates")
@pytest.mark.parametrize(
    ("rate_rps", "forgotten", "length"),
    [
        (70.0, 1000.01, (10_001, 40_004, 2001)),
        (70.0, 3.0, (30, 2000, 200)),
        (70.0, 60.0, (600, 2400, 200)),
        (95.0, 500.0, (5000, 20_000, 1000)),
        (95.1, 500.0, (2000, 8000, 400)),  # beyond the knee no more than 200 are waited for
        (95.1, 150.0, (1500, 6000, 300)),
    ],
)
def test_a_run_is_ten_relaxation_times_and_four_times_as_many(monkeypatch, rate_rps, forgotten, length):
    forgets(monkeypatch, forgotten)
    found = EngineCase(scenario=scenario_of(rate_rps)).length
    assert (found.warm_up, found.measured, found.cool_down) == length


@pytest.mark.usefixtures("saturates")
def test_so_many_are_counted_before_anything_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    forgets(monkeypatch, 10.0)
    case = EngineCase(scenario=scenario_of(objective=Objective.of(response={0.99: 1.0})))
    assert case.counted_min(1.0) == 6000 * 10
    assert case.counted_min(0.5) == 3000 * 10
    assert case.counted_min(0.05) == pytest.approx(50 / 0.01)  # fifty requests beyond P99
    two = EngineCase(
        scenario=replace(case.scenario, plan=replace(case.scenario.plan, replicas=2)), is_whole=True
    )
    assert two.counted_min(1.0) == 3000 * 10
    uneven = replace(
        case, scenario=scenario_of(workload=Workload(arrival_rate_rps=70.0, arrivals=GammaArrivals(cv=2.0)))
    )
    assert (
        uneven.counted_min(1.0) == 4 * 6000 * uneven.relaxation_requests
    )  # clusters of arrivals are seen as often
    # 20 runs of 2,000 count 40,000, which is too few, and 40 runs count enough; of 2,300 each with their ends.
    assert case.requests_to_settle == 40 * 2300


BURSTS = MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=100.0)


def bursting(rate_rps: float = 20.0) -> TokenScenario:
    return scenario_of(objective=OBJECTIVE, workload=Workload(arrival_rate_rps=rate_rps, arrivals=BURSTS))


def test_slots_that_never_fill_are_forgotten_as_soon_as_the_answers_that_run(monkeypatch) -> None:
    """A handful of 100,000 slots is taken; to fill them all would take a quarter of an hour."""
    one = Saturation(
        rate_rps=100.0, running_mean=100_000.0, kv_utilization=0.5, preemption_rate=0.0, step_mean_s=0.01,
        prefill_time_share=0.1, binding="slots",
    )  # fmt: skip
    for module in (engine_case, engine_relaxation, saturation):
        monkeypatch.setattr(module, "saturated", lambda _: one)
    runs = EngineCase(scenario=bursting()).bursts
    assert 0.2 < runs.fed.service_s < 1.0  # twenty tokens of 10 ms and more


@pytest.mark.usefixtures("saturates")
def test_runs_are_told_their_strata_and_do_not_find_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What settles an engine takes as long to find as thousands of its requests."""
    case = EngineCase(scenario=bursting())
    length = Length(warm_up=50, measured=900, cool_down=50)
    first, second = case.tasks(length, Seed(value=3), range(4, 6))
    assert first.strata is second.strata is not None
    assert [one.seed.replication for one in (first, second)] == [4, 5]
    monkeypatch.setattr(engine_relaxation, "settling_requests", None)
    sample = replicate_tokens(first)
    assert isinstance(sample, Strata)
    assert sample.counted == 900
    assert len(sample.samples) == len(first.strata.rates_rps)


@pytest.mark.usefixtures("saturates")
def test_a_search_needs_its_share_of_what_settles_bursts() -> None:
    case = EngineCase(scenario=bursting(39.0))  # load 1.04 in a burst
    assert case.counted_min(1.0) == pytest.approx(case.bursts.counted_min(6000))
    assert case.counted_min(0.05) == pytest.approx(0.05 * case.bursts.counted_min(6000))


@pytest.mark.usefixtures("saturates")
def test_bursts_take_a_small_share_of_the_requests_and_a_confirmation_what_settles_them() -> None:
    case, calm = EngineCase(scenario=bursting()), EngineCase(scenario=bursting(39.0))  # load 1.04 in a burst
    settles = case.requests_to_settle
    assert [case.budget(Stage.SEARCH, most) for most in (10**8, 40 * settles, settles)] == [
        1_500_000, 3 * 40 * settles // 200, 3 * settles // 200,
    ]  # fmt: skip
    assert [case.budget(Stage.CERTIFY, most) for most in (10**8, 40 * settles, settles)] == [
        1_500_000, 2 * settles, settles,
    ]  # fmt: skip
    assert case.budget(Stage.HEADROOM, 10**8) == min(2_000_000, 2 * settles)
    assert calm.budget(Stage.PROBE, 10**8) == 1_000_000  # which would settle later


@pytest.mark.usefixtures("saturates")
def test_what_is_decided_under_bursts_is_narrowed_no_further_than_that(monkeypatch) -> None:
    wide = pool_of()
    seen = [look_of(wide, requests=many) for many in (500_000, 750_000, 4_000_000)]
    monkeypatch.setattr(judge_of, "looks", lambda *_, **__: iter(seen))
    monkeypatch.setattr(SimulationJudge, "_width", lambda *_: 0.5)
    monkeypatch.setattr(EngineCase, "performance", lambda *_: None)
    for scenario, requests in ((bursting(), 750_000), (scenario_of(20.0, objective=OBJECTIVE), 4_000_000)):
        found = SimulationJudge().certify(scenario, 1)
        assert (found.verdict, found.is_precise, found.requests) == (Verdict.MET, False, requests)


@pytest.mark.usefixtures("saturates")
@pytest.mark.parametrize(
    ("times_settling", "p99_s", "looked", "verdict"),
    [
        (0.9, 1.0, 1, Verdict.INCONCLUSIVE),  # it holds, which this budget cannot say
        (0.9, 1e3, 3, Verdict.INCONCLUSIVE),  # it may still be refused
        (1.1, 1.0, 3, Verdict.INCONCLUSIVE),
    ],
)
def test_a_rate_whose_budget_cannot_settle_it_is_left_open_at_once(
    monkeypatch: pytest.MonkeyPatch, times_settling: float, p99_s: float, looked: int, verdict: Verdict
) -> None:
    case, seen = EngineCase(scenario=bursting()), []

    def three(*_: object, **__: object) -> Iterator[Look]:
        for number in range(1, 4):
            seen.append(number)
            yield look_of(pool_of(p99_s), settled=False, requests=number)

    monkeypatch.setattr(judge_of, "looks", three)
    monkeypatch.setattr(EngineCase, "performance", lambda *_: None)
    budget = int(times_settling * case.requests_to_settle)
    found = SimulationJudge().accepts(case.scenario, requests_max=budget)
    assert (found.verdict, len(seen)) == (verdict, looked)


def recorded(count: int, objective: Objective) -> EngineCase:
    """Engines that saturate at 100 rps, under a trace of this many requests."""
    scenario = scenario_of(objective=objective)
    arrivals = TraceArrivals(instants_s=tuple(float(number) for number in range(count)), name="mine.csv")
    return EngineCase(scenario=replace(scenario, workload=replace(scenario.workload, arrivals=arrivals)))


@pytest.mark.usefixtures("saturates")
@pytest.mark.parametrize(
    ("count", "forgotten", "start", "sections"),
    [(510, 1000.0, 51, 9), (1005, 0.3, 3, 20), (5000, 1.0, 10, 20)],
)
def test_a_path_is_cut_into_sections_with_five_requests_beyond_each(
    monkeypatch: pytest.MonkeyPatch, count: int, forgotten: float, start: int, sections: int
) -> None:
    """P90: 50 requests a section; a tenth at most is left out for the start."""
    forgets(monkeypatch, forgotten)
    parts: list[slice] = []

    def reduced(_task: object, _draws: object, part: slice) -> slice:
        parts.append(part)
        return part

    alone = SimpleNamespace(boundary=lambda request: request)
    monkeypatch.setattr(engine_case, "draw_tokens", lambda *_: alone)
    monkeypatch.setattr(engine_case, "reduced", reduced)
    known = Pool(exceedances=20.0)
    monkeypatch.setattr("simulations.looks.Pool", SimpleNamespace(of_path=lambda _: known))
    case = recorded(count, Objective.of(response={0.9: 1.0}))
    assert (case.length.warm_up, case.length.requests) == (start, count)
    look = look_at_sections(case, Seed(value=0))
    assert (look.settled, look.requests, look.pool) == (True, count, known)
    assert len(parts) == sections
    assert (parts[0].start, parts[-1].stop) == (start, count)
    assert all(one.stop == other.start for one, other in pairwise(parts))
    sizes = {one.stop - one.start for one in parts}
    assert max(sizes) - min(sizes) <= 1
    known.exceedances = 19.9
    few = look_at_sections(case, Seed(value=0))
    assert not few.settled


@pytest.mark.usefixtures("saturates")
def test_a_path_that_is_too_short_says_how_many_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    forgets(monkeypatch, 10.0)
    with pytest.raises(
        InconclusiveError,
        match=r"^mine.csv has 499 arrivals; P90 with an interval needs at least 500: .* --replay",
    ):
        next(looks(recorded(499, Objective.of(response={0.9: 1.0})), Seed(value=0), 10**6))


@pytest.mark.usefixtures("saturates")
def test_a_run_of_a_path_has_seen_all_of_its_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly its fleet forgets, and though its second half be busier than its first."""
    forgets(monkeypatch, 1e6)
    case = recorded(1000, Objective.of(response={0.9: 1.0}))
    pools: list[Any] = [Pool(is_level=False, counted=501), Pool(counted=499)]
    assert [is_settled(pool, case) for pool in pools] == [True, False]
    assert case.requests_to_settle == 20 * 1000


def test_what_is_found_of_a_limit_is_a_quantile_a_share_or_a_mean() -> None:
    pool: Any = pool_of()
    response = Limit(measure=Measure.TTFT, allowed=P99_S, quantile=0.99)
    assert found(pool, response, 0.95, 1).value == 1.0
    assert found(pool, Limit(measure=Measure.MISSED, allowed=SHARE), 0.95, 1) is pool.missed
    assert found(pool, Limit(measure=Measure.RESPONSE_MEAN, allowed=1.0), 0.95, 1).value == 0.1


@pytest.mark.parametrize(
    ("pool", "settled", "verdict", "limit_s"),
    [
        (pool_of(), True, Verdict.MET, None),
        (pool_of(), False, Verdict.INCONCLUSIVE, None),
        (pool_of(late=0.011), True, Verdict.MISSED, P99_S),  # its lower end at 0.95 is 0.0105
        (pool_of(late=0.0104), True, Verdict.INCONCLUSIVE, None),
        (pool_of(late=0.0093), True, Verdict.INCONCLUSIVE, None),  # its upper end at 0.98 is 0.0101
        (pool_of(late=0.0091), True, Verdict.MET, None),
        (pool_of(p99_s=1.93), True, Verdict.INCONCLUSIVE, None),  # its upper end is 2.01
        (pool_of(p99_s=1.91), True, Verdict.MET, None),
        (pool_of(mean_s=0.43), True, Verdict.INCONCLUSIVE, None),  # to 0.51
        (pool_of(mean_s=0.54), True, Verdict.INCONCLUSIVE, None),  # from 0.49
        (pool_of(mean_s=0.56), True, Verdict.MISSED, MEAN_S),  # from 0.51
        (pool_of(p99_s=3.0, late=0.5, mean_s=0.7), True, Verdict.MISSED, P99_S),  # 1.5 is more than 1.4
        (pool_of(p99_s=2.5, late=0.5, mean_s=0.7), True, Verdict.MISSED, MEAN_S),
    ],
)
def test_a_limit_is_met_or_missed_by_its_share_and_its_ends(pool, settled, verdict, limit_s) -> None:
    errors = Errors(accept=0.02, refuse=0.05)
    decided, rejection = decide(look_of(pool, settled=settled), OBJECTIVE, errors)
    assert decided is verdict
    assert (None if rejection is None else rejection.allowed) == limit_s


def test_the_width_is_of_what_is_nearest_to_its_limit() -> None:
    judge = SimulationJudge(confidence=0.95)
    assert judge._width(pool_of(p99_s=1.0, mean_s=0.1), OBJECTIVE, 1) == pytest.approx(0.05)
    assert judge._width(pool_of(p99_s=1.0, mean_s=0.4), OBJECTIVE, 1) == pytest.approx(0.05 / 0.4)
    share = Objective.of(ttft={0.99: P99_S}, goodput=0.9)
    (missed,) = [one for one in share.limits if one.measure is Measure.MISSED]
    wide: Any = Pool(quantiles={0.99: Known(1.0)}, missed=Interval(value=0.09, low=0.05, high=0.11))
    assert judge._width(wide, share, 1) == pytest.approx(0.04 / missed.allowed)


@pytest.fixture
def certified(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Candidate[TokenPlan]]:
    """A plan that is certified, by looks that are given."""
    forgets(monkeypatch, 10.0)
    monkeypatch.setattr(EngineCase, "performance", lambda *_: None)

    def judged(*seen: Look, rate_rps: float = 70.0, **fields: Any) -> Candidate[TokenPlan]:
        monkeypatch.setattr(judge_of, "looks", lambda *_: iter(seen))
        judge = SimulationJudge(precision=0.06, **fields)
        candidate: Candidate[TokenPlan] = judge.certify(scenario_of(rate_rps, objective=OBJECTIVE), 1)
        return candidate

    return judged


@pytest.mark.usefixtures("saturates")
def test_a_judgement_ends_with_the_first_look_that_is_clear(certified) -> None:
    late, good = look_of(pool_of(late=0.9), requests=1), look_of(pool_of(), requests=2)
    wide = look_of(pool_of(p99_s=0.8), requests=3)
    missed = certified(late, good)
    assert (missed.verdict, missed.requests, missed.doubt) == (Verdict.MISSED, 1, None)
    met = certified(wide, good, late)
    assert (met.verdict, met.requests, met.is_precise) == (Verdict.MET, 2, True)
    met = certified(wide)
    assert (met.verdict, met.is_precise) == (Verdict.MET, False)
    near = certified(good, rate_rps=95.5)
    assert (near.verdict, near.doubt) == (Verdict.INCONCLUSIVE, Doubt.PROFILE)
    assert near.rejection == Rejection(reason=Reason.STABILITY, allowed=0.95, needed=0.955)
    assert certified(good, rate_rps=95.0).verdict is Verdict.MET
    over = certified(rate_rps=100.0)
    assert (over.verdict, over.requests) == (Verdict.MISSED, 0)
    assert over.rejection == Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.0)


@pytest.mark.usefixtures("saturates")
def test_what_stays_open_says_how_many_requests_it_takes(certified) -> None:
    settles = EngineCase(scenario=scenario_of(objective=OBJECTIVE)).requests_to_settle
    for seen, needed in (
        ((), settles),
        ((look_of(pool_of(p99_s=1.97), requests=10**6),), 2 * 10**6),
        ((look_of(pool_of(), settled=False, requests=7),), settles),
    ):
        left = certified(*seen, requests_max=5_000_000)
        assert (left.verdict, left.doubt) == (Verdict.INCONCLUSIVE, Doubt.REQUESTS)
        assert left.rejection == Rejection(reason=Reason.BUDGET, allowed=5_000_000, needed=needed)


@pytest.mark.usefixtures("saturates")
def test_a_probe_ends_where_all_that_may_be_simulated_would_not_accept(monkeypatch) -> None:
    """P99 of 1.98 to 2.03 s beside 2 s: four times the requests leave 2.005 s, and nine times 1.997 s."""
    forgets(monkeypatch, 10.0)
    monkeypatch.setattr(EngineCase, "performance", lambda *_: None)
    hopeless, later = look_of(pool_of(p99_s=1.98, late=0.0098)), look_of(pool_of(), requests=2000)
    monkeypatch.setattr(judge_of, "looks", lambda *_: iter((hopeless, later)))
    monkeypatch.setattr(EngineCase, "requests_to_settle", 10**6)
    scenario = scenario_of(objective=OBJECTIVE)
    for requests_max, requests in ((4_000, 1000), (10, 1000), (9_000, 2000)):
        assert SimulationJudge().probe(scenario, requests_max).requests == requests


@pytest.mark.usefixtures("saturates")
def test_a_rate_takes_a_tenth_of_the_requests_or_what_settles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    forgets(monkeypatch, 10.0)
    case, over = EngineCase(scenario=scenario_of()), EngineCase(scenario=scenario_of(100.0))
    settles = case.requests_to_settle
    assert case.budget(Stage.HEADROOM, 10**8) == 2 * settles
    assert case.budget(Stage.PROBE, 10**8) == settles
    assert case.budget(Stage.HEADROOM, 10**8, effort=4) == 8 * settles
    assert case.budget(Stage.HEADROOM, 200) == 20
    assert case.budget(Stage.HEADROOM, 2) == 1
    assert over.budget(Stage.HEADROOM, 10**8) == 400_000  # beyond the knee it may only refuse


def test_the_error_of_the_profile_can_open_what_was_met(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(high_s: float, *seen: Look) -> Candidate[TokenPlan]:
        monkeypatch.setattr(judge_of, "looks", lambda *_: iter(seen or (look_of(pool_of()),)))
        wide = Performance(
            kind=Kind.SIMULATION, ttft_quantiles_s={0.99: Interval(value=1.0, low=0.5, high=high_s)}
        )
        monkeypatch.setattr(EngineCase, "widened", lambda *_: wide)
        monkeypatch.setattr(EngineCase, "performance", lambda *_: Performance(kind=Kind.SIMULATION))
        candidate: Candidate[TokenPlan] = SimulationJudge(precision=0.1).certify(
            scenario_of(1.0, objective=OBJECTIVE), 1
        )
        assert candidate.performance is wide
        return candidate

    assert (told(2.0).verdict, told(2.0).doubt) == (Verdict.MET, None)
    opened = told(2.1)
    assert (opened.verdict, opened.doubt) == (Verdict.INCONCLUSIVE, Doubt.PROFILE)
    assert (opened.rejection.allowed, opened.rejection.needed) == (P99_S, 2.1)
    missed = told(2.1, look_of(pool_of(late=0.9)))
    assert (missed.verdict, missed.doubt) == (Verdict.MISSED, None)


def test_intervals_widen_by_the_scatter_of_logarithms() -> None:
    """Two resamples whose logarithms lie 0.02 apart: 0.02/sqrt(2), times t of one degree, 12.706, is 0.1797."""
    pools: Any = [
        SimpleNamespace(
            quantile_s=lambda measure, q, s=shift: math.exp(s),
            mean_s=lambda measure, s=shift: math.exp(2.0 * s),
        )
        for shift in (0.0, 0.02)
    ]
    point = Interval.exact(3.0)
    share = Interval(value=0.1, low=0.05, high=0.2)
    found = widened_by(
        pools,
        Performance(
            kind=Kind.SIMULATION,
            ttft_quantiles_s={0.5: point},
            response_quantiles_s={0.9: point},
            intervals={"ttft_mean_s": point, "missed_share": share},
        ),
        0.95,
    )
    for known in (found.ttft_quantiles_s[0.5], found.response_quantiles_s[0.9]):
        assert math.log(known.high / 3.0) == pytest.approx(12.7062 * 0.02 / math.sqrt(2.0), rel=1e-4)
        assert known.low * known.high == pytest.approx(9.0)
    mean = found.intervals["ttft_mean_s"]
    assert math.log(mean.high / 3.0) == pytest.approx(12.7062 * 0.04 / math.sqrt(2.0), rel=1e-4)
    assert found.intervals["missed_share"] is share
    same = Performance(kind=Kind.SIMULATION)
    assert widened_by([], same, 0.95) is same


@pytest.mark.usefixtures("saturates")
def test_what_cannot_be_sustained_names_the_fewest_replicas() -> None:
    assert require_tokens_answerable(scenario_of(70.0)) == pytest.approx(0.7)
    with pytest.raises(
        UnstableError,
        match=r"^unstable plan: load 1\.000 >= 1 \(100 rps on 100 rps of 1 replica\); use at least 2 replicas$",
    ) as told:
        require_tokens_answerable(scenario_of(100.0))
    assert told.value.servers_min == 2
    with pytest.raises(
        UnstableError, match=r"load 1\.750 >= 1 \(350 rps on 200 rps of 2 replicas\);.* 4 repl"
    ):
        require_tokens_answerable(scenario_of(350.0, 2))


@pytest.mark.usefixtures("saturates")
def test_near_saturation_a_lower_rate_is_named() -> None:
    require_below_knee(scenario_of(95.0))
    with pytest.raises(
        InconclusiveError, match=r"^at load 0\.960, within 5 % .*, or ask for a rate below 190 rps$"
    ):
        require_below_knee(scenario_of(192.0, 2))


def raising(error: Exception) -> Callable[[TokenScenario], Performance]:
    def simulate(_: TokenScenario) -> Performance:
        raise error

    return simulate


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UnstableError("why", servers_min=2), Outcome.UNSTABLE),
        (DomainError("why"), Outcome.PROFILE_RANGE),
        (InconclusiveError("why"), Outcome.INCONCLUSIVE),
        (InputError("why"), Outcome.INCONCLUSIVE),
    ],
)
def test_a_cell_without_an_answer_says_why(error: Exception, outcome: Outcome) -> None:
    simulate: Any = raising(error)
    told = answer(simulate, scenario_of())
    assert (told.outcome, told.reason, told.performance) == (outcome, "why", None)
    performance = Performance(kind=Kind.SIMULATION)
    answers: Any = lambda _: performance  # noqa: E731
    assert answer(answers, scenario_of()).performance is performance


def test_one_engine_stands_for_all_where_it_may() -> None:
    four = scenario_of(80.0, 4)
    one = EngineCase(scenario=four).simulated.scenario
    assert (one.plan.replicas, one.workload.arrival_rate_rps) == (1, 20.0)
    assert EngineCase(scenario=four, is_whole=True).simulated.scenario is four
    least = replace(four, plan=replace(four.plan, routing=Routing.LEAST_OUTSTANDING))
    assert EngineCase(scenario=least).replicas == 4
    trace = replace(four.workload, arrivals=TraceArrivals(instants_s=(0.0, 1.0)))
    recorded = EngineCase(scenario=replace(four, workload=trace))
    assert recorded.simulated is recorded
    assert recorded.is_path
    assert not EngineCase(scenario=four).is_path


def test_runs_without_a_time_between_tokens_say_nothing_about_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first look, of twenty runs, would claim that every request kept the limit."""
    scenario = replace(law_scenario(10.0, LENGTHS, LINE), objective=Objective.of(tpot={0.9: 1.0}))
    case = EngineCase(scenario=scenario)

    def counts(pool: pools.Pool, measure: Measure) -> bool:
        return measure is not Measure.TPOT or pool.replications > 20

    monkeypatch.setattr(pools.Pool, "counts", counts)
    first = next(looks(case, Seed(value=1), 10**6, requests_first=1))
    assert first.pool.replications == 40


def test_measures_are_those_that_are_promised_else_two() -> None:
    assert EngineCase(scenario=scenario_of()).deciding == (Measure.TTFT, Measure.RESPONSE)
    assert EngineCase(scenario=scenario_of(objective=OBJECTIVE)).deciding == (Measure.TTFT,)
    means = Objective.of(response_mean=1.0)
    assert EngineCase(scenario=scenario_of(objective=means)).deciding == (Measure.TTFT, Measure.RESPONSE)


@pytest.mark.usefixtures("saturates")
def test_a_path_has_no_quantiles_beyond_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(engine_case, "engine_performance", lambda _, **given: asked.append(given))
    pool: Any = None
    scenario = scenario_of(140.0, 4, objective=Objective.of(response={0.99: 1.0}), quantiles=(0.98,))
    EngineCase(scenario=scenario).performance(pool, (0.9, 0.999), 0.9)
    assert asked[0] == {
        "load": 0.35,
        "replicas": 4,
        "simulated": 1,
        "quantiles": (0.9, 0.999),
        "confidence": 0.9,
        "has_limits": True,
        "may_lose": False,
    }
    forgets(monkeypatch, 0.3)
    instants_s = tuple(float(number) for number in range(1003))
    trace = replace(scenario.workload, arrivals=TraceArrivals(instants_s=instants_s))
    path = EngineCase(scenario=replace(scenario, workload=trace))
    path.performance(pool, (0.9, 0.94, 0.95, 0.96, 0.98, 0.99, 0.999), 0.9)
    assert asked[1]["quantiles"] == [0.9, 0.94, 0.95, 0.98, 0.99]  # fifty of a thousand, or asked for
    assert asked[1]["simulated"] == 4


def test_what_is_counted_by_time_counts_until_the_next_would_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrivals at 0, 2, 4, 8 and 9 s: the second to the fourth count, from 2 s to 3 s after 8 s."""
    asked: list[Any] = []
    monkeypatch.setattr(engine_replication, "serve", lambda _s, _d, _e, window_s: asked.append(window_s))
    monkeypatch.setattr(engine_replication, "sampler", lambda *_: lambda **given: given)
    scenario = scenario_of()
    task = engine_replication.TokenTask(
        scenario=scenario, length=Length(warm_up=1, measured=3, cool_down=1), seed=Seed(value=0)
    )
    draws = TokenDraws(
        arrived_s=np.array([0.0, 2.0, 4.0, 8.0, 9.0]),
        input_tokens=np.arange(1, 6),
        output_tokens=np.ones(5, dtype=np.int64),
        cached_tokens=np.zeros(5, dtype=np.int64),
        routing=np.zeros(10),
    )
    monkeypatch.setattr(engine_replication, "draw_tokens", lambda *_: draws)
    found: Any = engine_replication.replicate_tokens(task)
    assert asked == [(2.0, 11.0)]
    assert (found["part"], found["window_s"]) == (slice(1, 4), 9.0)


def test_time_outside_of_an_engine_grows_with_the_prompt() -> None:
    scenario = scenario_of()
    overhead = replace(scenario.profile.overhead, request_s=0.5, per_input_token_s=0.01)
    scenario = replace(scenario, profile=replace(scenario.profile, overhead=overhead))
    draws: Any = SimpleNamespace(input_tokens=np.array([0, 10]))
    assert engine_replication.overheads_s(scenario, draws).tolist() == [0.5, 0.6]
