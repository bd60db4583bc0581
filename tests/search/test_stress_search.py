"""The screen of `capacity stress` with a judge that is made up: settings, fleets and spikes that are looked for."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stresses import (
    MadeUpJudge,
    engines_in_trouble,
    fleet_in_trouble,
    recovers_from,
    run_of,
    silent,
    survives,
)

from capacity.errors import InconclusiveError, InputError, UnstableError
from capacity.profile.profile import BatchTiming
from capacity.question.caveat import CaveatCode
from capacity.question.plan import Routing
from capacity.recovery.faults import ColdCache
from capacity.recovery.findings import Run
from capacity.recovery.parse import read_trigger
from capacity.recovery.protection import Abandoned, Ejecting, Protection, Shedding
from capacity.recovery.stress import Stress
from capacity.search.stress import (
    _median_rank,
    is_unharmed,
    limit_to_recover,
    remedies,
    screen,
    smallest_fleet,
    spike_factors,
    spike_survived,
    stress_caveats,
)
from capacity.server.batch.batching import Batching
from capacity.server.batch.server import BatchServer
from capacity.traffic.clients import BudgetKind, Clients, RetryBudget

LAWS = settings(derandomize=True, deadline=None, max_examples=200)


def judge_of(rule: Callable[[Stress, int], Run], runs: int = 4) -> MadeUpJudge:
    return MadeUpJudge(rule=rule, runs=runs)


def test_settings_that_are_tried() -> None:
    stress = fleet_in_trouble()
    found = dict(remedies(stress))
    assert list(found) == ["--retry-budget 0.1", "--shed late:10ms", "--queue-limit 100", "--shed lifo"]
    budget = found["--retry-budget 0.1"].clients.budget
    assert budget == RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.1)
    assert found["--shed late:10ms"].protection == Protection(shedding=Shedding.LATE, late_margin_s=0.01)
    assert found["--queue-limit 100"].plan.queue_limit == 100
    assert found["--shed lifo"].protection.shedding is Shedding.LIFO
    for changed in found.values():  # one setting at a time
        same = replace(changed, clients=stress.clients, protection=stress.protection, plan=stress.plan)
        assert same == stress
        differs = [
            changed.clients != stress.clients,
            changed.protection != stress.protection,
            changed.plan != stress.plan,
        ]
        assert sum(differs) == 1


def test_settings_that_are_there_are_not_tried() -> None:
    paid = Clients(timeout_s=0.5, attempts=3, budget=RetryBudget(kind=BudgetKind.SUCCESSES, ratio=0.5))
    codel = Protection(shedding=Shedding.CODEL)
    assert [name for name, _ in remedies(fleet_in_trouble(clients=paid, protection=codel, limit=50))] == []
    assert [name for name, _ in remedies(fleet_in_trouble(clients=paid, protection=codel))] == [
        "--queue-limit 100"
    ]


def test_a_slow_start_is_tried_where_who_comes_back_is_cold_and_others_are_warm() -> None:
    """One of four comes back with cold batches; none of the others is worth a try."""
    cold = ColdCache(batches=9, factor=2.0)
    asked = replace(fleet_in_trouble("restart:1,20s", routing=Routing.RANDOM), cold=cold)
    assert dict(remedies(asked))["--slow-start 30s"].protection == Protection(slow_start_s=30)
    rollout = replace(asked, startup_s=5.0, trigger=read_trigger("rollout"))
    assert "--slow-start 30s" in dict(remedies(rollout))
    assert "--slow-start 30s" not in dict(remedies(rollout.with_replicas(1)))
    others = [
        replace(asked, cold=None),
        replace(asked, trigger=read_trigger("restart:all,20s")),
        replace(asked, trigger=read_trigger("lose:4,20s")),
        replace(asked, trigger=read_trigger("spike:2x,20s")),
        replace(asked, protection=Protection(slow_start_s=1)),
        replace(asked, plan=replace(asked.plan, routing=Routing.SHARED_QUEUE)),
        replace(asked, plan=replace(asked.plan, routing=Routing.LEAST_OUTSTANDING_NGINX)),
    ]
    assert not any("--slow-start 30s" in dict(remedies(one)) for one in others)


def test_one_attempt_needs_no_budget_and_endless_patience_no_shedding() -> None:
    once = [name for name, _ in remedies(fleet_in_trouble(clients=Clients(timeout_s=0.5)))]
    assert once == ["--shed late:10ms", "--queue-limit 100", "--shed lifo"]
    patient = [name for name, _ in remedies(fleet_in_trouble(clients=Clients(attempts=2)))]
    assert patient == ["--retry-budget 0.1"]


def test_what_is_in_batches_as_it_arrives_is_not_reordered() -> None:
    stress = fleet_in_trouble(routing=Routing.ROUND_ROBIN)
    for batching, reorders in ((Batching.TORCHSERVE, True), (Batching.RAY_SERVE, False)):
        found = replace(stress, plan=replace(stress.plan, batching=batching))
        assert ("--shed lifo" in dict(remedies(found))) is reorders
    with pytest.raises(InputError, match="put them into batches as they arrived; give --shed late or codel"):
        replace(found, protection=Protection(shedding=Shedding.LIFO))


def test_a_setting_leaves_the_rest_of_the_protection_as_it_is() -> None:
    given = Protection(abandoned=Abandoned.DROPPED, ejection=Ejecting.ENVOY)
    found = dict(remedies(fleet_in_trouble(protection=given, routing=Routing.ROUND_ROBIN)))
    for name in ("--shed late:10ms", "--shed lifo"):
        assert found[name].protection.abandoned is Abandoned.DROPPED
        assert found[name].protection.ejects


def test_a_queue_may_hold_half_of_what_is_served_in_time() -> None:
    assert limit_to_recover(fleet_in_trouble(), 0.5) == 100
    assert limit_to_recover(fleet_in_trouble(routing=Routing.ROUND_ROBIN), 0.5) == 25
    assert limit_to_recover(fleet_in_trouble(), 1e-3) == 1
    alone = fleet_in_trouble()
    assert alone.server.late_margin_s(alone.plan) == pytest.approx(0.01)


@LAWS
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_the_smallest_fleet_by_bisection(asked: int, enough: int, most: int) -> None:
    """From any fleet on, up to any number; no fleet is simulated twice with the same horizon."""
    stress = fleet_in_trouble("spike:2x,30s", replicas=asked, rate_rps=80.0)
    judge = judge_of(recovers_from(enough))
    found = judge(stress)
    judge.asked.clear()
    smallest, smaller = smallest_fleet(found, judge, silent, most)
    if asked < enough and enough > most:
        assert (smallest, smaller) == (None, None)
    else:
        assert smallest.stress.plan.replicas == enough
        assert smallest.exit_code == 0
        assert (None if smaller is None else smaller.stress.plan.replicas) == (
            enough - 1 if enough > 1 else None
        )
    tried = [(one.plan.replicas, one.horizon_s) for one in judge.asked]
    assert len(set(tried)) == len(tried)
    assert len({replicas for replicas, _ in tried}) <= 2 * math.ceil(math.log2(41)) + 1


def test_a_fleet_that_fails_in_one_of_two_runs_is_not_asked_for_more() -> None:
    """A fleet of 5 fails in the second run, one of 6 in the last only, and one of 7 in none."""

    def rule(stress: Stress, number: int) -> Run:
        fails_first = {4: 0, 5: 1, 6: 3}.get(stress.plan.replicas, 4)
        return run_of(None if number >= fails_first else 0.0)

    judge = judge_of(rule)
    found = judge(fleet_in_trouble())
    judge.asked.clear()
    smallest, smaller = smallest_fleet(found, judge, silent, 100)
    assert smaller is not None
    assert (smallest.stress.plan.replicas, len(smallest.runs)) == (7, 4)
    assert (smaller.stress.plan.replicas, smaller.count_recovered, len(smaller.runs)) == (6, 3, 4)
    assert {one.plan.replicas for one in judge.asked} == {6, 7}


def test_a_fleet_larger_than_the_largest_to_try_bounds_the_search_itself() -> None:
    """Of 12 that recover, ten are enough in all runs and seven in the first two."""
    needed = (4, 7, 4, 10)

    def rule(stress: Stress, number: int) -> Run:
        return run_of(0.0 if stress.plan.replicas >= needed[number] else None)

    judge = judge_of(rule)
    stress = fleet_in_trouble("spike:2x,30s", replicas=12, rate_rps=80.0)
    smallest, smaller = smallest_fleet(judge(stress), judge, silent, 4)
    assert (smallest.stress.plan.replicas, smaller.stress.plan.replicas) == (10, 9)


def test_one_fewer_that_fails_in_two_runs_is_not_simulated_in_all() -> None:
    judge = judge_of(recovers_from(6), runs=20)
    found = judge(fleet_in_trouble())
    judge.asked.clear()
    smallest, smaller = smallest_fleet(found, judge, silent, 100)
    assert (len(smallest.runs), smaller.stress.plan.replicas, len(smaller.runs)) == (20, 5, 2)
    assert {one.plan.replicas for one in judge.asked} == {6}


def test_fleets_that_fall_by_themselves_are_not_simulated() -> None:
    stress = fleet_in_trouble(replicas=6)
    judge = judge_of(recovers_from(1))
    smallest, smaller = smallest_fleet(judge(stress), judge, silent, 100)
    assert smallest.stress.plan.replicas == 4  # 3 serve 300 rps, and 320 come
    assert smaller is None
    assert min(one.plan.replicas for one in judge.asked) == 4


def test_fleets_smaller_than_what_is_hit_are_none() -> None:
    stress = fleet_in_trouble("lose:3,60s", replicas=4, rate_rps=50.0)
    judge = judge_of(recovers_from(1))
    smallest, _ = smallest_fleet(judge(stress), judge, silent, 100)
    assert smallest.stress.plan.replicas == 4  # of 3, nothing would be left


def test_a_fleet_that_fails_before_the_trigger_does_not_recover() -> None:
    def rule(stress: Stress, number: int) -> Run:
        if stress.plan.replicas == 5:
            raise InconclusiveError("nothing to come back to")
        return recovers_from(6)(stress, number)

    judge = judge_of(rule)
    smallest, smaller = smallest_fleet(judge(fleet_in_trouble()), judge, silent, 100)
    assert smallest.stress.plan.replicas == 6
    assert smaller is None


def test_what_recovers_late_gets_the_whole_horizon() -> None:
    """Two minutes first, which are enough for most; where two of four runs are late already, not for the others."""
    for runs, horizons_s in ((2, [120.0, 600.0]), (4, [600.0])):
        judge = judge_of(recovers_from(5, within_s=300.0), runs)
        smallest, _ = smallest_fleet(judge(fleet_in_trouble()), judge, silent, 5)
        assert smallest is not None
        assert [one.horizon_s for one in judge.asked if one.plan.replicas == 5] == horizons_s


def test_the_last_of_the_runs_may_be_the_late_one() -> None:
    def rule(stress: Stress, number: int) -> Run:
        if stress.plan.replicas < 5:
            return run_of(None)
        late_s = 300.0 if number == 3 else 0.0
        return run_of(late_s if late_s <= stress.horizon_s else None)

    judge = judge_of(rule)
    smallest, _ = smallest_fleet(judge(fleet_in_trouble()), judge, silent, 5)
    assert smallest.exit_code == 0
    assert [one.horizon_s for one in judge.asked if one.plan.replicas == 5] == [120.0, 600.0]


@pytest.mark.parametrize(
    ("count", "confidence", "rank"),
    [
        (20, 0.95, 5),
        (10, 0.95, 1),
        (6, 0.95, 0),
        (5, 0.95, None),
        (100, 0.95, 39),
        (20, 0.99, 3),
        (2, 0.95, None),
    ],
)
def test_the_interval_of_a_median(count: int, confidence: float, rank: int | None) -> None:
    """The ranks that tables of the sign test have; for too few, none."""
    assert _median_rank(count, confidence) == rank
    outside = 0.0 if rank is None else sum(math.comb(count, k) for k in range(rank)) / 2**count
    assert 2.0 * outside <= 1.0 - confidence


@pytest.mark.parametrize("boundary_s", [0.3, 1.25, 7.0, 60.0])
def test_the_boundary_of_a_spike_by_bisection(boundary_s: float) -> None:
    judge = judge_of(survives({}, boundary_s), runs=6)
    found = spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge)
    assert found.lasting_s.value == pytest.approx(boundary_s, rel=0.05)
    assert found.lasting_s.low <= boundary_s <= found.lasting_s.high <= 1.101 * found.lasting_s.low


def test_the_first_runs_show_the_others_where_to_look() -> None:
    """By the fluid law it is 1.25 s, and 20 s here: each run needs two spikes, and the first two need more to find them."""
    asked: list[int] = []
    rule = survives({}, 20.0)

    def counted(stress: Stress, number: int) -> Run:
        asked.append(number)
        return rule(stress, number)

    spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge_of(counted, runs=20))
    assert max(asked.count(number) for number in range(2, 20)) == 2
    assert asked.count(0) > 4


def test_one_of_the_first_two_runs_is_enough_to_guide_the_others() -> None:
    """The other survives no spike; a run whose boundary is the guide's confirms it with two spikes."""
    asked: list[int] = []
    rule = survives({0: 1e-9, 1: 20.0}, 20.0)

    def counted(stress: Stress, number: int) -> Run:
        asked.append(number)
        return rule(stress, number)

    spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge_of(counted, runs=20))
    assert max(asked.count(number) for number in range(2, 20)) == 2


def test_a_spike_that_is_never_survived_is_shorter_than_a_millisecond() -> None:
    """And runs that survive none do not lead the others astray."""
    never = spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge_of(survives({}, 1e-9), runs=6))
    assert (never.lasting_s.low, never.lasting_s.high) == (0.0, 1e-3)
    most = spike_survived(
        fleet_in_trouble(rate_rps=280.0), 2.0, judge_of(survives({0: 1e-9, 1: 1e-9}, 2.0), runs=20)
    )
    assert most.lasting_s.low <= 2.0 <= most.lasting_s.high <= 2.0 * 1.21


def test_half_of_all_runs_have_a_longer_one() -> None:
    boundaries_s = {number: 1.0 + 0.1 * number for number in range(20)}
    judge = judge_of(survives(boundaries_s), runs=20)
    found = spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge)
    assert found.lasting_s.value == pytest.approx(1.95, rel=0.06)
    assert 1.5 / 1.101 <= found.lasting_s.low <= 1.5  # the sixth of 20
    assert 2.4 <= found.lasting_s.high <= 2.4 * 1.101


def test_too_few_runs_leave_the_ends_open_and_the_median_decides() -> None:
    few = spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge_of(survives({}, 1.25), runs=5))
    assert (few.lasting_s.low, few.lasting_s.high) == (0.0, math.inf)
    boundaries_s = {number: 1.0 + 0.1 * number for number in range(13)}  # and no end for 7 others
    most = spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge_of(survives(boundaries_s), runs=20))
    assert most.lasting_s.value == pytest.approx(1.95, rel=0.06)
    assert most.lasting_s.high == math.inf


def test_some_spikes_are_survived_however_long() -> None:
    found = spike_survived(fleet_in_trouble(rate_rps=280.0), 2.0, judge_of(survives({})))
    assert found.lasting_s is None
    assert found.searched_s == 120.0


@pytest.mark.parametrize(
    "clients", [Clients(timeout_s=0.5), Clients(attempts=3)], ids=["one attempt", "endless patience"]
)
def test_a_fleet_that_cannot_be_held_down_is_not_simulated(clients: Clients) -> None:
    def refuse(stress: Stress, number: int) -> Run:
        raise AssertionError("simulated")

    assert spike_survived(fleet_in_trouble(clients=clients), 2.0, judge_of(refuse)).lasting_s is None


def test_the_screen() -> None:
    judge = judge_of(recovers_from(5))
    seen = screen(fleet_in_trouble(), judge, silent, replicas_max=64)
    assert seen.found.exit_code == 3
    assert seen.fluid.stuck is True
    assert seen.smallest.stress.plan.replicas == 5
    assert seen.smaller.stress.plan.replicas == 4
    assert len(seen.remedies) == 4
    assert [spike.factor for spike in seen.spikes] == [2.0, 1.6]


def test_spikes_are_asked_for_that_overload() -> None:
    seen = screen(
        fleet_in_trouble("spike:9x,30s", rate_rps=80.0), judge_of(recovers_from(1)), silent, replicas_max=4
    )
    assert [spike.factor for spike in seen.spikes] == [8.0, 6.4]


@given(st.floats(0.01, 0.999))
def test_two_different_spikes_are_asked_for_and_both_overload(load: float) -> None:
    """At a load of 0.64 twice the rate was asked for twice, as 1.6 times the rate does not overload."""
    first, second = spike_factors(load)
    assert abs(first - second) >= 0.3
    assert min(first, second) * load > 1.1
    assert len(set(spike_factors(0.64))) == 2


def test_a_map_adds_spikes_around_the_smaller_of_the_two() -> None:
    """At a load of 0.8 that is 1.6 times the rate; the map tries 0.9 to 3 times that, and none twice."""
    told: list[str] = []
    seen = screen(fleet_in_trouble(), judge_of(recovers_from(1)), told.append, replicas_max=4, is_map=True)
    assert [spike.factor for spike in seen.spikes] == [2.0, 1.6, 1.44, 1.76, 2.4, 3.2, 4.8]
    assert "looking for the longest spike of 1.44x that is survived" in told
    twice = screen(
        fleet_in_trouble(rate_rps=220.0), judge_of(recovers_from(1)), silent, replicas_max=4, is_map=True
    )  # of a load of 0.55, 1.1 times as much is no overload, so the factor is rounded up to 2.4
    assert [spike.factor for spike in twice.spikes][:2] == [3.0, 2.4]


def test_a_fleet_overloaded_by_its_own_rate_is_refused_with_the_number_it_takes() -> None:
    for replicas, told in ((4, "4 replicas serve at most 400 rps"), (1, "1 replica serves at most 100 rps")):
        asked = fleet_in_trouble(rate_rps=100.0 * replicas, replicas=replicas, trigger="spike:2x,30s")
        with pytest.raises(UnstableError, match=f"{told} .* give {replicas + 1} or more"):
            screen(asked, judge_of(recovers_from(1)), silent, replicas_max=9)


def test_remedies_of_engines() -> None:
    """They shed nothing. Where the timeout is longer than a full response, a limit of (60 - 20)·6/2/3 is tried."""
    asked = engines_in_trouble(clients=Clients(timeout_s=60.0, attempts=2))
    found = dict(remedies(asked))
    assert list(found) == ["--retry-budget 0.1", "--queue-limit 40", "--abandoned stopped"]
    assert found["--queue-limit 40"].limit == 40
    hasty = replace(asked, clients=Clients(timeout_s=20.0))
    assert list(dict(remedies(hasty))) == ["--abandoned stopped"]
    assert found["--abandoned stopped"].protection == Protection(abandoned=Abandoned.STOPPED)
    stopped = replace(asked, protection=Protection(abandoned=Abandoned.STOPPED))
    assert "--abandoned stopped" not in dict(remedies(stopped))
    assert "--abandoned stopped" not in dict(remedies(fleet_in_trouble()))


def test_caveats_of_a_fleet_in_trouble() -> None:
    """Means without a spread of sizes below twice the largest batch; engines have caveats of their own."""

    def told(*timings: BatchTiming) -> dict[CaveatCode, str]:
        asked = fleet_in_trouble()
        return {
            one.code: one.message
            for one in stress_caveats(
                replace(asked, server=BatchServer(profile=replace(asked.profile, timings=timings)))
            )
        }

    bare, beyond = BatchTiming(batch_size=1, mean_s=0.01), BatchTiming(batch_size=2, mean_s=0.012)
    sampled = BatchTiming(batch_size=1, samples_s=(0.009, 0.01, 0.011) * 400)
    assert told(bare, beyond)[CaveatCode.PROFILE_NO_SPREAD].startswith("batch size 1 has a mean")
    of_three = replace(fleet_in_trouble().plan, batch_size_max=3)
    for size, is_told in ((5, True), (6, False), (7, False)):
        timings = (sampled, BatchTiming(batch_size=size, mean_s=0.02))
        server = BatchServer(profile=replace(fleet_in_trouble().profile, timings=timings))
        asked = replace(fleet_in_trouble(), server=server, plan=of_three)
        codes = {one.code for one in stress_caveats(asked)}
        assert (CaveatCode.PROFILE_NO_SPREAD in codes) is is_told
    assert CaveatCode.PROFILE_NO_SPREAD not in told(sampled, beyond)
    assert "with batches that take 1 %" in told(bare)[CaveatCode.PROFILE_ERROR_LEFT_OUT]
    of_engines = {one.code: one.message for one in stress_caveats(engines_in_trouble())}
    assert "with steps that take 1 %" in of_engines[CaveatCode.PROFILE_ERROR_LEFT_OUT]
    assert CaveatCode.STEPS_FROM_COEFFICIENTS in of_engines


def test_only_the_verdict() -> None:
    judge = judge_of(recovers_from(5))
    seen = screen(fleet_in_trouble(), judge, silent, replicas_max=64, only_verdict=True)
    assert len(judge.asked) == 1
    assert (seen.smallest, seen.smaller, seen.remedies, seen.spikes) == (None, None, (), ())


def test_a_fleet_without_harm_needs_no_setting() -> None:
    seen = screen(fleet_in_trouble(replicas=5), judge_of(recovers_from(5)), silent, replicas_max=64)
    assert is_unharmed(seen.found)
    assert seen.remedies == ()


def test_harm_is_more_than_five_points_less_success() -> None:
    def rule(goodput: float) -> Callable[[Stress, int], Run]:
        return lambda stress, number: run_of(0.0, goodput=goodput, baseline=0.98)

    assert is_unharmed(judge_of(rule(0.94))(fleet_in_trouble()))
    assert not is_unharmed(judge_of(rule(0.92))(fleet_in_trouble()))


def test_a_fleet_that_falls_by_itself_is_refused() -> None:
    with pytest.raises(
        UnstableError, match="3 replicas serve at most 300 rps and 320 rps arrive.*give 4 or more"
    ):
        screen(fleet_in_trouble(replicas=3), judge_of(recovers_from(1)), silent, replicas_max=64)
