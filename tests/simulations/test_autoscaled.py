"""Days of a fleet that an autoscaler sizes: laws that need no second simulator, and both engines alike."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from cases import fixed
from hypothesis import given, settings
from hypothesis import strategies as st
from scaled import changed, scaled_fleet

from capacity.autoscaling.findings import Kept, binding_of
from capacity.autoscaling.scaled_fleet import REQUESTS_MAX, ScaledFleet
from capacity.errors import DomainError, InconclusiveError, InputError
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.autoscaler import SYNC_S, Autoscaler, Metric, Target
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.queues.markov.mmc import MMc
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Protection
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import ArrivalProcess, DeterministicArrivals, MmppArrivals, PoissonArrivals
from simulations import autoscaled
from simulations.autoscaled import DaySimulation
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.attempts import AttemptDraws, BatchFleet
from simulations.draws.cells import PER_OCTAVE
from simulations.draws.days import DayStream
from simulations.draws.records import Floats
from simulations.draws.service import ExponentialTimes, ProfileTimes, ServiceTimes
from simulations.draws.watching import Sight, Unwatched
from simulations.kernel import watched
from simulations.kernel.recovery.run import run as run_kernel
from simulations.kernel.watched import serve_watched
from simulations.reference.recovery.fleet import run as run_reference
from simulations.scaler import Scaler
from simulations.statistics import tally

SERVICE_S = 0.1
PROFILE = ServiceProfile(name="flat", timings=(BatchTiming(batch_size=1, mean_s=SERVICE_S),), hourly_usd=2.0)
SEED = Seed(value=0, stage=Stage.AUTOSCALE)
HOUR_S = 3600.0


def utilization(level: float) -> Target:
    return Target(metric=Metric.UTILIZATION, level=level)


def fleet(
    rates: Sequence[tuple[float, float]],
    *,
    target: Target | None = None,
    ends_s: float = HOUR_S,
    arrivals: ArrivalProcess | None = None,
    routing: Routing = Routing.ROUND_ROBIN,
    queue_limit: int | None = None,
    limit_s: float = 0.5,
    **scaling: float,
) -> ScaledFleet:
    """A fleet of replicas that serve one request in 0.1 s; rates by time, from midnight on."""
    settings: dict[str, float] = {"replicas_max": 10, **scaling}
    scaler = Autoscaler(target=target or utilization(0.6), **settings)  # type: ignore[arg-type]
    plan = BatchPlan(
        profile="flat",
        replicas=scaler.replicas_max,
        batch_size_max=1,
        routing=routing,
        queue_limit=queue_limit,
    )
    day = DailyCurve(times_s=tuple(t for t, _ in rates), rates_rps=tuple(r for _, r in rates), ends_s=ends_s)
    return scaled_fleet(PROFILE, plan, day, scaler, arrivals=arrivals or PoissonArrivals(), limit_s=limit_s)


def scaled(
    asked: ScaledFleet, times: ServiceTimes | None = None, scaler_type: type[Scaler] = Scaler
) -> Scaler:
    """One run by the kernel, and its scaler afterwards."""
    stream = stream_of(asked)
    assert asked.autoscaler is not None
    until_s = asked.warm_up_s + asked.lasts_s
    scaler = scaler_type(asked.autoscaler, asked.plan.replicas, stream.arrived_by, until_s)
    for _ in serve_watched(
        asked.plan, times or fixed(lambda _: SERVICE_S), stream, scaler, asked.plan.replicas
    ):
        pass
    return scaler


def stream_of(asked: ScaledFleet, seed: Seed = SEED) -> DayStream:
    return DayStream(asked.steps, asked.arrivals, seed)


def draws_of(asked: ScaledFleet, seed: Seed = SEED) -> AttemptDraws:
    """All of a day at once, as the kernels that know clients want it."""
    stream = stream_of(asked, seed)
    arrived_s = stream.arrived_s(1_000_000)
    count = len(arrived_s)
    return AttemptDraws(
        arrived_s=arrived_s,
        service=stream.service(count).reshape(1, count),
        routing=stream.routing(count).reshape(1, count, 2),
        backoff=np.zeros((0, 0)),
    )


@pytest.mark.parametrize(
    ("rate_rps", "level"), [(20.0, 0.6), (20.0, 0.45), (7.0, 0.3), (33.0, 0.8), (50.0, 0.75), (1.0, 0.6)]
)
def test_a_constant_rate_ends_at_the_load_over_the_target_within_the_tolerance(rate_rps, level) -> None:
    """Without any chance: ceil(load / target), or any number whose utilization is within 10 % of the target."""
    asked = fleet([(0.0, rate_rps)], target=utilization(level), arrivals=DeterministicArrivals())
    load = rate_rps * SERVICE_S
    changes = scaled(asked).wanted
    instant_s, count = changes[-1]
    assert instant_s < asked.warm_up_s  # and then no more
    percent = math.floor(round(100.0 * load / count, 6))
    assert count == max(1, math.ceil(load / level)) or abs(percent / (100.0 * level) - 1.0) <= 0.1 + 0.02


@pytest.mark.parametrize(
    ("lag_s", "startup_s"), [(0.0, 0.0), (30.0, 120.0), (15.0, 40.0), (20.0, 100.5), (37.5, 1.0)]
)
def test_new_replicas_serve_after_lag_sync_and_start_up(lag_s: float, startup_s: float) -> None:
    """A rate that triples at 00:30: seen within a sync of lag plus one, however they lie, and served one start-up later."""
    asked = fleet(
        [(0.0, 5.0), (1800.0, 15.0)],
        arrivals=DeterministicArrivals(),
        startup_s=startup_s,
        metric_lag_s=lag_s,
        replicas_max=3,
    )
    scaler, step_s = scaled(asked), asked.warm_up_s + 1800.0
    (wanted_s, _), *_ = (one for one in scaler.wanted if one[0] > step_s)
    (ready_s, _), *_ = (one for one in scaler.ready if one[0] > step_s)
    assert lag_s < wanted_s - step_s <= lag_s + 2.0 * SYNC_S
    assert wanted_s % SYNC_S == 0.0
    assert ready_s == wanted_s + startup_s
    if lag_s % SYNC_S == 0.0:
        assert wanted_s + startup_s - step_s == asked.autoscaler.reaction_s  # type: ignore[union-attr]


def test_the_fleet_shrinks_once_the_last_large_recommendation_is_old() -> None:
    """A rate that falls at 00:30 shrinks it 300 s after the last sync that saw the old rate."""
    asked = fleet([(0.0, 20.0), (1800.0, 2.0)], arrivals=DeterministicArrivals(), metric_lag_s=30.0)
    (falls_s, count), *_ = (one for one in scaled(asked).wanted if one[0] > asked.warm_up_s + 1800.0)
    assert falls_s - asked.warm_up_s - 1800.0 == 30.0 + 300.0
    assert count == 1


def test_a_jump_doubles_the_fleet_or_adds_four_in_a_sync() -> None:
    """From 1 to 5 to 10 replicas, 15 s apart: a queue that grows asks for more than utilization ever does."""
    asked = fleet(
        [(0.0, 1.0), (1800.0, 60.0)],
        target=Target(metric=Metric.CONCURRENCY, level=1.0),
        arrivals=DeterministicArrivals(),
        replicas_max=12,
    )
    changes = [one for one in scaled(asked).wanted if one[0] > asked.warm_up_s + 1800.0]
    assert [count for _, count in changes[:2]] == [5, 10]
    assert changes[1][0] - changes[0][0] == SYNC_S


def test_none_are_left_after_a_night_without_requests() -> None:
    """From 00:10 to 00:40 nobody comes: the last replica leaves 300 s later, and comes back with the next request."""
    asked = fleet([(0.0, 5.0), (600.0, 0.0), (2400.0, 5.0)], replicas_min=0, startup_s=10.0)
    scaler, warm_s = scaled(asked), asked.warm_up_s
    quiet = [(instant_s - warm_s, count) for instant_s, count in scaler.wanted if instant_s > warm_s + 610.0]
    assert quiet[0][1] == 0
    assert 880.0 <= quiet[0][0] <= 600.0 + 300.0 + 2.0 * SYNC_S
    assert quiet[1][1] == 1
    assert 2400.0 <= quiet[1][0] <= 2400.0 + 30.0 + SYNC_S


class Noting(Scaler):
    """Keeps every look at how many requests the replicas have."""

    def _held(self, sight: Sight) -> Floats:
        held = super()._held(sight)
        self.totals = [*getattr(self, "totals", []), float(held.sum())]
        return held


@pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.SHARED_QUEUE])
def test_concurrency_is_the_rate_times_the_response_time(routing: Routing) -> None:
    """Little's law, L = lambda W, on what the autoscaler sees; five fixed replicas, 72 looks at a time."""
    asked = fleet(
        [(0.0, 35.0)],
        target=Target(metric=Metric.CONCURRENCY, level=4.0),
        routing=routing,
        ends_s=6.0 * HOUR_S,
        replicas_min=5,
        replicas_max=5,
    )
    times = ExponentialTimes(SERVICE_S)
    scaler = scaled(asked, times, Noting)
    served = [
        part.finished_s - part.arrived_s
        for part in serve_watched(asked.plan, times, stream_of(asked), Unwatched(), 5)
    ]
    mean_s = float(np.mean(np.concatenate(served)))
    parts = np.array([np.mean(one) for one in np.array_split(np.array(scaler.totals), 60)])
    error = float(parts.std(ddof=1)) / math.sqrt(len(parts))
    assert abs(float(parts.mean()) - 35.0 * mean_s) < 3.0 * error


def test_a_fleet_that_never_changes_is_the_fixed_one() -> None:
    """The same requests, the same responses, whether somebody watches or not."""
    asked = fleet([(0.0, 12.0), (1800.0, 25.0)], replicas_min=4, replicas_max=4)
    judge = DaySimulation(runs=2)
    watched, alone = judge(asked), judge(changed(asked.fixed(4), begins_s=0.0))
    assert watched.scalings.value == 0.0
    assert watched.replica_hours.value == alone.replica_hours.value == 4.0
    # Their warm-ups differ in length, and so do their users; the P99s agree within both intervals.
    assert watched.binding.found_s.low <= alone.binding.found_s.high
    assert alone.binding.found_s.low <= watched.binding.found_s.high


@pytest.mark.long
def test_a_fixed_fleet_has_the_response_times_of_theory() -> None:
    """M/M/3 in an hour of the day: the P99 of the law lies within the interval of the runs."""
    asked = fleet([(0.0, 20.0)], routing=Routing.SHARED_QUEUE, ends_s=10.0 * HOUR_S).fixed(3)
    found = DaySimulation(runs=5, service_times=ExponentialTimes(SERVICE_S))(asked)
    law = MMc(arrival_rate_rps=20.0, service_rate_rps=1.0 / SERVICE_S, servers=3)
    exact_s = law.response_quantile_s(0.99)
    assert found.binding.found_s.low <= exact_s <= found.binding.found_s.high
    assert found.replica_hours.value == pytest.approx(30.0)
    assert found.cost_usd.value == pytest.approx(60.0)


def test_replica_hours_and_changes_are_those_of_the_schedule() -> None:
    """Twenty minutes each of 1, 2 and 1 replicas, but for the reaction times, which are known."""
    asked = fleet(
        [(0.0, 5.0), (1200.0, 8.0), (2400.0, 5.0)],
        arrivals=DeterministicArrivals(),
        startup_s=60.0,
        metric_lag_s=30.0,
        replicas_max=2,
    )
    found = DaySimulation(runs=2)(asked)
    up_s, down_s = 30.0 + SYNC_S, 30.0 + 300.0
    expected_s = 3600.0 + 1200.0 - up_s + down_s
    assert found.replica_hours.value == pytest.approx(expected_s / 3600.0, abs=1e-9)
    assert (found.scalings.value, found.replicas_most) == (2.0, 2)
    assert found.course.wanted[30] == 2.0
    assert found.course.ready[20] == 1.0


def test_lost_requests_are_late() -> None:
    """With room for none to wait, all that find their replica busy are lost, and the P99 is never."""
    asked = fleet([(0.0, 20.0)], queue_limit=0)
    found = DaySimulation(runs=2)(asked)
    assert found.lost_share > 0.01
    assert found.binding.late_share.value >= found.lost_share
    assert found.binding.found_s.value == math.inf
    assert found.exit_code == 3


scalings = given(
    metric=st.sampled_from(list(Metric)),
    seed=st.integers(0, 2**20),
    lag_s=st.sampled_from([0.0, 10.0, 30.0]),
    startup_s=st.sampled_from([0.0, 7.5, 45.0]),
    routing=st.sampled_from(PLAIN_ROUTINGS),
)


@settings(max_examples=12, deadline=None)
@scalings
def test_both_engines_scale_the_same(metric, seed, lag_s, startup_s, routing) -> None:
    """A few minutes up and down with an impatient autoscaler: the same decisions, the same bytes."""
    assert_both_scale_the_same(metric, seed, lag_s, startup_s, routing)


@pytest.mark.long
@settings(max_examples=80, deadline=None)
@scalings
def test_both_engines_scale_the_same_in_many_ways(metric, seed, lag_s, startup_s, routing) -> None:
    assert_both_scale_the_same(metric, seed, lag_s, startup_s, routing)


def assert_both_scale_the_same(
    metric: Metric, seed: int, lag_s: float, startup_s: float, routing: Routing
) -> None:
    level = 0.5 if metric is Metric.UTILIZATION else 1.0
    asked = fleet(
        [(0.0, 4.0), (120.0, 15.0), (300.0, 1.0)],
        target=Target(metric=metric, level=level),
        routing=routing,
        ends_s=600.0,
        stabilization_s=30.0,
        replicas_min=0,
        replicas_max=5,
        startup_s=startup_s,
        metric_lag_s=lag_s,
    )
    draws = draws_of(asked, replace(SEED, value=seed))
    assert asked.autoscaler is not None

    def arrived_by(now_s: float) -> int:
        return int(np.searchsorted(draws.arrived_s, now_s, side="right"))

    scalers = [Scaler(asked.autoscaler, 5, arrived_by, 1500.0) for _ in range(2)]
    served = BatchFleet(plan=asked.plan, service_times=ProfileTimes(PROFILE))
    rest = (served, draws, Clients(), Protection(), [])
    found, expected = run_kernel(*rest, watcher=scalers[0]), run_reference(*rest, watcher=scalers[1])
    assert scalers[0].wanted == scalers[1].wanted
    assert scalers[0].ready == scalers[1].ready
    for one in fields(expected):
        np.testing.assert_array_equal(getattr(found, one.name), getattr(expected, one.name), err_msg=one.name)


class Shuffler:
    """A watcher that has replicas of a fleet leave and join at random instants, now and then many at once."""

    def __init__(self, generator: np.random.Generator, first: int, replicas: int, until_s: float) -> None:
        self._generator, self._replicas, self._until_s = generator, replicas, until_s
        self.present = first
        self.next_s = 0.0
        self.sights: list[Sight] = []

    def look(self, sight: Sight) -> list[Fault]:
        """Half of the time another number of replicas, any from none to all."""
        self.sights.append(sight)
        now_s, before = self.next_s, self.present
        self.next_s = now_s + float(
            self._generator.choice([0.25, 0.5, 2.0])
        )  # on the grid of even arrivals, too
        if self.next_s > self._until_s:
            self.next_s = math.inf
        if self._generator.random() < 0.5:
            self.present = int(self._generator.integers(0, self._replicas + 1))
        leave, join = range(self.present, before), range(before, self.present)
        return [
            *(Fault(instant_s=now_s, replica=one, action=Action.LEAVE) for one in leave),
            *(Fault(instant_s=now_s, replica=one, action=Action.JOIN) for one in join),
        ]


@pytest.mark.parametrize("routing", PLAIN_ROUTINGS)
@pytest.mark.parametrize(
    "case",
    [
        {"size_max": 1, "wait_s": 0.0, "queue_limit": None, "wake_s": 0.0, "is_even": True},
        {"size_max": 4, "wait_s": 0.3, "queue_limit": None, "wake_s": 0.05, "is_even": False},
        {"size_max": 3, "wait_s": 0.1, "queue_limit": 3, "wake_s": 0.0, "is_even": True},
    ],
)
def test_a_watched_fleet_is_that_of_the_reference(routing: Routing, case: dict[str, Any]) -> None:
    """Whatever comes, leaves and joins: the same answers and the same sights, to the last bit."""
    arrivals = DeterministicArrivals() if case["is_even"] else PoissonArrivals()
    for seed in (1, 2):
        assert_watched_as_the_reference(
            routing=routing, arrivals=arrivals, seed=seed, first=seed, block=7, **case
        )


def test_more_waiting_requests_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many as a replica serves, of which a thousand may wait."""
    monkeypatch.setattr(watched, "WAITING_MAX", 1000)
    asked = fleet([(0.0, 100.0)], ends_s=600.0).fixed(1)
    parts = serve_watched(asked.plan, fixed(lambda _: SERVICE_S), stream_of(asked), Unwatched(), 1, 100)
    with pytest.raises(DomainError, match=r"more than 1e\+03 requests wait at once"):
        list(parts)


shuffled = given(
    routing=st.sampled_from(PLAIN_ROUTINGS),
    size_max=st.integers(1, 6),
    wait_s=st.sampled_from([0.0, 0.1, 0.3]),
    queue_limit=st.sampled_from([None, 0, 3, 8]),
    arrivals=st.sampled_from([PoissonArrivals(), DeterministicArrivals()]),
    wake_s=st.sampled_from([0.0, 0.05]),
    is_even=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    first=st.integers(0, 5),
    block=st.sampled_from([7, 100, 32_000]),
)


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@shuffled
def test_a_watched_fleet_is_that_of_the_reference_in_many_ways(**case: Any) -> None:
    assert_watched_as_the_reference(**case)


def assert_watched_as_the_reference(
    routing: Routing,
    size_max: int,
    wait_s: float,
    queue_limit: int | None,
    arrivals: ArrivalProcess,
    wake_s: float,
    is_even: bool,
    seed: int,
    first: int,
    block: int,
) -> None:
    """About 500 requests at five replicas, some of which are missing half of the time."""
    plan = BatchPlan(
        profile="flat",
        replicas=5,
        batch_size_max=size_max,
        batch_wait_max_s=wait_s,
        routing=routing,
        queue_limit=queue_limit,
    )
    asked = fleet([(0.0, 16.0)], arrivals=arrivals, ends_s=30.0).fixed(5)
    asked.__dict__["warm_up_s"] = 0.0
    times: ServiceTimes = ExponentialTimes(0.3, wake_s)
    if is_even:
        times = fixed(lambda size: 0.25 + 0.125 * size)
    draws = draws_of(asked, replace(SEED, value=seed))
    watchers = [Shuffler(np.random.default_rng(seed), first, 5, 40.0) for _ in range(2)]
    absent = [Fault(instant_s=0.0, replica=one, action=Action.LEAVE) for one in range(first, 5)]
    served = BatchFleet(plan=plan, service_times=times)
    expected = run_reference(served, draws, Clients(), Protection(), absent, watcher=watchers[0])
    stream = stream_of(asked, replace(SEED, value=seed))
    found = [
        np.where(part.size > 0, part.finished_s, np.nan)
        for part in serve_watched(plan, times, stream, watchers[1], first, block)
    ]
    np.testing.assert_array_equal(np.concatenate(found), expected.answered_s)
    for here, there in zip(watchers[1].sights, watchers[0].sights, strict=True):
        for name, one, other in zip(Sight._fields, here, there, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=f"{name} at {there.now_s}")


def test_arrivals_follow_the_rates() -> None:
    """Counts of each step within four standard errors of its rate; the warm-up is the end of the day before."""
    asked = fleet([(0.0, 10.0), (1200.0, 40.0), (2400.0, 0.0), (3000.0, 5.0)])
    arrived_s = draws_of(asked).arrived_s - asked.warm_up_s
    for from_s, to_s, rate_rps in [
        (-900.0, 0.0, 5.0),
        (0.0, 1200.0, 10.0),
        (1200.0, 2400.0, 40.0),
        (3000.0, 3600.0, 5.0),
    ]:
        count = int(((arrived_s >= from_s) & (arrived_s < to_s)).sum())
        mean = rate_rps * (to_s - from_s)
        assert abs(count - mean) < 4.0 * math.sqrt(mean)
    assert not ((arrived_s > 2400.0) & (arrived_s < 3000.0)).any()


@pytest.mark.parametrize("startup_s", [0.0, 3600.0, 100_000.0])
def test_the_steps_of_a_run_leave_no_gap(startup_s: float) -> None:
    """However long the warm-up is: from 0 to the end, at the rates of the times of day."""
    asked = fleet([(0.0, 0.5), (50_000.0, 0.2)], startup_s=startup_s)
    edges_s = [from_s for from_s, _, _ in asked.steps] + [asked.steps[-1][1]]
    assert edges_s == [0.0, *[to_s for _, to_s, _ in asked.steps]]
    assert edges_s[-1] == asked.warm_up_s + asked.lasts_s
    for from_s, to_s, rate_rps in asked.steps:
        assert rate_rps == asked.curve.rate_rps((from_s + to_s) / 2.0 - asked.warm_up_s)


def test_a_day_of_too_many_requests_is_refused_with_a_way_out() -> None:
    with pytest.raises(DomainError, match=r"1\.7\d+e\+09 requests.*--between"):
        fleet([(0.0, 20_000.0)], ends_s=86_400.0)
    assert fleet([(0.0, 10_000.0)], ends_s=86_400.0).requests < REQUESTS_MAX


def test_many_responses_are_counted_as_exactly_as_their_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of 72,000 requests in cells and one by one: late ones to the last, the P99 to a cell."""
    asked = fleet([(0.0, 20.0)], target=utilization(0.6), limit_s=0.4)
    counted = DaySimulation(runs=2)(asked)
    monkeypatch.setattr(autoscaled, "EXACT_MAX", 10**6)
    monkeypatch.setattr(tally, "EXACT_MAX", 10**6)
    kept = DaySimulation(runs=2)(asked)
    one, other = counted.binding.found_s, kept.binding.found_s
    assert replace(counted, kept=(replace(counted.binding, found_s=other),)) == kept
    assert one != other
    for end in ("value", "low", "high"):
        assert getattr(one, end) == pytest.approx(getattr(other, end), rel=1.0 / PER_OCTAVE)


def test_what_a_day_cannot_be() -> None:
    with pytest.raises(InputError, match="follow a rate that changes"):
        fleet([(0.0, 5.0)], arrivals=MmppArrivals(ratio=5.0, burst_mean_s=1.0, calm_mean_s=9.0))
    with pytest.raises(InconclusiveError, match="too few for a P99"):
        DaySimulation(runs=2)(fleet([(0.0, 0.1)]))


def limited(asked: ScaledFleet, objective: Objective) -> ScaledFleet:
    return replace(asked, scenario=replace(asked.scenario, objective=objective))


def test_several_limits_have_the_figures_of_each_alone() -> None:
    """The same days, counted by both limits at once: to the last bit."""
    asked = fleet([(0.0, 15.0)], target=utilization(0.7))
    both = DaySimulation(runs=3)(limited(asked, Objective.of(response={0.5: 0.13, 0.99: 0.5})))
    alone = [DaySimulation(runs=3)(limited(asked, Objective(limits=(limit,)))) for limit in both.fleet.limits]
    assert [one.limit.quantile for one in both.kept] == [0.5, 0.99]
    for together, by_itself in zip(both.kept, alone, strict=True):
        assert together == by_itself.binding
    binding = max(range(2), key=lambda place: both.kept[place].urgency)
    assert both.course == alone[binding].course
    assert (both.is_held, both.is_missed) == (
        all(one.is_held for one in alone),
        any(one.is_missed for one in alone),
    )


@pytest.mark.parametrize("replicas", [3, 4])
def test_a_fixed_fleet_does_the_same_on_a_hurried_day(replicas: int) -> None:
    """At load 0.8 or 0.6 by day; the late requests are as large a share, and P99 is the same."""
    whole = fleet([(0.0, 6.0), (2.0 * HOUR_S, 24.0)], ends_s=4.0 * HOUR_S, limit_s=0.3).fixed(replicas)
    found, short = (DaySimulation()(one) for one in (whole, whole.hurried(4.0)))
    assert short.requests == pytest.approx(found.requests / 4.0, rel=0.02)
    for seen in ("found_s", "late_share"):
        one, other = getattr(found.binding, seen), getattr(short.binding, seen)
        assert one.low <= other.high
        assert other.low <= one.high


@pytest.mark.parametrize("level", [0.6, 0.8])
def test_an_autoscaled_fleet_does_the_same_on_an_excerpt_of_the_day(level: float) -> None:
    """Its replica-hours are those of the whole, and its late requests as large a share; in an eighth of the time."""
    rates = [(0.0, 6.0), (8.0 * HOUR_S, 24.0), (12.0 * HOUR_S, 9.0), (16.0 * HOUR_S, 24.0)]
    whole = fleet(rates, target=utilization(level), ends_s=24.0 * HOUR_S, limit_s=0.3, startup_s=120.0)
    found, short = (DaySimulation(runs=8)(one) for one in (whole, whole.excerpt(30.0)))
    assert short.fleet.lasts_s < whole.lasts_s / 8.0
    assert short.requests == pytest.approx(found.requests, rel=0.02)
    assert short.replica_hours.value == pytest.approx(found.replica_hours.value, rel=0.03)
    assert short.replicas_mean == pytest.approx(found.replicas_mean, rel=0.03)
    for seen in ("found_s", "late_share"):
        one, other = getattr(found.binding, seen), getattr(short.binding, seen)
        assert one.low <= other.high
        assert other.low <= one.high
    assert found.binding.late_share.value > 0.0


def test_two_limits_on_a_fixed_fleet_are_those_of_the_exact_law() -> None:
    """M/M/1 at load 0.8: T is exponential, with a mean of half a second."""
    asked = fleet([(0.0, 8.0)], ends_s=6.0 * HOUR_S).fixed(1)
    law = MMc(arrival_rate_rps=8.0, service_rate_rps=10.0, servers=1)
    objective = Objective.of(response={0.5: 0.4, 0.9: 0.9})
    found = DaySimulation(runs=6, service_times=ExponentialTimes(0.1))(limited(asked, objective))
    for one in found.kept:
        quantile, exact = one.limit.quantile, law.response_quantile_s(one.limit.quantile)
        assert one.found_s.low <= exact <= one.found_s.high, quantile
        share = math.exp(-2.0 * one.limit.allowed)
        assert one.late_share.low <= share <= one.late_share.high
    assert [one.exit_code for one in found.kept] == [0, 3]
    assert (found.is_held, found.is_missed, found.exit_code) == (False, True, 3)
    assert found.binding.limit.quantile == 0.9


def test_the_limit_that_binds_is_the_one_that_is_missed_by_most() -> None:
    held, missed = (
        Kept(
            limit=Limit(measure=Measure.RESPONSE, quantile=quantile, allowed=0.5),
            found_s=Interval.exact(found_s),
            late_share=Interval.exact(late),
        )
        for quantile, found_s, late in ((0.5, 0.49, 0.4), (0.99, 0.6, 0.02))
    )
    assert binding_of([held, missed]) == 1
    assert binding_of([missed, held]) == 0
    nearer = replace(held, late_share=Interval.exact(0.499))
    assert binding_of([held, nearer]) == 1
