"""A day hour by hour: against exact laws, every count tried; and the installed command."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from in_process import capacity
from questions import batch_question

from capacity.answer.documents import schedule_document
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.render.plan import schedule_tables
from capacity.search.by_hour import Schedule, schedule
from capacity.search.exact import judge_exactly
from capacity.search.plan_decision import silent
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import GammaArrivals, Workload
from simulations.judge import SimulationJudge

pytestmark = pytest.mark.usefixtures("no_headroom")

PROFILE = ServiceProfile(
    name="made-up",
    timings=tuple(BatchTiming(batch_size=b, mean_s=0.008 + 0.002 * b) for b in (1, 2, 4, 8)),
    hourly_usd=2.0,
)
OBJECTIVE = Objective.of(response={0.99: 0.05})
RATES_RPS = (50.0,) * 6 + (400.0,) * 4 + (900.0,) * 6 + (650.0,) * 7 + (0.0,)


class ExactJudge:
    """Knows the law of deterministic batches behind random routing."""

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        found = judge_exactly(scenario)
        assert found is not None
        return found

    def certify(self, scenario: Scenario, attempt: int, requests_first: int) -> Candidate:
        return self.search(scenario, attempt)

    def probe(self, scenario: Scenario, requests_max: int | None = None) -> Candidate:
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE)  # a glance that shows nothing

    def accepts(
        self, scenario: Scenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate:
        return self.search(scenario, 1)


def question(rate_rps: float) -> Question:
    return batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=rate_rps),
        objective=OBJECTIVE,
        routings=(Routing.RANDOM,),
    )


@cache
def fewest(rate_rps: float, plan: BatchPlan) -> int:
    """By trying every count."""
    asked = question(rate_rps)
    stable = math.floor(rate_rps / PROFILE.throughput_rps(plan.batch_size_max)) + 1
    for replicas in range(stable, 100):
        one = BatchPlan(
            profile=plan.profile,
            replicas=replicas,
            batch_size_max=plan.batch_size_max,
            batch_wait_max_s=plan.batch_wait_max_s,
            routing=plan.routing,
        )
        candidate = judge_exactly(asked.scenario(one))
        assert candidate is not None
        if candidate.verdict is Verdict.MET:
            return replicas
    raise AssertionError


@cache
def day_of(rates_rps: Sequence[float], wait_s: float = 0.0) -> tuple[Schedule, BatchPlan]:
    peak = max(rates_rps)
    shape = BatchPlan(
        profile="made-up", replicas=1, batch_size_max=8, batch_wait_max_s=wait_s, routing=Routing.RANDOM
    )
    plan = BatchPlan(
        profile="made-up",
        replicas=fewest(peak, shape),
        batch_size_max=8,
        batch_wait_max_s=wait_s,
        routing=Routing.RANDOM,
    )
    return schedule(question(peak), plan, rates_rps, ExactJudge(), silent), plan


@pytest.mark.parametrize("wait_s", [0.0, 0.004])
def test_each_hour_has_the_fewest_replicas_that_do(wait_s: float) -> None:
    day, plan = day_of(RATES_RPS, wait_s)
    expected = [1 if rate_rps == 0.0 else fewest(rate_rps, plan) for rate_rps in RATES_RPS]
    assert list(day.replicas) == expected
    assert len(set(expected)) > 3
    assert day.peak == plan.replicas == max(expected)


def test_what_an_ideal_schedule_saves() -> None:
    day, _ = day_of(RATES_RPS)
    assert day.replica_hours_flat == 24 * day.peak
    assert day.replica_hours_ideal == sum(day.replicas)
    assert day.share_saved == 1.0 - sum(day.replicas) / (24 * day.peak)
    assert day.daily_usd_saved == 2.0 * (24 * day.peak - sum(day.replicas))
    document = schedule_document(day)
    assert [hour["replicas"] for hour in document["hours"]] == list(day.replicas)
    assert document["daily_usd_saved"] == day.daily_usd_saved


def test_an_hour_in_which_not_even_the_peaks_fleet_does_is_told() -> None:
    """Batches of 4 that wait 20 ms fill in 8 ms at 500 rps; at 100 rps nearly every request waits all of it."""
    profile = ServiceProfile(
        name="made-up",
        timings=(BatchTiming(batch_size=1, mean_s=0.003), BatchTiming(batch_size=4, mean_s=0.005747)),
    )
    asked = batch_question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=500.0),
        objective=Objective.of(response={0.99: 0.022}),
        batch_waits_s=(0.02,),
    )
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=4, batch_wait_max_s=0.02)
    day = schedule(asked, plan, (100.0,) * 12 + (500.0,) * 12, SimulationJudge(), silent)
    assert (day.unkept_rps, day.replicas) == ((100.0,), (1,) * 24)
    assert schedule_document(day)["unkept_rates_rps"] == [100.0]
    text = " ".join(str(part) for part in schedule_tables(day))
    assert "Not even the fleet for the peak is known to meet the objective at 100 rps" in text


@pytest.mark.parametrize(
    ("wait_s", "enough", "tried", "found"),
    [
        (0.0, 5, [5, 2, 3, 4], 5),
        (0.0, 11, [5, 8, 9, 10], 11),
        (0.0, 1, [5, 2, 1], 1),
        (0.004, 5, [1, 2, 3, 4, 5], 5),
        (0.004, 11, list(range(1, 12)), 11),
        (0.004, 12, list(range(1, 12)), 11),
    ],
)
def test_the_fleet_of_an_hour_is_found_by_bisection_or_one_by_one(wait_s, enough, tried, found) -> None:
    """Up to the 11 of the peak; one by one where batches wait, since a larger fleet may then be slower."""
    seen: list[int] = []

    class Scripted(ExactJudge):
        def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
            seen.append(scenario.plan.replicas)
            is_enough = scenario.plan.replicas >= enough
            return Candidate(plan=scenario.plan, verdict=Verdict.MET if is_enough else Verdict.MISSED)

    plan = BatchPlan(
        profile="made-up", replicas=11, batch_size_max=8, batch_wait_max_s=wait_s, routing=Routing.RANDOM
    )
    bursty = Workload(
        arrival_rate_rps=900.0, arrivals=GammaArrivals(cv=2.0)
    )  # has no exact law, so the judge is asked
    told: list[str] = []
    asked = replace(question(900.0), workload=bursty)
    day = schedule(asked, plan, (50.0, *(900.0,) * 23), Scripted(), told.append)
    assert seen == tried
    assert day.replicas == (found, *(11,) * 23)
    assert day.unkept_rps == ((50.0,) if enough > 11 else ())
    assert told[0] == "the hour of 50 rps"


def test_a_day_that_is_all_alike_saves_nothing() -> None:
    day, _ = day_of((300.0,) * 24)
    assert day.share_saved == 0.0
    assert set(day.replicas) == {day.peak}


@pytest.mark.long
def test_the_command_sizes_for_the_peak_and_tells_the_hours(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("time,rate_rps\n00:00,300\n09:00,2500\n12:00,3200\n15:00,1200\n")
    asked = ("plan", "--profile", "resnet50-t4-fp16", "--slo-p99", "40ms", "--batch-wait", "0ms",
             "--requests-max", "2000000", "--precision", "0.1")  # fmt: skip
    daily = capacity(tmp_path, *asked, "--daily", "day.csv", "--json")
    assert daily.returncode == 0, daily.stderr
    answer = json.loads(daily.stdout)
    assert answer["workload"]["arrival_rate_rps"] == 3200.0
    hours = answer["schedule"]["hours"]
    rates_rps = [300.0] * 9 + [2500.0] * 3 + [3200.0] * 3 + [1200.0] * 9
    assert [hour["arrival_rate_rps"] for hour in hours] == rates_rps
    assert hours[12]["replicas"] == answer["recommendation"]["replicas"] == 4
    assert [hours[0]["replicas"], hours[9]["replicas"], hours[20]["replicas"]] == [1, 3, 2]
    table = capacity(tmp_path, *asked, "--daily", "day.csv", "-v")
    assert "12:00 to 15:00   3200 rps          4" in table.stdout
    both = capacity(tmp_path, *asked, "--daily", "day.csv", "--rate", "5rps")
    assert both.returncode == 2
    assert "leave out --rate" in both.stderr
