"""Estimate: how long a run is, how looks grow, a trace in sections, and workers that change nothing."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest
from cases import sample_of, values_of

from capacity.errors import DomainError, InconclusiveError, InputError
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import load_of
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)
from simulations.case import arrivals_scv
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed, Stage
from simulations.looks import (
    INDEPENDENT_EXCEEDANCES_MIN,
    is_settled,
    look_at_sections,
    looks,
    precise_look,
    why_unsettled,
)
from simulations.replication import Task, replicate
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import SECTIONS, Pool
from simulations.statistics.relaxation import relaxation_requests
from simulations.statistics.sample import Length, Sample
from simulations.statistics.verdict import Look
from simulations.workers import workers

PROFILE = ServiceProfile(
    name="made-up",
    timings=(BatchTiming(batch_size=1, mean_s=0.01), BatchTiming(batch_size=4, mean_s=0.02)),
    request_overhead_s=0.003,
)


def case_of(
    load: float,
    *,
    replicas: int = 2,
    batch: int = 1,
    routing: Routing = Routing.ROUND_ROBIN,
    arrivals: ArrivalProcess | None = None,
    quantile_max: float = 0.99,
) -> BatchCase:
    rate_rps = load * replicas * PROFILE.throughput_rps(batch)
    return BatchCase(
        scenario=Scenario(
            profile=PROFILE,
            workload=Workload(arrival_rate_rps=rate_rps, arrivals=arrivals or PoissonArrivals()),
            plan=BatchPlan(profile="made-up", replicas=replicas, batch_size_max=batch, routing=routing),
            quantiles=(quantile_max,),
        )
    )


def with_(case: BatchCase, **changes: Any) -> BatchCase:
    """The same with another profile, workload or plan."""
    return replace(case, scenario=replace(case.scenario, **changes))


class Recorder:
    """A mapper that simulates nothing, and remembers what it was asked."""

    def __init__(self, response_s: Callable[[int], float] = lambda replication: 1.0) -> None:
        self.calls: list[list[Task]] = []
        self.response_s = response_s

    def __call__(self, function: Any, batch: Iterable[Any], /) -> list[Any]:
        assert function is replicate
        self.calls.append(list(batch))
        return [self.sample(task) for task in self.calls[-1]]

    def sample(self, task: Task) -> Sample:
        generator = np.random.default_rng(task.seed.replication)
        responses_s = self.response_s(task.seed.replication) + 0.1 * generator.random(task.length.measured)
        return sample_of(responses_s)


def rising(function: Any, batch: Iterable[Any], /) -> list[Any]:
    """A mapper of runs whose responses rise from their beginning to their end."""
    generator = np.random.default_rng(0)
    counts = [task.length.measured for task in batch]
    return [sample_of(generator.random(count) + np.linspace(0.0, 1.0, count)) for count in counts]


def bursty(function: Any, batch: Iterable[Any], /) -> list[Any]:
    """A mapper of level runs whose late responses come in bursts of half a run."""
    samples = []
    for task in batch:
        generator = np.random.default_rng(task.seed.replication)
        late = np.repeat(generator.random(2) < 0.3, task.length.measured // 2)
        samples.append(sample_of(1.0 + late + 0.1 * generator.random(late.size)))
    return samples


def test_warm_up_is_ten_relaxation_times() -> None:
    """At load 0.64 M/M/1 forgets within 0.64/(1 - 0.8)² = 16 of its own requests, and M/D/1 within half of that."""
    assert case_of(0.64, replicas=1).length.warm_up == pytest.approx(80, abs=1)
    fleet = case_of(0.64, replicas=5, routing=Routing.POWER_OF_TWO)
    assert fleet.length.warm_up == pytest.approx(400, abs=1)


@pytest.mark.parametrize("load", [0.5, 0.64, 0.8, 0.9, 0.97, 0.99])
def test_constant_service_forgets_within_half_the_time_of_exponential_service(load: float) -> None:
    """The spectral gap of M/D/1 is μ(1 - ρ + ρ ln ρ), the largest value of λ(1 - e^sD) + s; 12 % less at load 0.5."""
    exact = load / (1.0 - load + load * math.log(load))
    half = relaxation_requests(load, 1, 0.0, 1.0, factor_min=0.2)
    assert 0.89 * exact < half < exact


@pytest.mark.parametrize("routing", [Routing.SHARED_QUEUE, Routing.LEAST_OUTSTANDING])
def test_replicas_that_help_each_other_warm_up_as_one_queue(routing: Routing) -> None:
    """But not before the 3.2 requests in service have ended."""
    shared = case_of(0.64, replicas=5, routing=routing)
    assert shared.length.warm_up == pytest.approx(80, abs=1)
    large = case_of(0.64, replicas=50, routing=routing)
    assert large.length.warm_up == pytest.approx(320, abs=1)


def test_bursty_arrivals_warm_up_longer_and_regular_ones_for_a_fifth_at_least() -> None:
    """(ca² + B·cs²)/2 is 4.5 for gaps of cv 3 and constant service, and 0 for a metronome."""
    bursty = case_of(0.64, replicas=1, arrivals=GammaArrivals(cv=3.0))
    regular = case_of(0.64, replicas=1, arrivals=DeterministicArrivals())
    assert bursty.length.warm_up == pytest.approx(720, abs=1)
    assert regular.length.warm_up == pytest.approx(32, abs=1)


def test_batches_whose_time_varies_warm_up_longer_by_their_size() -> None:
    """(ca² + B·cs²)/2 at B = 16, half of the batches 1 ms and half 3 ms long (cs² = 1/4): (1 + 4)/2."""
    timings = tuple(BatchTiming(batch_size=size, samples_s=(0.001, 0.003)) for size in (1, 16))
    profile = ServiceProfile(name="two-speeds", timings=timings)
    plan = BatchPlan(profile="two-speeds", replicas=1, batch_size_max=16)
    case = BatchCase(
        scenario=Scenario(
            profile=profile,
            workload=Workload(arrival_rate_rps=0.64 * 16 / 0.002),
            plan=plan,
            quantiles=(0.99,),
        )
    )
    assert profile.law(16).scv == pytest.approx(0.25)
    assert case.length.warm_up == pytest.approx(2.5 * 160, abs=1)


def test_what_counts_is_eight_warm_ups_or_enough_beyond_the_quantile() -> None:
    """200 responses beyond the quantile: 20,000 for P99, 200,000 for P99.9."""
    assert case_of(0.64, replicas=1).length.measured == pytest.approx(20_000, abs=1)
    assert case_of(0.64, replicas=1, quantile_max=0.999).length.measured == pytest.approx(200_000, abs=1)
    case = case_of(0.64, replicas=99, routing=Routing.POWER_OF_TWO)
    length = case.length
    assert length.measured == 8 * length.warm_up
    assert case.confirmed_later.length.measured == 3 * length.warm_up


def test_cool_down_is_two_full_fleets_but_a_tenth_at_most() -> None:
    assert case_of(0.64, replicas=3, batch=4, routing=Routing.POWER_OF_TWO).length.cool_down == 24
    length = case_of(0.1, replicas=400, batch=4, routing=Routing.SHARED_QUEUE).length
    assert length.cool_down == length.measured // 10 < 2 * 400 * 4


def test_runs_with_spells_are_longer() -> None:
    """A spell of 2 s has 128 requests at 64 rps: a start is forgotten after ten, and ten times the queue's 8."""
    spells = Spells(share=0.5, lasting_s=2.0)
    case = case_of(0.64, replicas=1)
    varies = with_(case, profile=replace(PROFILE, spells=spells))
    assert varies.length.warm_up == pytest.approx(10 * (8 + 128), abs=1)
    assert varies.confirmed_later.length.warm_up == pytest.approx(10 * 8 + 4 * 128, abs=1)
    assert replace(varies, stretch=4).length.warm_up == pytest.approx(40 * (8 + 128), abs=1)
    assert case.counted_min(1.0) == pytest.approx(50_000 * 16 / 4)
    assert varies.counted_min(1.0) == pytest.approx(2_000 * 128 + 50_000 * 16 / 4)
    fleet = case_of(0.64, replicas=5, routing=Routing.POWER_OF_TWO)
    assert fleet.counted_min(1.0) == pytest.approx(50_000 * 16 / 4)  # of five queues each
    shared = case_of(0.64, replicas=5, routing=Routing.SHARED_QUEUE)
    assert shared.counted_min(1.0) == pytest.approx(50_000 * 16 / 4)  # of one
    users = with_(varies, workload=ClosedPopulation(users=3, think_time_s=1.0))
    assert users.requests_in_spell == 0.0
    with pytest.raises(DomainError, match="users have no gaps of their own"):
        users.variability  # noqa: B018


@pytest.mark.parametrize(
    ("arrivals", "scv"),
    [
        (PoissonArrivals(), 1.0),
        (DeterministicArrivals(), 0.0),
        (GammaArrivals(cv=3.0), 9.0),
        (TraceArrivals(instants_s=(0.0, 1.0, 4.0)), 0.25),
    ],
)
def test_squared_coefficient_of_variation_of_the_gaps(arrivals: ArrivalProcess, scv: float) -> None:
    assert arrivals_scv(Workload(arrival_rate_rps=1.0, arrivals=arrivals)) == pytest.approx(scv)


def test_tasks_carry_overhead_plan_and_a_seed_for_each_replication() -> None:
    case = case_of(0.5, routing=Routing.POWER_OF_TWO)
    length = Length(warm_up=1, measured=2, cool_down=3)
    batch = case.tasks(length, Seed(value=3, stage=Stage.SEARCH), range(2, 4))
    assert [task.seed for task in batch] == [
        Seed(value=3, stage=Stage.SEARCH, replication=number) for number in (2, 3)
    ]
    assert {task.request_overhead_s for task in batch} == {0.003}
    assert {task.plan for task in batch} == {case.scenario.plan}
    assert length.requests == 6


def test_looks_double_and_keep_what_they_have() -> None:
    recorder, case = Recorder(), case_of(0.5)
    each = case.length.requests
    seen = [
        (look.pool.replications, look.requests) for look in looks(case, Seed(value=0), 90 * each, recorder)
    ]
    assert seen == [(20, 20 * each), (40, 40 * each), (80, 80 * each)]
    assert [len(call) for call in recorder.calls] == [20, 20, 40]
    replications = [task.seed.replication for call in recorder.calls for task in call]
    assert replications == list(range(80))


@pytest.mark.parametrize("budget", [0, 1, 19, 20, 39, 40, 79, 155, 160])
def test_looks_stay_within_the_budget(budget: int) -> None:
    recorder, case = Recorder(), case_of(0.5)
    each = case.length.requests
    seen = list(looks(case, Seed(value=0), budget * each, recorder))
    simulated = sum(task.length.requests for call in recorder.calls for task in call)
    assert simulated <= budget * each
    assert len(seen) == sum(budget >= replications for replications in (20, 40, 80, 160))


def test_the_first_look_has_what_was_asked() -> None:
    recorder, case = Recorder(), case_of(0.5)
    each = case.length.requests
    seen = looks(case, Seed(value=0), 100 * each, recorder, requests_first=45 * each)
    assert [look.pool.replications for look in seen] == [45, 90]


# A relaxation time of 0.9/(1 - √0.9)² = 341.7 requests: of a metronome a sixteenth of 50,000 of them must be
# seen, 1,067,800 requests, and 40 runs of 20,000 have 800,000.
SLOW = case_of(0.9, replicas=1, arrivals=DeterministicArrivals())


def test_a_case_that_settles_slowly_is_first_probed_and_the_probe_accepts_nothing() -> None:
    recorder, case = Recorder(), SLOW
    each = case.length.requests
    assert each > 20_500
    seen = [
        (look.settled, look.pool.replications, look.requests)
        for look in looks(case, Seed(value=0), 410_000 + 65 * each, recorder)
    ]
    full = [(False, 20), (False, 40), (True, 60)]
    assert seen == [(False, 20, 410_000), *((*look, 410_000 + look[1] * each) for look in full)]
    assert [{task.length.requests for task in call} for call in recorder.calls] == [{20_500}, *[{each}] * 3]


def test_a_look_stays_what_it_was_when_the_next_is_taken() -> None:
    case = case_of(0.5)
    seen = list(looks(case, Seed(value=0), 90 * case.length.requests, Recorder()))
    assert [look.pool.replications for look in seen] == [20, 40, 80]


@pytest.mark.parametrize(("users", "probe"), [(10, (40, 1_000, 10)), (300, (1_200, 1_200, 100))])
def test_a_closed_population_is_probed_once_all_have_come_back(users, probe, monkeypatch) -> None:
    case = with_(case_of(0.5), workload=ClosedPopulation(users=users, think_time_s=1.0))
    for measured, probes in ((10**6, [probe]), (sum(probe), [])):
        monkeypatch.setattr(BatchCase, "length", Length(warm_up=0, measured=measured, cool_down=0))
        assert [(one.warm_up, one.measured, one.cool_down) for one in case.probes] == probes


def test_the_probe_stays_within_the_budget_too() -> None:
    for budget in (409_999, 410_000):
        recorder = Recorder()
        list(looks(case_of(0.97), Seed(value=0), budget, recorder))
        simulated = sum(task.length.requests for call in recorder.calls for task in call)
        assert simulated == (410_000 if budget == 410_000 else 0)


def test_what_was_enough_to_choose_a_plan_is_within_the_budget_of_its_certificate() -> None:
    """The requests of a search include those of its probe, which the certificate pays again."""
    budget = 410_000 + 60 * SLOW.length.requests
    *_, last = looks(SLOW, Seed(value=0), budget, Recorder())
    assert (last.settled, last.requests) == (True, budget)
    again = looks(SLOW, Seed(value=0), budget, Recorder(), requests_first=last.requests)
    assert any(look.settled for look in again)


def test_identical_runs_that_repeat_a_cycle_are_settled() -> None:
    """A metronome and a constant service leave nothing to chance: no replication differs from another."""
    case = case_of(0.3, replicas=1, arrivals=DeterministicArrivals())
    assert next(looks(case, Seed(value=0), 450_000)).settled


def test_a_look_at_runs_that_rise_is_not_settled() -> None:
    case = case_of(0.5)

    look = next(looks(case, Seed(value=0), 450_000, rising))
    assert not look.settled
    assert not look.pool.is_level


def test_a_look_at_too_few_bursts_is_not_settled() -> None:
    """Level runs whose late responses come in bursts as long as half a run: they have seen too few of them."""
    case = case_of(0.5)

    first = next(looks(case, Seed(value=0), 450_000, bursty))
    assert first.pool.replications == 20
    assert first.pool.is_level
    assert first.pool.independent_exceedances(0.99) < INDEPENDENT_EXCEEDANCES_MIN
    assert not first.settled


@pytest.mark.parametrize(
    ("case", "replications"),
    [
        # 50,000 relaxation times are 17,085,000 requests; M/D/1, half as variable, takes a quarter of them: 4,271,000.
        (case_of(0.9, replicas=1), 220),
        (SLOW, 60),
        # Gaps of cv 3 relax within 1538 requests, and are no calmer than M/M/1: 76,884,000.
        (case_of(0.9, replicas=1, arrivals=GammaArrivals(cv=3.0)), 640),
        # Each of five queues by itself, 16 requests: 200,000 and 20 runs of 20,000 are enough.
        (case_of(0.64, replicas=5, routing=Routing.POWER_OF_TWO), 20),
    ],
    ids=["singly", "metronome", "bursty", "fleet"],
)
def test_what_settles_has_seen_enough_relaxation_times(case: BatchCase, replications: int) -> None:
    length = case.length
    probe = 410_000 if length.requests > 20_500 else 0
    assert case.requests_to_settle == probe + replications * length.requests
    fits = Pool.of(
        [sample_of(1.0 + 0.1 * np.random.default_rng(number).random(1000)) for number in range(20)]
    )
    assert fits.is_level
    assert fits.independent_exceedances(0.99) > INDEPENDENT_EXCEEDANCES_MIN
    assert not is_settled(fits, case)


def test_a_rate_at_which_the_clock_cannot_tell_a_service_is_refused() -> None:
    """A ten-thousandth of 10 ms is told up to 2⁵² of it, 4.5e9 s, which 20,000 requests last at 4.44e-6 rps."""
    case = case_of(0.5, replicas=1)
    for rate_rps, refused in ((1e-10, True), (4.4e-6, True), (4.5e-6, False)):
        slow = with_(case, workload=Workload(arrival_rate_rps=rate_rps))
        asked = looks(slow, Seed(value=0), 10**9 if refused else 0, Recorder())
        if refused:
            with pytest.raises(InputError, match="is the unit of the rate right") as error:
                list(asked)
            assert error.value.exit_code == 2
        else:
            assert list(asked) == []


def test_a_think_time_at_which_the_clock_cannot_tell_a_service_is_refused() -> None:
    """As for a rate; where it overflows, the compiled engine must not be asked at all."""
    case = case_of(0.5, replicas=1)
    for think_time_s, refused in ((1e308, True), (1e12, True), (1e3, False)):
        users = ClosedPopulation(users=64, think_time_s=think_time_s)
        asked = looks(with_(case, workload=users), Seed(value=0), 10**9 if refused else 0, Recorder())
        if refused:
            with pytest.raises(InputError, match="is the unit of the think time right") as error:
                list(asked)
            assert error.value.exit_code == 2
        else:
            assert list(asked) == []


def trace_of(requests: int) -> TraceArrivals:
    gaps_s = np.random.default_rng(2).standard_exponential(requests - 1)
    return TraceArrivals(instants_s=tuple(np.cumsum([0.0, *gaps_s]).tolist()), name="monday")


def noisy() -> ServiceProfile:
    """Batches of 5 to 15 ms."""
    varied = BatchTiming(batch_size=1, samples_s=tuple(0.005 + 0.0001 * number for number in range(101)))
    return ServiceProfile(name="made-up", timings=(varied,))


def by_sections(case: BatchCase) -> Look:
    look = look_at_sections(case, Seed(value=0))
    assert look is not None
    return look


def test_a_trace_needs_fifty_requests_beyond_the_quantile_and_five_a_section() -> None:
    with pytest.raises(
        InconclusiveError, match=r"monday has 99 arrivals; P50 .* needs at least 100"
    ) as error:
        next(looks(case_of(0.5, arrivals=trace_of(99), quantile_max=0.5), Seed(value=0), 10**6))
    assert error.value.exit_code == 4
    for arrivals, sections in ((100, 9), (178, 16), (223, SECTIONS), (900, SECTIONS)):
        look = by_sections(case_of(0.5, arrivals=trace_of(arrivals), quantile_max=0.5))
        assert look.pool.replications == sections
    with pytest.raises(InconclusiveError, match="needs at least 5000"):
        look_at_sections(case_of(0.5, arrivals=trace_of(4999)), Seed(value=0))


def test_a_trace_is_run_again_with_other_service_times_alone() -> None:
    """Five times in a search and twenty to be sure, however small the budget; all of them see the same arrivals."""
    case = with_(case_of(0.5, arrivals=trace_of(600), quantile_max=0.5), profile=noisy())
    searching = looks(case, Seed(value=0), 20_000, care=0.1)
    assert [look.pool.replications for look in searching] == [5, 10, 20]
    assert [look.pool.replications for look in looks(case, Seed(value=0), 30_000)] == [20, 40]
    (least,) = looks(case, Seed(value=0), 1)
    assert least.pool.replications == 5
    assert least.settled
    one, other = least.pool.sections[:2]
    assert one.window_s == other.window_s
    assert values_of(one.responses) != values_of(other.responses)


def test_a_trace_may_be_busier_in_its_second_half() -> None:
    """Its runs have no steady state to reach, and are as slow at their end as they are."""
    instants_s = np.cumsum(np.repeat([1.0, 0.0045], 300)).tolist()
    arrivals = TraceArrivals(instants_s=tuple(instants_s))
    case = with_(case_of(0.5, arrivals=arrivals, quantile_max=0.5), profile=noisy())
    workload = Workload(arrival_rate_rps=arrivals.rate_rps, arrivals=arrivals)
    look = next(looks(with_(case, workload=workload), Seed(value=0), 10**6))
    assert look.settled
    assert not look.pool.is_level


def test_where_nothing_but_arrivals_is_random_a_trace_is_known_exactly() -> None:
    profile = ServiceProfile(name="made-up", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
    case = with_(case_of(0.9, replicas=1, arrivals=trace_of(1000), quantile_max=0.9), profile=profile)
    look = next(looks(case, Seed(value=0), 10**6))
    found = look.pool.response_quantile(0.9).interval(0.95)
    assert look.settled
    assert found.low == found.value == found.high


def test_a_path_counts_from_its_tenth_at_the_latest() -> None:
    case = case_of(0.5, arrivals=trace_of(600), quantile_max=0.5)
    assert (case.length.warm_up, case.length.measured) == (55, 545)
    look = by_sections(case)
    whole = replicate(case.tasks(case.length, Seed(value=0), range(1))[0])
    assert values_of(look.pool.whole.responses) == values_of(whole.responses)
    assert sorted({section.counted for section in look.pool.sections}) == [27, 28]
    performance, pooled = (
        batch_performance(pool, load=0.5, replicas=2, quantiles=[0.5], confidence=0.95)
        for pool in (look.pool, Pool.of([whole, whole]))
    )
    for name in ("utilization", "throughput_rps", "batch_size_mean", "queue_length_mean", "in_system_mean"):
        # But for one gap of 540 that the end may be counted by.
        assert getattr(performance, name) == pytest.approx(getattr(pooled, name), rel=2 / 540), name
    sections = look.pool.sections
    assert sum(section.busy_s for section in sections) == pytest.approx(whole.busy_s)
    assert sum(section.batches for section in sections) == pytest.approx(whole.batches)
    for tally, parts in (
        (whole.waits, [section.waits for section in sections]),
        (whole.responses, [section.responses for section in sections]),
    ):
        assert sum(part.total_s for part in parts) == pytest.approx(tally.total_s)
        assert sum(part.positive for part in parts) == tally.positive


def test_the_gaps_between_sections_of_a_trace_are_time_too() -> None:
    """Each section is one burst; between them nobody asks for a minute."""
    gaps_s = np.full(599, 0.01)
    gaps_s[[int(section[0]) - 1 for section in np.array_split(np.arange(10, 600), SECTIONS)]] = 60.0
    trace = TraceArrivals(instants_s=tuple(np.cumsum([0.0, *gaps_s]).tolist()))
    workload = Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace)
    case = with_(case_of(0.5, replicas=1, quantile_max=0.5), workload=workload)
    assert case.length.warm_up == 10
    pool = by_sections(case).pool
    performance = batch_performance(pool, load=None, replicas=1, quantiles=[0.5], confidence=0.95)
    rate_rps = 589 / (trace.instants_s[599] - trace.instants_s[10])
    assert performance.throughput_rps == pytest.approx(rate_rps, rel=0.01)
    assert performance.utilization == pytest.approx(rate_rps * 0.01, rel=0.01)


def test_a_section_of_a_trace_may_be_one_instant() -> None:
    """Stamps of whole seconds, of which each has 60 requests: the path as a whole has a rate."""
    arrivals = TraceArrivals(instants_s=tuple(float(number // 60) for number in range(600)))
    case = case_of(0.5, arrivals=arrivals, quantile_max=0.5)
    pool = by_sections(case).pool
    assert [section.counted for section in pool.sections] == [27] * SECTIONS
    performance = batch_performance(pool, load=0.5, replicas=2, quantiles=[0.5], confidence=0.95)
    assert performance.throughput_rps == pytest.approx(case.scenario.workload.arrival_rate_rps, rel=0.2)


def test_sections_of_a_trace_see_what_came_before_them() -> None:
    """Three times as fast as the replica, all from the start: each section waits longer than the one before."""
    arrivals = TraceArrivals(instants_s=tuple(0.001 * number for number in range(300)))
    case = case_of(3.0, replicas=1, arrivals=arrivals, quantile_max=0.5)
    pool = by_sections(case).pool
    waits_s = [section.waits for section in pool.sections]
    for one, following in itertools.pairwise(waits_s):
        assert one.values_s[-1] < following.values_s[0]


@pytest.mark.parametrize(("load", "settles"), [(0.95, False), (0.3, True)])
def test_a_trace_is_settled_with_twenty_independent_late_responses(load: float, settles: bool) -> None:
    """Those beyond P99 of 12,000 come from a few busy periods at load 0.95, and from many at 0.3."""
    profile = ServiceProfile(name="made-up", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
    for seed in range(4):
        instants_s = np.cumsum(np.random.default_rng(seed).exponential(1.0, 12_000))
        trace = TraceArrivals(instants_s=tuple(instants_s.tolist()))
        case = with_(case_of(load, replicas=1, arrivals=trace), profile=profile)
        look = by_sections(case)
        assert look.settled is settles
        assert (look.pool.independent_exceedances(0.99) >= 20.0) is settles


def test_a_trace_of_few_busy_periods_says_to_record_for_longer() -> None:
    gaps_s = np.random.default_rng(0).exponential(1.0, 12_000)
    trace = TraceArrivals(instants_s=tuple(np.cumsum(gaps_s).tolist()))
    case = case_of(0.95, replicas=1, arrivals=trace)
    message = why_unsettled(case, by_sections(case), 10**9)
    assert "12000 requests at load 0.950 are worth" in message
    assert "an interval needs 20; record for longer" in message


@pytest.mark.parametrize(
    ("routing", "arrivals"),
    [
        (Routing.ROUND_ROBIN, PoissonArrivals()),
        (Routing.ROUND_ROBIN, GammaArrivals(cv=2.0)),
        (Routing.RANDOM, PoissonArrivals()),
    ],
)
def test_one_replica_stands_for_all_that_do_not_look_at_each_other(routing, arrivals) -> None:
    """Two moments of the waits, and the share busy, of a fleet of 3 and of its stand-in: 4 standard errors."""
    case = case_of(0.7, replicas=3, batch=4, routing=routing, arrivals=arrivals)
    alone = case.simulated
    assert (alone.scenario.plan.replicas, load_of(alone.scenario)) == (
        1,
        pytest.approx(load_of(case.scenario)),
    )
    length = Length(warm_up=1000, measured=6000, cool_down=100)

    def pool_of(task: Task, seed: int) -> Pool:
        return Pool.of(replicate(replace(task, seed=Seed(value=seed, replication=i))) for i in range(20))

    stand_in = case.tasks(length, Seed(value=0), range(1))[0]
    assert stand_in.plan.replicas == 1
    fleet = replace(stand_in, plan=case.scenario.plan, workload=case.scenario.workload)
    one, all_three = pool_of(stand_in, 1), pool_of(fleet, 2)
    for above in (first_moment, second_moment):
        few, many = (pool.ratio(above, lambda sample: sample.counted) for pool in (one, all_three))
        assert abs(few.value - many.value) < 4.0 * np.hypot(few.standard_error, many.standard_error)
        assert few.standard_error < 0.05 * few.value
    seen = case.performance(one, [0.5], 0.95)
    expected = batch_performance(
        all_three, load=load_of(case.scenario), replicas=3, quantiles=[0.5], confidence=0.95
    )
    assert seen.load == pytest.approx(0.7)
    assert seen.utilization == pytest.approx(expected.utilization, rel=0.02)
    assert seen.throughput_rps == pytest.approx(case.scenario.workload.arrival_rate_rps, rel=0.02)
    assert seen.in_system_mean == pytest.approx(seen.throughput_rps * seen.response_mean_s, rel=0.02)


@pytest.mark.parametrize("routing", [Routing.LEAST_OUTSTANDING, Routing.POWER_OF_TWO, Routing.SHARED_QUEUE])
def test_replicas_that_look_at_each_other_are_all_simulated(routing: Routing) -> None:
    case = case_of(0.7, replicas=3, routing=routing)
    assert case.simulated == case


@pytest.mark.parametrize(
    ("replicas", "arrivals"),
    [(401, PoissonArrivals()), (9, GammaArrivals(cv=0.1)), (1024, PoissonArrivals())],
)
def test_a_large_fleet_has_a_stand_in_too(replicas: int, arrivals: ArrivalProcess) -> None:
    """Sums of many gaps vary little: 1/√401 is below the smallest cv that a user may ask for."""
    assert (
        case_of(0.7, replicas=replicas, arrivals=arrivals).simulated.scenario.workload.arrival_rate_rps > 0.0
    )


def first_moment(sample: Sample) -> float:
    return sample.waits.total_s


def second_moment(sample: Sample) -> float:
    return float(np.sum(sample.waits.counts * sample.waits.values_s**2))


def test_mean_wait_is_pollaczeks() -> None:
    """M/D/1 at load 0.6: the mean wait is ρ·s/(2(1-ρ)) = 7.5 ms; and the share busy is 0.6."""
    case = case_of(0.6, replicas=1)
    look = next(looks(case, Seed(value=1), 450_000, requests_first=450_000))
    wait = look.pool.ratio(lambda sample: sample.waits.total_s, lambda sample: sample.counted)
    assert look.settled
    assert wait.standard_error < 0.01 * 0.0075
    assert abs(wait.value - 0.0075) < 4.0 * wait.standard_error
    performance = batch_performance(look.pool, load=0.6, replicas=1, quantiles=[0.5], confidence=0.95)
    # The busy share of n services has the standard error ρ/√n or less for Poisson arrivals.
    assert performance.utilization == pytest.approx(0.6, abs=4 * 0.6 / look.pool.counted**0.5)
    assert performance.response_quantiles_s[0.5].value > 0.013


@pytest.mark.usefixtures("deadline")
def test_two_workers_give_the_same_as_none() -> None:
    case = case_of(0.5, batch=4, routing=Routing.POWER_OF_TWO)
    alone = list(looks(case, Seed(value=0), 900_000))
    with workers(2) as mapper:
        together = list(looks(case, Seed(value=0), 900_000, mapper))
    assert len(alone) == len(together) == 2
    for one, other in zip(alone, together, strict=True):
        for section, same in zip(one.pool.sections, other.pool.sections, strict=True):
            assert section.responses.values_s.tobytes() == same.responses.values_s.tobytes()
            assert section.responses.counts.tobytes() == same.responses.counts.tobytes()
        performances = [
            batch_performance(look.pool, load=0.5, replicas=2, quantiles=[0.99], confidence=0.95)
            for look in (one, other)
        ]
        assert performances[0] == performances[1]
        assert (one.settled, one.requests) == (other.settled, other.requests)


def inconclusive(case: BatchCase, requests_max: int, mapper: Any = map) -> str:
    with pytest.raises(InconclusiveError) as raised:
        precise_look(case, Seed(value=0), requests_max, 0.02, 0.95, mapper)
    return str(raised.value)


def test_a_budget_too_small_for_one_look_is_told_what_it_takes() -> None:
    """It is known beforehand, so no run is simulated."""
    case = case_of(0.95, replicas=1)
    needed = case.runs_with(1.0) * case.length.requests
    for budget in (100_000, needed - 1):
        message = inconclusive(case, budget, nothing_is_run)
        assert f"takes {needed} requests or more, and {budget} are allowed" in message


def nothing_is_run(function: Any, batch: Iterable[Any], /) -> NoReturn:
    raise AssertionError("a run was simulated")


def test_an_interval_takes_no_run_that_cannot_settle() -> None:
    """The first look has as many runs of full length as may settle, the next twice as many."""
    case, run = case_of(0.9, replicas=1), []

    def keeping(function: Any, batch: Iterable[Any], /) -> list[Any]:
        run.append(list(batch))
        return [sample_of(np.random.default_rng(task.seed.replication).random(1000)) for task in run[-1]]

    with pytest.raises(InconclusiveError):
        precise_look(case, Seed(value=0), 2 * case.requests_settling(1.0), 1e-9, 0.95, keeping)
    settling = case.runs_with(1.0)
    assert settling > 20
    assert [len(tasks) for tasks in run] == [settling, settling]
    assert {task.length for tasks in run for task in tasks} == {case.length}


def test_runs_that_rise_to_the_end_of_the_budget_say_so() -> None:
    message = inconclusive(case_of(0.5), 450_000, rising)
    assert "responses still rise within the runs; raise --requests-max (450000 now)" in message


def test_too_few_bursts_say_how_much_they_are_worth() -> None:
    message = inconclusive(case_of(0.5), 450_000, bursty)
    assert "independent responses beyond P99, from few busy periods, and an interval needs 50" in message


def test_a_later_look_that_is_not_settled_is_no_answer() -> None:
    """The first twenty runs are level, and those after them rise: the first look was luck."""

    def rising_later(function: Any, batch: Iterable[Any], /) -> list[Any]:
        samples = []
        for task in batch:
            generator, count = np.random.default_rng(task.seed.replication), task.length.measured
            rise = np.linspace(0.0, 1.0, count) if task.seed.replication >= 20 else 0.0
            samples.append(sample_of(generator.standard_exponential(count) + rise))
        return samples

    first, second = looks(case_of(0.5), Seed(value=0), 900_000, rising_later)
    assert (first.settled, second.settled) == (True, False)
    with pytest.raises(InconclusiveError, match="responses still rise within the runs"):
        precise_look(case_of(0.5), Seed(value=0), 900_000, 1e-4, 0.95, rising_later)
    assert (
        precise_look(case_of(0.5), Seed(value=0), 900_000, 1.0, 0.95, rising_later).requests == first.requests
    )


@pytest.mark.parametrize(
    ("routing", "batch", "pooled"),
    [
        (Routing.SHARED_QUEUE, 4, True),
        (Routing.LEAST_OUTSTANDING, 1, True),
        (Routing.LEAST_OUTSTANDING, 4, False),
        (Routing.POWER_OF_TWO, 1, False),
    ],
)
def test_replicas_forget_their_start_as_one_or_each_by_itself(routing, batch, pooled) -> None:
    fleet = case_of(0.64, replicas=20, batch=batch, routing=routing).length.warm_up
    alone = case_of(0.64, replicas=1, batch=batch).length.warm_up
    assert fleet < 8 * alone if pooled else fleet == pytest.approx(20 * alone, rel=0.02)
