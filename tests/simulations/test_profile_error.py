"""The error of a profile's samples in a simulated quantile, beside a bootstrap that shares no code with it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capacity.confidence import student_t
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.profile.sampling import known_samples, reach
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from capacity.traffic.workload import ClosedPopulation, Demand, MmppArrivals, Workload
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed, Stage, Stream
from simulations.draws.service import ProfileTimes
from simulations.judge import SimulationJudge
from simulations.looks import precise_look
from simulations.replication import replicate, replicate_alike
from simulations.statistics.intervals import Estimate, ResampledQuantile, like_many, without_noise
from simulations.statistics.pool import merged
from simulations.statistics.profile_error import profile_error
from simulations.statistics.sample import Length
from simulations.statistics.tally import Tally

SAMPLES_S = np.random.default_rng(5).lognormal(np.log(0.010), 0.3, 300)
RATE_RPS = 0.85 / float(SAMPLES_S.mean())


def spread_of_a_bootstrap() -> float:
    """Spread of the logarithm of P99 under 60 resamples, by Lindley's recursion for the same requests under each."""
    generator = np.random.default_rng(11)
    count, requests = 50, 100_000
    laws_s = np.sort(generator.choice(SAMPLES_S, (count, len(SAMPLES_S))), axis=1)
    gaps_s = generator.exponential(1.0 / RATE_RPS, requests)
    picks = generator.integers(len(SAMPLES_S), size=requests)
    response_s = np.empty((requests, count))
    wait_s = np.zeros(count)
    for request in range(requests):
        response_s[request] = wait_s + laws_s[:, picks[request]]
        wait_s = np.maximum(0.0, response_s[request] - gaps_s[request])
    p99_s = np.quantile(response_s[5_000:], 0.99, axis=0)
    return float(np.log(p99_s).std())


def test_the_error_of_a_busy_replica_is_that_of_a_bootstrap() -> None:
    """The chance of the runs themselves, which is as large here, is no error of the profile."""
    profile = ServiceProfile(
        name="p", timings=(BatchTiming(batch_size=1, samples_s=tuple(SAMPLES_S.tolist())),)
    )
    case = BatchCase(
        scenario=Scenario(
            profile=profile,
            workload=Workload(arrival_rate_rps=RATE_RPS),
            plan=BatchPlan(profile="p", replicas=1, batch_size_max=1),
            objective=Objective.of(response={0.99: 1.0}),
        )
    )
    look = precise_look(case, Seed(value=1, stage=Stage.CERTIFY), 50_000_000, 0.05, 0.95)
    spreads = []
    for value in range(3):
        error = profile_error(case, case.length, 0.95, Seed(value=value, stage=Stage.CERTIFY), map)
        assert error is not None
        estimate = error.quantile(look.pool.response_quantile(0.99), lambda sample: sample.responses)
        assert estimate.moved_by is not None
        spreads.append(float(np.log1p(estimate.moved_by / estimate.value).std()))
    assert 0.7 <= np.mean(spreads) / spread_of_a_bootstrap() <= 1.4


def test_runs_under_a_resampled_profile_keep_exact_what_is_an_atom_of_it() -> None:
    case = BatchCase(
        scenario=Scenario(
            profile=paused(40, 1),
            workload=Workload(arrival_rate_rps=10.0),
            plan=BatchPlan(profile="p", replicas=1, batch_size_max=1),
            objective=Objective.of(response={0.9: 1.0}),
        )
    )
    seen: list[Any] = []

    def mapper(function: Callable[[Any], Any], lists: Iterable[list[Any]]) -> list[Any]:
        ours = list(lists)
        seen.extend(task for tasks in ours for task in tasks)
        return [function(tasks) for tasks in ours]

    profile_error(case, Length(warm_up=10, measured=100, cool_down=0), 0.9, Seed(value=1), mapper)
    marks = [one.with_marks().marks_s[1].tolist() for one in seen]
    assert marks == [replace(one, marks_s=()).with_marks().marks_s[1].tolist() for one in seen]
    assert len({len(one) for one in marks}) > 1


@pytest.mark.parametrize(
    ("workload", "batch", "spells"),
    [
        (Workload(arrival_rate_rps=100.0), 4, None),
        (Workload(arrival_rate_rps=100.0), 4, Spells(share=0.5, lasting_s=0.3)),
        (Workload(arrival_rate_rps=100.0, clients=Clients(timeout_s=0.05, attempts=2)), 4, None),
        (
            Workload(
                arrival_rate_rps=100.0, arrivals=MmppArrivals(ratio=2.0, burst_mean_s=1.0, calm_mean_s=1.0)
            ),
            4,
            None,
        ),
        (Workload(arrival_rate_rps=100.0), 1, None),
        (ClosedPopulation(users=5, think_time_s=0.05), 4, None),
    ],
    ids=["batches", "spells", "retries", "bursts", "routed", "users"],
)
def test_runs_of_the_same_requests_draw_them_once_and_are_as_if_each_had(
    workload: Demand, batch: int, spells: Spells | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = [replace(paused(count, 1), spells=spells) for count in (40, 50)]
    profiles = [
        replace(one, timings=(*one.timings, BatchTiming(batch_size=8, mean_s=0.02))) for one in profiles
    ]
    plan = BatchPlan(profile="p", replicas=2, batch_size_max=batch, routing=Routing.RANDOM)
    scenario = Scenario(profile=profiles[0], workload=workload, plan=plan, quantiles=(0.9,))
    case = BatchCase(scenario=scenario, is_whole=True)
    (one,) = case.tasks(Length(warm_up=10, measured=40_000, cool_down=10), Seed(value=1), range(1))
    tasks = [replace(one, service_times=ProfileTimes(each), marks_s=()) for each in (*profiles, profiles[0])]
    alone = [merged([replicate(task)]) for task in tasks]
    drawn: list[int] = []
    service = Stream.service
    monkeypatch.setattr(Stream, "service", lambda self, count: drawn.append(count) or service(self, count))
    together = [merged([sample]) for sample in replicate_alike(tasks)]
    assert sum(drawn) == one.length.requests
    for found, expected in zip(together, alone, strict=True):
        assert found.responses.values_s.tobytes() == expected.responses.values_s.tobytes()
        assert found.responses.counts.tobytes() == expected.responses.counts.tobytes()
        assert found.busy_s == expected.busy_s
    assert together[0].busy_s != together[1].busy_s


def paused(count: int, pauses: int) -> ServiceProfile:
    """Samples of 10 ms, lognormal with sigma 0.1, of which some take 35 ms more."""
    samples_s = 0.010 * np.exp(0.1 * np.random.default_rng(1).standard_normal(count))
    samples_s[:pauses] += 0.035
    return ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, samples_s=tuple(samples_s.tolist())),))


def judged(profile: ServiceProfile, rate_rps: float, replicas: int = 1, limit_s: float = 10.0) -> Candidate:
    scenario = Scenario(
        profile=profile,
        workload=Workload(arrival_rate_rps=rate_rps),
        plan=BatchPlan(profile="p", replicas=replicas, batch_size_max=1),
        objective=Objective.of(response={0.99: limit_s}),
    )
    return SimulationJudge(precision=0.05).certify(scenario, 1, 0)


def p99_s(profile: ServiceProfile, load: float) -> Interval:
    found = judged(profile, load / profile.service_mean_s(1))
    return found.performance.response_quantiles_s[0.99]


def ends_of_a_bootstrap(profile: ServiceProfile, load: float) -> tuple[float, float]:
    """Ends of 95 % of P99 under 200 resamples, drawn with replacement: Lindley's recursion as a running minimum."""
    generator = np.random.default_rng(7)
    samples_s, requests = np.array(profile.timings[0].samples_s), 100_000
    gaps_s = generator.exponential(profile.service_mean_s(1) / load, requests)
    picks = generator.integers(len(samples_s), size=requests)
    found = []
    for law_s in generator.choice(samples_s, (200, len(samples_s))):
        service_s = law_s[picks]
        walk_s = np.concatenate([[0.0], np.cumsum(service_s[:-1] - gaps_s[1:])])
        found.append(float(np.quantile((walk_s - np.minimum.accumulate(walk_s) + service_s)[5_000:], 0.99)))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


@pytest.mark.parametrize(("count", "pauses"), [(40, 1), (300, 3)])
def test_the_ends_of_a_busy_queue_are_those_of_a_bootstrap(count: int, pauses: int) -> None:
    """One pause of 40 samples may be none to four: 46 to 162 ms. Of runs of 25,000 requests each, within 20 %."""
    profile = paused(count, pauses)
    found = p99_s(profile, 0.6)
    low_s, high_s = ends_of_a_bootstrap(profile, 0.6)
    assert 1.0 / 1.2 <= found.low / low_s <= 1.2
    assert 1.0 / 1.2 <= reach(found) / high_s <= 1.2


def test_too_few_samples_leave_a_queue_without_upper_end_however_busy_it_is() -> None:
    """No response is quicker than its service, whose P99 40 samples do not bound. Before, waiting gave it an end."""
    for load, pauses in ((0.1, 1), (0.6, 1), (0.6, 0)):
        assert p99_s(paused(40, pauses), load).known_to is not None
    assert p99_s(paused(300, 3), 0.6).known_to is None


def test_a_size_with_enough_samples_is_enough_for_a_fleet_that_forms_it() -> None:
    """The error of 40 samples of batches of two, which hardly form, does not take the end away."""
    few, many = paused(40, 0).timings[0], paused(600, 6).timings[0]
    profile = ServiceProfile(name="p", timings=(many, replace(few, batch_size=2)))
    assert known_samples(profile, 2)(0.99) == [600, 40]
    assert p99_s(profile, 0.1).known_to is None


@pytest.mark.long
@pytest.mark.parametrize("limit_s", [0.06, 0.1, 0.2])
def test_a_calmer_fleet_is_never_judged_worse(limit_s: float) -> None:
    """A profile of 40 samples with one pause: at a lower rate, or of more replicas, no verdict is harder."""
    profile, rates_rps, fleets = paused(40, 1), (30.0, 50.0, 65.0), (1, 2, 3)
    order = (Verdict.MET, Verdict.INCONCLUSIVE, Verdict.MISSED)
    found = [
        [order.index(judged(profile, rate_rps, count, limit_s).verdict) for count in fleets]
        for rate_rps in rates_rps
    ]
    assert all(row == sorted(row, reverse=True) for row in found)
    assert all(list(column) == sorted(column) for column in zip(*found, strict=True))


def test_a_quantile_in_a_gap_is_read_where_requests_were_seen() -> None:
    """Responses of 10 or 45 ms. Where a resampled profile's quantile is 22 ms, it is one of them, and no 22 ms."""
    tally = Tally.of(np.repeat([0.010, 0.045], [988, 12]), np.zeros(0))
    shares = np.array([0.012, 0.011, 0.013])
    estimate = ResampledQuantile(
        quantile=0.99,
        value=0.045,
        tally=tally,
        above=Estimate(value=0.0, standard_error=0.0, degrees=2),
        from_value=Estimate.of(shares),
        levels=np.linspace(0.985, 0.995, 39),
        moved=np.full(39, 0.022),
        samples=1_000,
    )
    found = estimate.interval(0.95)
    assert (found.low, found.value, found.high) == (0.010, 0.045, 0.045)
    assert set(np.round(estimate.moved_by + estimate.value, 12)) == {0.010, 0.045}


def test_a_few_values_stand_for_many_of_a_normal_law() -> None:
    """As wide as Student's t says of eight; beyond all, they have no law."""
    values = np.array([-1.0, 1.0] * 4)
    found, width = like_many(values, 39), student_t(0.95, 7) * math.sqrt(8 / 7) * math.sqrt(9 / 8)
    assert (found.min(), found.max()) == pytest.approx((-width, width))
    assert sorted(np.unique(like_many(np.array([1.0, np.inf]), 5))) == [1.0, np.inf]


def test_what_halves_do_not_share_at_all_leaves_an_error_of_its_own() -> None:
    """By chance the two halves of few resamples may run against each other: no proof that the profile adds nothing."""
    one = np.array([1.0, -1.0] * 20)
    found = without_noise(np.linspace(-1.0, 1.0, 40), np.column_stack([one, -one]))
    assert float(np.ptp(found)) > 0.0


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_values_are_as_far_apart_as_what_their_halves_share(noise: float) -> None:
    generator = np.random.default_rng(3)
    own = generator.normal(7.0, 1.0, 4_000)
    halves = own[:, None] + noise * generator.standard_normal((4_000, 2))
    found = without_noise(halves.mean(axis=1), halves)
    assert found.mean() == pytest.approx(7.0, abs=0.1)
    assert found.std() == pytest.approx(1.0, rel=0.08)


def test_infinite_values_stay_as_they_are() -> None:
    halves = np.array([[1.0, 1.2], [2.0, 1.8], [np.inf, 1.0], [3.0, 3.1]])
    found = without_noise(np.array([1.1, 1.9, np.inf, 3.05]), halves)
    assert np.isinf(found[2])
    assert np.isfinite(found[[0, 1, 3]]).all()


def test_a_missing_upper_end_is_judged_by_what_the_samples_know() -> None:
    assert reach(Interval(value=1.0, low=0.9, high=float("inf"), known_to=1.5)) == 1.5
    assert reach(Interval(value=1.0, low=0.9, high=1.6)) == 1.6
