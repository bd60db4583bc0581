"""Arrivals that come in bursts: more replicas than Poisson ones would take, how many, and why."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from in_process import capacity
from questions import batch_question

from capacity.answer.sentences import explain
from capacity.profile.load import load_profile
from capacity.question.candidate import Candidate, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Objective
from capacity.question.scenario import Scenario
from capacity.search import certificate
from capacity.search.batches import BatchTheory
from capacity.search.candidates import Search
from capacity.search.certificate import Certifier
from capacity.search.cheapest import Level
from capacity.search.plan_decision import recommend
from capacity.search.recommendation import Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.burstiness import irregularity
from capacity.traffic.workload import ArrivalProcess, MmppArrivals, PoissonArrivals, TraceArrivals, Workload
from simulations.draws.arrivals import Seed, draw
from simulations.judge import SimulationJudge

pytestmark = pytest.mark.usefixtures("no_headroom")

PROFILE = load_profile("resnet50-t4-fp16")


def bursty_trace(requests: int = 9000) -> TraceArrivals:
    """Calm traffic with some bursts of thirty times the rate."""
    bursts = MmppArrivals(ratio=30.0, burst_mean_s=2.0, calm_mean_s=60.0)
    drawn = draw(Workload(arrival_rate_rps=40.0, arrivals=bursts), requests, Seed(value=4))
    return TraceArrivals(instants_s=tuple(drawn.arrived_s.tolist()), name="bursty")


def planned(arrivals: ArrivalProcess, rate_rps: float, limit_s: float) -> tuple[Recommendation, list[str]]:
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=arrivals),
        objective=Objective.of(response={0.99: limit_s}),
        batch_size_limit=4,
    )
    answer = recommend(question, SimulationJudge(precision=0.2, requests_max=20_000_000))
    return answer, list(explain(answer, question))


def test_a_bursty_trace_takes_more_and_says_how_many_and_why() -> None:
    trace = bursty_trace()
    answer, told = planned(trace, trace.rate_rps, 0.012)
    assert answer.plan is not None
    calm = answer.under_poisson.plan.replicas
    assert answer.plan.replicas > calm
    seen = irregularity(Workload(arrival_rate_rps=trace.rate_rps, arrivals=trace))
    assert seen is not None
    sentence = (
        f"Under Poisson arrivals {calm} would be enough; these arrivals need "
        f"{answer.plan.replicas - calm} more: {seen}."
    )
    assert sentence in told
    assert CaveatCode.TRACE_FEW_BURSTS in [caveat.code for caveat in answer.caveats]


def test_the_same_requests_as_a_poisson_stream_have_no_such_caveat() -> None:
    instants_s = np.cumsum(np.random.default_rng(5).exponential(1.0 / 40.0, 9000))
    trace = TraceArrivals(instants_s=tuple(instants_s.tolist()))
    answer, told = planned(trace, trace.rate_rps, 0.012)
    assert answer.plan is not None
    assert any("these arrivals need as many" in sentence for sentence in told)
    assert CaveatCode.TRACE_FEW_BURSTS not in [caveat.code for caveat in answer.caveats]


@pytest.mark.long
def test_bursts_of_a_model_take_more_too() -> None:
    bursts = MmppArrivals(ratio=5.0, burst_mean_s=0.2, calm_mean_s=1.0)
    answer, told = planned(bursts, 900.0, 0.02)
    assert answer.plan.replicas > answer.under_poisson.plan.replicas
    assert any("counts in 200 ms vary" in sentence for sentence in told)


def test_poisson_arrivals_are_compared_with_nothing() -> None:
    answer, told = planned(PoissonArrivals(), 900.0, 0.02)
    assert answer.under_poisson is None
    assert not any("Poisson" in sentence for sentence in told)


def test_the_command_says_it(tmp_path: Path) -> None:
    trace = bursty_trace()
    (tmp_path / "bursty.csv").write_text("t_s\n" + "\n".join(map(repr, trace.instants_s)))
    arguments = ["plan", "--profile", PROFILE.name, "--arrivals", "trace:bursty.csv", "--slo-p99", "12ms"]
    done = capacity(tmp_path, *arguments, "--batch-size-max", "4", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["recommendation"]["replicas"] > answer["under_poisson"]["recommendation"]["replicas"]


def fewest(arrivals: ArrivalProcess, rate_rps: float) -> int:
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=arrivals),
        objective=Objective.of(response={0.99: 0.04}),
        batch_size_limit=16,
    )
    plan = recommend(question, SimulationJudge(), plan_alone=True).plan
    return plan.replicas


@pytest.mark.long
@pytest.mark.parametrize(
    ("rate_rps", "ratio", "cycle_s"),
    [
        (900.0, 3.0, 10.0),
        (3_200.0, 5.0, 70.0),
        (3_200.0, 2.0, 600.0),
        (3_200.0, 5.0, 1.0),
        (50_000.0, 2.0, 10.0),
    ],
)
def test_bursts_need_as_many_as_their_mean_at_least_and_as_their_highest_rate_at_most(
    rate_rps: float, ratio: float, cycle_s: float
) -> None:
    """Batches start at once, so that more arrivals make no request faster."""
    bursts = MmppArrivals(ratio=ratio, burst_mean_s=cycle_s / 7.0, calm_mean_s=6.0 * cycle_s / 7.0)
    least, most = (fewest(PoissonArrivals(), x) for x in (rate_rps, bursts.rates_rps(rate_rps)[0]))
    assert least < fewest(bursts, rate_rps) <= most


def test_what_accompanies_a_plan_has_a_budget_of_its_own() -> None:
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=50.0),
        objective=Objective.of(response={0.99: 0.04}),
    )
    search = Search(question, SimulationJudge(), lambda _: None)
    search.requests = spent = (
        2 * BatchTheory.search_requests_max
    )  # what a search may spend that has accepted nothing
    other = search.separate(question)
    assert search.out_of_budget
    assert not other.out_of_budget
    other.requests = 7
    search.count_in(other)
    assert search.requests == spent + 7


def test_what_accompanies_a_plan_under_bursts_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmation of what Poisson arrivals would take took longer than the plan itself."""
    calls: list[str] = []

    def told(how: str) -> Callable[..., Candidate]:
        def judged(_: SimulationJudge, scenario: Scenario, *__: int, **___: bool) -> Candidate:
            calls.append(how)
            is_enough = scenario.plan.replicas >= 12
            return Candidate(plan=scenario.plan, verdict=Verdict.MET if is_enough else Verdict.MISSED)

        return judged

    for how in ("search", "certify"):
        monkeypatch.setattr(SimulationJudge, how, told(how))
    monkeypatch.setattr(certificate, "by_preference", lambda _, accepted: list(accepted))
    bursts = MmppArrivals(ratio=5.0, burst_mean_s=10.0, calm_mean_s=60.0)
    calm = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=3200.0),
        objective=Objective.of(response={0.99: 0.04}),
    )
    level = Level(cost=12.0, candidates=(), starts={})
    plan = BatchPlan(profile=PROFILE.name, replicas=12, batch_size_max=16)
    for asked, is_confirmed in ((calm.with_arrivals(bursts), False), (calm, True)):
        calls.clear()
        search = Search(asked, SimulationJudge(), lambda _: None).separate(calm)
        accepted = replace(level, candidates=(search.candidate(plan),))
        certified = Certifier(search).first(accepted)
        assert certified is not None
        assert certified.candidate.plan == plan
        assert ("certify" in calls) is is_confirmed


def test_a_fleet_of_hundreds_next_to_one_in_doubt_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search accepts 889, a confirmation 900: 889 is like 891, which was left in doubt."""
    confirmed: list[int] = []

    def by(least: int) -> Callable[..., Candidate]:
        def judged(_: SimulationJudge, scenario: Scenario, *__: int, **___: bool) -> Candidate:
            replicas = scenario.plan.replicas
            confirmed.extend([replicas] if least == 900 else [])
            is_enough = replicas >= least
            return Candidate(plan=scenario.plan, verdict=Verdict.MET if is_enough else Verdict.INCONCLUSIVE)

        return judged

    monkeypatch.setattr(SimulationJudge, "search", by(889))
    monkeypatch.setattr(SimulationJudge, "certify", by(900))
    monkeypatch.setattr(certificate, "by_preference", lambda _, accepted: list(accepted))
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=3200.0),
        objective=Objective.of(response={0.99: 0.04}),
    )
    search = Search(question, SimulationJudge(), lambda _: None)
    plans = [BatchPlan(profile=PROFILE.name, replicas=count, batch_size_max=16) for count in (889, 891, 907)]
    found = [search.candidate(plan) for plan in plans]
    search.update(replace(found[1], verdict=Verdict.INCONCLUSIVE))
    certified = Certifier(search).first(Level(cost=907.0, candidates=(found[2],), starts={}))
    assert certified is not None
    assert certified.candidate.plan.replicas >= 900
    assert 889 not in confirmed
