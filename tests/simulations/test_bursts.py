"""Arrivals in bursts: strata of known shares, spells that are cut where queues have settled, and exact laws."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.general.mmpp import MMPPMc
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import (
    GammaArrivals,
    MmppArrivals,
    ModulatedArrivals,
    PoissonArrivals,
    Workload,
)
from simulations import judge as judge_of
from simulations.case import one_for_all
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Purpose, Seed, Stream
from simulations.draws.phases import PhaseClock, PhaseStrata
from simulations.draws.service import ExponentialTimes, ServiceTimes
from simulations.judge import SimulationJudge
from simulations.looks import is_settled, looks, precise_look, run_counts
from simulations.replication import Engine, replicate
from simulations.statistics.pool import Pool, merged
from simulations.statistics.sample import Sample
from simulations.statistics.strata import Strata
from simulations.statistics.tally import Tally
from simulations.statistics.verdict import Look

SLOW = MmppArrivals(ratio=2.0, burst_mean_s=20_000.0, calm_mean_s=20_000.0)
_QUANTILES_S = tuple(-math.log1p(-(place + 0.5) / 2000) for place in range(2000))
VARIABLE = ServiceProfile(name="variable", timings=(BatchTiming(batch_size=1, samples_s=_QUANTILES_S),))
NOTHING = np.zeros(0)


class ExponentialCase(BatchCase):
    """A case of exponential service of mean 1 s."""

    @property
    def service_times(self) -> ServiceTimes:
        return ExponentialTimes(1.0)


def single(arrivals: MmppArrivals, load: float, **changes: object) -> ExponentialCase:
    scenario = Scenario(
        profile=VARIABLE,
        workload=Workload(arrival_rate_rps=load, arrivals=arrivals),
        plan=BatchPlan(profile=VARIABLE.name, replicas=1, batch_size_max=1),
        quantiles=(0.99,),
    )
    return ExponentialCase(scenario=replace(scenario, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_fleets_that_are_compared_see_the_same_bursts(load: float) -> None:
    """Before, each had its spells cut where its own queues had settled, and so other bursts than the others."""
    plans = [BatchPlan(profile=VARIABLE.name, replicas=count, batch_size_max=1) for count in (1, 2, 4)]
    cases = [replace(single(SLOW, load, plan=plan), is_whole=True) for plan in plans]
    apart = {case.bursts.settled_s for case in cases if case.bursts is not None}
    assert len(apart) == 3
    alike = BatchCase.alike(cases)
    assert len({case.tasks(alike[0].length, Seed(value=1), range(1))[0].workload for case in alike}) == 1
    assert all(one <= last for case in alike for one, last in zip(*_settled_s(cases, case), strict=True))


def _settled_s(cases: list[BatchCase], case: BatchCase) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The longest of some cases, and that of one."""
    found = [one.bursts.settled_s for one in [*cases, case] if one.bursts is not None]
    return tuple(max(each) for each in zip(*found[:-1], strict=True)), found[-1]


def exact_p99_s(arrivals: MmppArrivals, load: float) -> float:
    law = MMPPMc(
        arrival_rates_rps=arrivals.rates_rps(load),
        switch_rates_per_s=(1.0 / arrivals.burst_mean_s, 1.0 / arrivals.calm_mean_s),
        service_rate_rps=1.0,
        servers=1,
    )
    return law.response_quantile_s(0.99)


@pytest.mark.parametrize(
    ("arrivals", "load", "error"),
    [
        (SLOW, 0.6, 0.05),  # both phases settle, and are cut
        (MmppArrivals(ratio=2.0, burst_mean_s=300.0, calm_mean_s=1500.0), 0.6, 0.05),  # the calm one alone
        (MmppArrivals(ratio=4.0, burst_mean_s=10.0, calm_mean_s=30.0), 0.6, 0.05),  # more than can be served
    ],
)
def test_p99_is_that_of_the_exact_law(arrivals: MmppArrivals, load: float, error: float) -> None:
    case, exact_s = single(arrivals, load), exact_p99_s(arrivals, load)
    pool = Pool.of(map(replicate, case.tasks(case.length, Seed(value=5), range(20))))
    found = pool.response_quantile(0.99)
    assert found.standard_error <= error * exact_s
    assert found.value == pytest.approx(exact_s, abs=4.0 * found.standard_error)


def test_spells_are_cut_where_the_queue_settles_within_half_of_them() -> None:
    runs = single(SLOW, 0.6).bursts
    burst_s, calm_s = runs.settled_s
    relaxation_s = 1.0 / (1.0 - math.sqrt(0.8)) ** 2  # of M/M/1 at the load of bursts
    assert burst_s == pytest.approx(10.0 * relaxation_s, rel=0.01)
    assert 10.0 / (1.0 - math.sqrt(0.4)) ** 2 < calm_s < burst_s  # and what the burst has left is drained
    brief = single(replace(SLOW, burst_mean_s=1.9 * burst_s, calm_mean_s=1.9 * burst_s), 0.6).bursts
    assert brief.settled_s[0] == math.inf > brief.settled_s[1]
    full = single(replace(SLOW, ratio=8.0), 0.6).bursts  # load 1.07 in a burst: it never settles
    assert full.settled_s[0] == math.inf


def test_slow_bursts_need_no_more_requests_than_ten_times_slower_ones() -> None:
    needed = [
        single(replace(SLOW, burst_mean_s=s, calm_mean_s=s), 0.6).counted_min(1.0) for s in (2e4, 2e5, 2e6)
    ]
    assert needed[2] == pytest.approx(needed[1], rel=0.01) == pytest.approx(needed[0], rel=0.1)


def test_of_a_queue_that_is_overloaded_in_bursts_relaxation_times_of_the_whole_count() -> None:
    case = single(MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=60.0), 0.6)
    runs = case.bursts
    assert case.counted_min(1.0) >= 200 * runs.cycle_requests
    assert case.length.measured >= 10 * runs.cycle_requests


def test_strata_are_labelled_by_phase_and_age() -> None:
    arrivals = ModulatedArrivals(bursts=MmppArrivals(ratio=4.0, burst_mean_s=1.0, calm_mean_s=2.0))
    strata = PhaseStrata(arrivals=arrivals, arrival_rate_rps=100.0, ages_s=((0.5, 1.0), (0.7,)))
    seed = Seed(value=3)
    arrived_s = Stream(Workload(arrival_rate_rps=100.0, arrivals=arrivals), 60_000, seed).arrived_s(60_000)
    whole = strata.labels(strata.clock(seed.generator(Purpose.PHASES)), arrived_s)
    clock = strata.clock(seed.generator(Purpose.PHASES))
    in_parts = [strata.labels(clock, arrived_s[k : k + 7_000]) for k in range(0, 60_000, 7_000)]
    assert np.array_equal(np.concatenate(in_parts), whole)
    shares = np.bincount(whole, minlength=5) / len(whole)
    assert shares == pytest.approx(np.concatenate(strata.weights), abs=0.06)
    assert sum(map(sum, strata.weights)) == pytest.approx(1.0)
    burst_rps, calm_rps = arrivals.bursts.rates_rps(100.0)
    assert strata.rates_rps == (burst_rps,) * 3 + (calm_rps,) * 2
    in_burst = whole <= 2
    gaps_s = np.diff(arrived_s)
    assert gaps_s[in_burst[1:] & in_burst[:-1]].mean() == pytest.approx(1.0 / burst_rps, rel=0.03)


def test_cut_spells_last_no_longer_and_begin_at_any_age() -> None:
    bursts = MmppArrivals(ratio=4.0, burst_mean_s=5.0, calm_mean_s=8.0)
    arrivals = ModulatedArrivals(bursts=bursts, spells_max_s=(2.0, math.inf))
    first, lasting = [], []
    for number in range(300):
        clock = PhaseClock(arrivals, 1.0, np.random.default_rng(number))
        ages = [np.array([1e-9]), np.array([1e-9])]
        labels = clock.strata(np.linspace(0.0, 60.0, 6_001), ages)
        phases = labels // 2
        switches = np.flatnonzero(np.diff(phases))
        first.append(phases[0] == 0)
        inner = np.diff(switches)[phases[switches[:-1] + 1] == 0]
        lasting.extend(inner / 100.0)
    share = 5.0 * -math.expm1(-2.0 / 5.0)
    assert np.mean(first) == pytest.approx(share / (share + 8.0), abs=0.07)
    assert np.quantile(lasting, 0.99) <= 2.01  # but for calm stretches too short to be seen
    assert np.mean(lasting) == pytest.approx(share, rel=0.05)


def tally(*durations_s: float) -> Tally:
    return Tally.of(np.array(durations_s, dtype=float), NOTHING)


def sample(*durations_s: float, lost: int = 0, rate_rps: float = 1.0) -> Sample:
    found = tally(*durations_s)
    return Sample(
        waits=found,
        responses=found,
        window_s=(len(durations_s) + lost) / rate_rps,
        busy_s=float(len(durations_s)),
        batches=float(len(durations_s)),
        batch_size_largest=1,
        lost=lost,
        rises_s=(float(len(durations_s)),),
    )


def test_a_stratum_counts_with_its_known_share() -> None:
    """Of 6 requests 2 came in bursts, and in the long run three quarters do."""
    strata = Strata(
        weights=((0.75,), (0.25,)), samples=(sample(5.0, 6.0, rate_rps=3.0), sample(1.0, 1.0, 2.0, 2.0))
    )
    one = strata.as_one
    assert one.counted == 6
    assert one.responses.share_above(4.0) == pytest.approx(0.75)
    assert one.responses.share_above(1.0) == pytest.approx(0.875)
    assert one.responses.total_s / one.counted == pytest.approx(0.75 * 5.5 + 0.25 * 1.5)
    assert one.responses.quantile_s(0.2) == 2.0
    assert one.window_s == pytest.approx(6.0 * (0.75 / 3.0 + 0.25))
    assert one.rises_s == pytest.approx((0.75 * 2.0 + 0.25 * 4.0,))


def test_a_lost_request_counts_with_its_stratum() -> None:
    strata = Strata(weights=((0.5,), (0.5,)), samples=(sample(1.0, lost=3), sample(1.0, 1.0)))
    one = strata.as_one
    assert one.lost / (one.lost + one.counted) == pytest.approx(0.5 * 0.75, abs=0.1)
    assert one.responses.with_lost(one.lost).share_above(1.0) == pytest.approx(0.375)


def test_the_share_of_an_empty_stratum_goes_to_its_neighbour() -> None:
    samples = (sample(3.0), sample(), sample(1.0, 1.0))
    late = Strata(weights=((0.3, 0.3), (0.4,)), samples=samples).as_one.responses.share_above(2.0)
    assert late == pytest.approx(0.6)
    late = Strata(weights=((0.3,), (0.3, 0.4)), samples=samples).as_one.responses.share_above(2.0)
    assert late == pytest.approx(0.3)


def test_strata_merge_one_by_one_and_weigh_once() -> None:
    runs = [
        Strata(weights=((0.5,), (0.5,)), samples=(sample(9.0), sample(1.0, 1.0, 1.0))),
        Strata(weights=((0.5,), (0.5,)), samples=(sample(9.0, 1.0, 1.0), sample(1.0))),
    ]
    assert merged(runs).responses.share_above(5.0) == pytest.approx(0.5 * 2 / 4)
    assert Pool.of(runs).sections[0].responses.share_above(5.0) == pytest.approx(0.5)
    assert Pool.of(runs).counted == 8


def test_either_engine_gives_the_same_strata() -> None:
    profile = load_profile("resnet50-t4-fp16")
    scenario = Scenario(
        profile=profile,
        workload=Workload(
            arrival_rate_rps=900.0, arrivals=MmppArrivals(ratio=3.0, burst_mean_s=0.3, calm_mean_s=0.5)
        ),
        plan=BatchPlan(profile=profile.name, replicas=2, batch_size_max=8),
        quantiles=(0.9,),
    )
    case = BatchCase(scenario=scenario)
    length = replace(case.length, warm_up=100, measured=2_000)
    (task,) = case.tasks(length, Seed(value=1), range(1))
    mine, other = replicate(task), replicate(replace(task, engine=Engine.SIMPY))
    assert isinstance(mine, Strata)
    assert isinstance(other, Strata)
    for one, two in zip(mine.samples, other.samples, strict=True):
        assert np.array_equal(one.responses.values_s, two.responses.values_s)
        assert np.array_equal(one.responses.counts, two.responses.counts)
        assert one.rises_s == two.rises_s


def test_dealt_in_turn_each_replica_sees_gamma_gaps_by_the_clock_of_the_bursts() -> None:
    """The variance over the mean of counts, of every third request and of what stands for it."""
    bursts = MmppArrivals(ratio=4.0, burst_mean_s=5.0, calm_mean_s=8.0)
    workload = Workload(arrival_rate_rps=30.0, arrivals=bursts)
    plan = BatchPlan(profile="x", replicas=3, batch_size_max=1)
    alone, one = one_for_all(workload, plan)
    assert one.replicas == 1
    assert alone == Workload(
        arrival_rate_rps=10.0,
        arrivals=ModulatedArrivals(bursts=bursts, base=GammaArrivals(cv=1.0 / math.sqrt(3))),
    )
    thinned = Stream(workload, 600_000, Seed(value=1)).arrived_s(600_000)[2::3]
    reduced = Stream(alone, 200_000, Seed(value=1)).arrived_s(200_000)
    for window_s in (0.3, 2.0):
        indices = []
        for instants_s in (thinned, reduced):
            counts = np.bincount((instants_s / window_s).astype(int))[:-1]
            indices.append(counts.var() / counts.mean())
        assert indices[0] == pytest.approx(indices[1], rel=0.05)
    assert one_for_all(workload, replace(plan, routing=Routing.SHARED_QUEUE))[1].replicas == 3


def test_bursts_lie_between_poisson_arrivals_at_their_mean_and_at_their_highest_rate() -> None:
    """Greedy batches: more arrivals make no request faster."""
    profile = load_profile("resnet50-t4-fp16")
    bursts = MmppArrivals(ratio=3.0, burst_mean_s=2.0, calm_mean_s=8.0)
    base = Scenario(
        profile=profile,
        workload=Workload(arrival_rate_rps=600.0, arrivals=bursts),
        plan=BatchPlan(profile=profile.name, replicas=2, batch_size_max=16),
        quantiles=(0.99,),
    )
    at_most = bursts.rates_rps(600.0)[0]
    values = []
    for rate_rps, arrivals in ((600.0, PoissonArrivals()), (600.0, bursts), (at_most, PoissonArrivals())):
        scenario = replace(base, workload=Workload(arrival_rate_rps=rate_rps, arrivals=arrivals))
        look = precise_look(BatchCase(scenario=scenario), Seed(value=2), 10_000_000, 0.1, 0.95)
        values.append(look.pool.response_quantile(0.99).interval(0.95))
    assert values[0].high < values[1].low <= values[1].high <= values[2].high


def test_a_short_run_that_may_refuse_has_seen_every_stratum() -> None:
    case = single(MmppArrivals(ratio=2.0, burst_mean_s=400.0, calm_mean_s=400.0), 0.66)
    first = next(looks(case, Seed(value=1), 10**9))
    assert not first.settled
    assert all(len(part.samples) == 5 for part in first.pool.parts if isinstance(part, Strata))
    assert all(
        one.counted for part in first.pool.parts if isinstance(part, Strata) for one in part.samples[:2]
    )


def test_five_runs_that_each_see_many_bursts_refuse_what_is_clear() -> None:
    """Nine replicas at load 1.0 in bursts: a quarter of the requests is late, where one in a hundred may be."""
    profile = load_profile("resnet50-t4-fp16")
    scenario = Scenario(
        profile=profile,
        workload=Workload(
            arrival_rate_rps=3200.0, arrivals=MmppArrivals(ratio=5.0, burst_mean_s=10.0, calm_mean_s=60.0)
        ),
        plan=BatchPlan(profile=profile.name, replicas=9, batch_size_max=64),
        objective=Objective.of(response={0.99: 0.04}),
    )
    refused = SimulationJudge().search(scenario, 30)
    assert refused.verdict is Verdict.MISSED
    assert refused.requests == 5 * BatchCase(scenario=scenario).confirmed_later.length.requests
    accepted = SimulationJudge().certify(replace(scenario, plan=replace(scenario.plan, replicas=14)), 1, 0)
    assert accepted.verdict is Verdict.MET
    at_fourteen = replace(scenario, plan=replace(scenario.plan, replicas=14))
    assert accepted.requests >= 20 * BatchCase(scenario=at_fourteen).length.requests


def test_the_runs_of_bursts_double_from_five_and_those_of_others_from_twenty() -> None:
    assert (
        list(run_counts(100, is_bursty=True))
        == list(run_counts(100, 3, is_bursty=True))
        == [5, 10, 20, 40, 80]
    )
    assert list(run_counts(100)) == [20, 40, 80]
    assert list(run_counts(100, 30, is_bursty=True)) == [30, 60]
    assert list(run_counts(4, is_bursty=True)) == []


def test_only_a_search_accepts_by_five_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchCase, "counted_min", lambda *_: 0)
    monkeypatch.setattr(BatchCase, "exceedances_min", 0)
    case = single(MmppArrivals(ratio=2.0, burst_mean_s=300.0, calm_mean_s=1500.0), 0.5)
    few = Pool.of(map(replicate, case.tasks(case.length, Seed(value=5), range(5))))
    assert is_settled(few, case, care=0.1)
    assert not is_settled(few, case)
    enough = few.extended(map(replicate, case.tasks(case.length, Seed(value=5), range(5, 20))))
    assert is_settled(enough, case)


def test_a_search_accepts_by_fewer_late_responses_than_a_confirmation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BatchCase, "counted_min", lambda *_: 0)
    case = single(MmppArrivals(ratio=2.0, burst_mean_s=300.0, calm_mean_s=1500.0), 0.5)
    pool = Pool.of(map(replicate, case.tasks(case.length, Seed(value=5), range(20))))
    for seen, settled in ((9, [False, False]), (10, [True, False]), (49, [True, False]), (50, [True, True])):
        monkeypatch.setattr(Pool, "independent_exceedances", lambda *_, seen=seen: seen)
        assert [is_settled(pool, case, care) for care in (0.1, 1.0)] == settled


def test_a_search_under_bursts_takes_a_fifth_of_the_requests_or_what_settles_it(monkeypatch) -> None:
    budgets: list[int] = []

    def told(_case: BatchCase, _seed: Seed, budget: int, *_: object) -> Iterator[Look]:
        budgets.append(budget)
        return iter(())

    monkeypatch.setattr(judge_of, "looks", told)
    bursting = single(SLOW, 0.6, objective=Objective.of(response={0.99: 40.0})).scenario
    for scenario in (bursting, replace(bursting, workload=Workload(arrival_rate_rps=0.6))):
        SimulationJudge().search(scenario, 1)
        SimulationJudge().certify(scenario, 1, 0)
        SimulationJudge(requests_max=1_000).search(scenario, 1)
    assert budgets == [20_000_000, 100_000_000, 1_000, 100_000_000, 100_000_000, 1_000]
