"""The grids around a plan: their axes, the plan's own cell in them, and fewer cells where they would take too long."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from questions import batch_question, engine_question

from capacity.explanation.around import DETAILS, Around, Detail, fleets_around, requests_worth
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Verdict
from capacity.question.objective import Objective
from capacity.question.parse import find_profile
from capacity.question.plan import Routing
from capacity.question.resilience import Survival
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.clients import Clients
from capacity.traffic.lengths import parse_lengths
from capacity.traffic.workload import ClosedPopulation, TraceArrivals, Workload
from capacity.units import format_rate

FILES = Path(__file__).parent.parent / "kept" / "files"
PROFILE = ServiceProfile(
    name="p", timings=tuple(BatchTiming(batch_size=n, mean_s=0.01) for n in (1, 2, 4, 8, 16))
)
PLAN = BatchPlan(profile="p", replicas=3, batch_size_max=4, batch_wait_max_s=0.002)
P99 = Objective.of(response={0.99: 0.1})
QUESTION = batch_question(
    profiles=(PROFILE,), workload=Workload(arrival_rate_rps=200.0), objective=P99, batch_waits_s=(0.002,)
)


def considered(*plans: Any) -> list[Candidate[Any]]:
    return [Candidate(plan=plan, verdict=Verdict.MET) for plan in plans]


def around(plan: Any = PLAN, question: Any = QUESTION, *others: Any, detail: Detail = DETAILS[0]) -> Around:
    return fleets_around(question, plan, considered(plan, *others), detail)


def planned(question: Any, plan: Any) -> Any:
    """The scenario of a plan, which a cell has no objective for."""
    return replace(question.scenario(plan), objective=Objective()).after(question.survival)


def test_the_grid_has_every_replica_and_every_batch_that_was_considered() -> None:
    sizes = [replace(PLAN, replicas=n, batch_size_max=size) for n in (2, 3) for size in (1, 8, 16)]
    elsewhere = replace(PLAN, batch_size_max=2, routing=Routing.RANDOM)
    found = around(PLAN, QUESTION, *sizes, elsewhere)
    assert found.shape == (1, 9, 6, 4)
    assert found.replicas == (1, 2, 3, 4, 5, 6)
    assert found.sizes == (1, 4, 8, 16)
    assert found.is_every
    rates = [demand.size for demand in found.demands]
    assert (rates[0], rates[-1], len(rates)) == (100.0, 300.0, 9)
    assert rates == sorted(rates)
    assert found.own == (0, 4, 2, 1)
    cells = list(found.cells())
    assert len(cells) == 9 * 6 * 4
    assert cells[found.own_cell] == planned(QUESTION, PLAN)
    assert {(one.plan.replicas, one.plan.batch_size_max) for one in cells[-24:]} == {
        (n, size) for n in range(1, 7) for size in (1, 4, 8, 16)
    }
    assert {one.workload.arrival_rate_rps for one in cells[-24:]} == {300.0}
    assert {one.plan.batch_wait_max_s for one in cells} == {0.002}


def test_neighbours_stand_in_where_one_batch_alone_was_considered() -> None:
    assert around().sizes == (2, 4, 8)


def test_a_plan_that_was_allowed_less_has_smaller_grids_and_so_have_clients_who_retry() -> None:
    most = requests_worth(QUESTION, PLAN, 100_000_000)
    assert requests_worth(QUESTION, PLAN, 1_000_000) == 5_000_000 < most
    impatient = replace(QUESTION.workload, clients=Clients(timeout_s=0.1, attempts=2))
    assert requests_worth(replace(QUESTION, workload=impatient), PLAN, 100_000_000) == most // 8


@pytest.mark.parametrize("detail", DETAILS)
def test_each_detail_has_the_plan_and_five_rates_at_least(detail: Detail) -> None:
    sizes = [replace(PLAN, batch_size_max=size) for size in (1, 2, 8, 16)]
    found = around(PLAN, QUESTION, *sizes, detail=detail)
    assert len(found.demands) == len(detail.factors) >= 5
    assert len(found.sizes) == min(detail.sizes, 5) == 5 - found.sizes_left_out
    assert list(found.cells())[found.own_cell] == planned(QUESTION, PLAN)


def test_finer_grids_have_more_cells() -> None:
    sizes = [replace(PLAN, batch_size_max=size) for size in (1, 2, 8, 16)]
    plan = replace(PLAN, replicas=9)
    cells = [len(list(around(plan, QUESTION, *sizes, detail=detail).cells())) for detail in DETAILS]
    assert cells == sorted(set(cells), reverse=True)


def test_large_fleets_have_some_numbers_of_replicas_close_around_the_plan() -> None:
    assert around(replace(PLAN, replicas=16)).replicas == tuple(range(1, 33))
    found = around(replace(PLAN, replicas=100))
    assert found.replicas == (36, 68, 84, 92, 96, 98, 99, 100, 101, 102, 104, 108, 116, 132, 164, 200)
    assert not found.is_every


def test_replicas_that_share_a_device_come_by_whole_devices() -> None:
    shared = replace(PROFILE, instances_per_device=2)
    question = replace(QUESTION, profiles=(shared,))
    found = around(replace(PLAN, replicas=4), question)
    assert found.replicas == (2, 4, 6, 8)
    assert found.is_every


@pytest.mark.parametrize("rate_rps", [0.123456, 312.5, 1234.56, 987654.3])
def test_rates_are_what_is_shown_of_them(rate_rps: float) -> None:
    question = replace(QUESTION, workload=Workload(arrival_rate_rps=rate_rps))
    found = around(PLAN, question)
    assert len(found.demands) == 9
    others = [demand.size for demand in found.demands if demand.size != rate_rps]
    assert [format_rate(size) for size in others] == [f"{size:.7g} rps" for size in others]
    assert list(found.cells())[found.own_cell] == planned(question, PLAN)


@pytest.mark.parametrize(("users", "least", "most"), [(1, 1, 9), (3, 1, 9), (8, 4, 12), (100, 50, 150)])
def test_users_are_whole(users: int, least: int, most: int) -> None:
    question = replace(QUESTION, workload=ClosedPopulation(users=users, think_time_s=0.1))
    found = around(PLAN, question)
    counts = [demand.size for demand in found.demands]
    assert len(counts) >= 7
    assert (counts[0], counts[-1]) == (least, most)
    assert list(found.cells())[found.own_cell] == planned(question, PLAN)


def test_a_trace_is_played_faster_and_slower() -> None:
    trace = TraceArrivals(instants_s=(0.0, 0.1, 0.3), name="log.csv")
    question = replace(QUESTION, workload=Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace))
    found = around(PLAN, question)
    assert {one.workload.arrivals for one in found.cells()} == {trace}
    assert found.demands[0].size == trace.rate_rps / 2.0


def test_fleets_are_in_the_failure_that_the_plan_must_survive() -> None:
    question = replace(QUESTION, survival=Survival(spare=1))
    found = around(PLAN, question)
    own = list(found.cells())[found.own_cell]
    assert own == planned(question, PLAN)
    assert (own.plan.replicas, own.whole.replicas) == (2, 3)


def test_requests_with_lengths_have_shorter_and_longer_outputs() -> None:
    profile = find_profile(FILES / "line.json")
    plan = TokenPlan(profile=profile.name, replicas=2, sequences_max=8, batched_tokens_max=512)
    question = engine_question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=50.0),
        objective=Objective.of(ttft={0.99: 0.3}),
        lengths=parse_lengths("input=uniform:low=20,high=60;output=constant:20"),
    )
    found = around(plan, question)
    assert (found.outputs, found.sizes) == ((0.5, 1.0, 2.0), (4, 8, 16))
    cells = list(found.cells())
    assert cells[found.own_cell] == planned(question, plan)
    share = len(cells) // 3
    means = [{one.lengths.moments.output for one in cells[at : at + share]} for at in (0, share, 2 * share)]
    assert means == [{10.0}, {20.0}, {40.0}]
    assert len({(one.lengths.moments.input) for one in cells}) == 1
