"""Headroom of a language model's fleet: probes find its end, which alone is judged with care."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from capacity.profile.llm import Coefficients
from capacity.question.candidate import Candidate, Doubt, Verdict
from capacity.question.caveat import CaveatCode
from capacity.question.objective import Objective
from capacity.question.overload import Saturation
from capacity.search.headroom import find_headroom
from capacity.search.plan_decision import silent, with_headroom
from capacity.search.recommendation import Headroom, Recommendation
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.traffic.lengths import LengthLaw, LengthLaws
from capacity.traffic.workload import MmppArrivals, PoissonArrivals
from simulations.judge import SimulationJudge
from simulations.saturation import token_load
from simulations.validation.token_systems import law_scenario

TODAY_RPS, SATURATED_RPS = 10.0, 40.0
PROBED_TO = 0.02  # share of the rate to within which probes find the end
LENGTHS = LengthLaws(LengthLaw(kind="constant", mean=1), LengthLaw(kind="geometric", mean=20))
LINE = Coefficients(base_s=0.01, per_prefill_token_s=0.0002, per_decode_request_s=0.0002)
ENGINE = Saturation(
    rate_rps=SATURATED_RPS,
    running_mean=8.0,
    kv_utilization=0.5,
    preemption_rate=0.0,
    step_mean_s=0.01,
    prefill_time_share=0.1,
    binding="slots",
)


@dataclass
class ScriptedJudge:
    """Accepts up to a rate, leaves open what follows, and refuses from another one on."""

    accepted_rps: float
    refused_rps: float
    probed_rps: float | None = None
    requests: int = 0
    calls: list[tuple[str, float]] = field(default_factory=list)

    def requests_to_settle(self, scenario: TokenScenario) -> float:
        return self.requests

    def saturated(self, scenario: TokenScenario) -> Saturation:
        return ENGINE

    def search(
        self, scenario: TokenScenario, attempt: int, *, is_aside: bool = False
    ) -> Candidate[TokenPlan]:
        raise AssertionError("headroom searches no fleet")

    def certify(self, scenario: TokenScenario, attempt: int, requests_first: int = 0) -> Candidate[TokenPlan]:
        raise AssertionError("headroom recommends no fleet")

    def accepts(
        self, scenario: TokenScenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate[TokenPlan]:
        return self._judged("accepts", scenario, self.accepted_rps)

    def probe(self, scenario: TokenScenario, requests_max: int | None = None) -> Candidate[TokenPlan]:
        return self._judged("probe", scenario, self.probed_rps or self.accepted_rps)

    def _judged(self, call: str, scenario: TokenScenario, accepted_rps: float) -> Candidate[TokenPlan]:
        rate_rps = scenario.workload.arrival_rate_rps
        self.calls.append((call, rate_rps))
        if rate_rps <= accepted_rps:
            return Candidate(plan=scenario.plan, verdict=Verdict.MET, requests=self.requests)
        if rate_rps >= self.refused_rps:
            return Candidate(plan=scenario.plan, verdict=Verdict.MISSED, requests=self.requests)
        return Candidate(plan=scenario.plan, verdict=Verdict.INCONCLUSIVE, doubt=Doubt.REQUESTS)

    def careful_rps(self) -> list[float]:
        """Rates that were judged with care."""
        return [rate_rps for call, rate_rps in self.calls if call == "accepts"]


def headroom(judge: ScriptedJudge) -> Headroom:
    return find_headroom(law_scenario(TODAY_RPS, LENGTHS, LINE), judge, silent)


@pytest.mark.parametrize("end_rps", [10.4, 11.0, 13.7, 22.2, 39.0])
def test_the_end_is_found_to_its_resolution_and_judged_with_care_once(end_rps: float) -> None:
    judge = ScriptedJudge(accepted_rps=end_rps, refused_rps=end_rps)
    found = headroom(judge)
    assert end_rps / (1.0 + PROBED_TO) <= found.accepted_rps <= end_rps
    assert found.accepted_rps < found.refused_rps <= found.accepted_rps * (1.0 + PROBED_TO)
    assert judge.careful_rps() == [found.accepted_rps]
    assert found.doubt is None


def test_probes_rise_by_doubled_steps_of_todays_rate_and_then_halve() -> None:
    """5 % of 10 rps, 10 %, 20 %, ... up to the saturation, until the fleet is refused at 14 rps."""
    judge = ScriptedJudge(accepted_rps=13.9, refused_rps=13.95)
    headroom(judge)
    probed = [rate_rps for call, rate_rps in judge.calls if call == "probe"]
    assert probed == pytest.approx([10.5, 11.0, 12.0, 14.0, 13.0, 13.5, 13.75])
    saturates = ScriptedJudge(accepted_rps=100.0, refused_rps=200.0)
    headroom(saturates)
    assert [rate_rps for _, rate_rps in saturates.calls[:8]] == pytest.approx(
        [10.5, 11.0, 12.0, 14.0, 18.0, 26.0, 33.0, 36.5]
    )


def test_a_rate_whose_trial_would_leave_too_little_is_passed_over() -> None:
    """A trial at 13.75 rps takes 3 of 4 million requests, which leaves too few for another; one at 13.5 rps takes 2."""

    @dataclass
    class Steep(ScriptedJudge):
        def requests_to_settle(self, scenario: TokenScenario) -> float:
            rate_rps = scenario.workload.arrival_rate_rps
            return 3_000_000 if rate_rps > 13.6 else 2_000_000

        def accepts(
            self,
            scenario: TokenScenario,
            effort: int = 1,
            requests_max: int | None = None,
            likely: object = None,
        ) -> Candidate[TokenPlan]:
            self.requests = int(self.requests_to_settle(scenario))
            if requests_max is not None and self.requests > requests_max:
                self.accepted_rps = 0.0
            return self._judged("accepts", scenario, self.accepted_rps)

    judge = Steep(accepted_rps=13.9, refused_rps=13.95)
    found = headroom(judge)
    assert judge.careful_rps()[0] == pytest.approx(13.5)
    assert found.accepted_rps == pytest.approx(13.5)


@pytest.mark.parametrize("probed_rps", [14.0, 18.0, 40.0])
def test_what_only_probes_accept_is_no_headroom(probed_rps: float) -> None:
    judge = ScriptedJudge(accepted_rps=13.0, refused_rps=15.0, probed_rps=probed_rps)
    found = headroom(judge)
    assert 13.0 / (1.0 + PROBED_TO) <= found.accepted_rps <= 13.0
    assert found.accepted_rps in judge.careful_rps()


def test_a_plan_at_its_end_has_no_headroom_and_is_not_judged_again() -> None:
    judge = ScriptedJudge(accepted_rps=TODAY_RPS, refused_rps=TODAY_RPS)
    found = headroom(judge)
    assert found.accepted_rps == TODAY_RPS
    assert judge.careful_rps() == []


def test_rates_left_open_give_a_doubt_and_refuse_nothing() -> None:
    found = headroom(ScriptedJudge(accepted_rps=12.0, refused_rps=20.0))
    assert found.accepted_rps <= 12.0 < found.refused_rps
    assert found.refused_rps >= 20.0
    assert found.doubt is Doubt.REQUESTS


def test_headroom_ends_where_the_engines_saturate() -> None:
    found = headroom(ScriptedJudge(accepted_rps=100.0, refused_rps=200.0))
    assert SATURATED_RPS / (1.0 + PROBED_TO) <= found.accepted_rps < SATURATED_RPS
    assert found.refused_rps == SATURATED_RPS


def test_headroom_under_bursts_takes_a_tenth_of_the_requests() -> None:
    """A rate takes 600,000 requests; probes may take 1,500,000, and trials with care as many."""
    bursts = MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=100.0)
    trials = []
    for arrivals in (PoissonArrivals(), bursts):
        judge = ScriptedJudge(accepted_rps=22.2, refused_rps=22.3, requests=600_000)
        scenario = law_scenario(TODAY_RPS, LENGTHS, LINE)
        asked = replace(scenario, workload=replace(scenario.workload, arrivals=arrivals))
        found = find_headroom(asked, judge, silent)
        assert TODAY_RPS < found.accepted_rps <= 22.2 < found.refused_rps
        trials.append((len(judge.calls) - len(judge.careful_rps()), len(judge.careful_rps())))
    assert trials[0] > trials[1] == (3, 3)


def test_a_rate_clearly_above_what_probes_accept_is_refused_first_under_bursts() -> None:
    """Trials near the end may take the whole budget, and then the other end would be where the queue grows for ever."""
    bursts = MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=100.0)
    judge = ScriptedJudge(accepted_rps=22.2, refused_rps=26.5)
    scenario = law_scenario(TODAY_RPS, LENGTHS, LINE)
    asked = replace(scenario, workload=replace(scenario.workload, arrivals=bursts))
    found = find_headroom(asked, judge, silent)
    assert 26.5 < judge.careful_rps()[0] < 27.0
    assert found.refused_rps < 27.0


def test_a_headroom_in_doubt_is_noted_as_it_is_of_batches() -> None:
    """Before, 30 % of the rate could be open without a word."""
    scenario = law_scenario(TODAY_RPS, LENGTHS, LINE)
    question: Any = SimpleNamespace(
        scenario=lambda plan: scenario, events=lambda plan: (), workload=scenario.workload
    )
    plan = Recommendation(
        verdict=Verdict.MET, objective=scenario.objective, plan=scenario.plan, saturation=ENGINE
    )
    judge = ScriptedJudge(accepted_rps=12.0, refused_rps=20.0)
    (note,) = with_headroom(question, plan, judge, silent).caveats
    assert note.code is CaveatCode.HEADROOM_IN_DOUBT
    assert note.message.endswith("the plan is undecided; raise --requests-max")


class Costly(ScriptedJudge):
    """Takes as many requests for each rate, and none where it may not."""

    spent, each = 0, 300_000

    def accepts(
        self, scenario: TokenScenario, effort: int = 1, requests_max: int | None = None, likely: object = None
    ) -> Candidate[TokenPlan]:
        return self._paid(ScriptedJudge.accepts(self, scenario), requests_max)

    def probe(self, scenario: TokenScenario, requests_max: int | None = None) -> Candidate[TokenPlan]:
        return self._paid(ScriptedJudge.probe(self, scenario), requests_max)

    def _paid(self, judged: Candidate[TokenPlan], requests_max: int | None) -> Candidate[TokenPlan]:
        assert requests_max is not None
        if self.each > requests_max:
            return replace(judged, verdict=Verdict.INCONCLUSIVE, doubt=Doubt.REQUESTS)
        self.spent += self.each
        return replace(judged, requests=self.each)


@pytest.mark.parametrize(("output", "requests_max"), [(20, 12_000_000), (400, 2_000_000), (8_000, 100_000)])
def test_what_a_headroom_may_take_goes_by_its_tokens(output: int, requests_max: int) -> None:
    """800 million of probes and as many of trials, and 20 and 4 million requests at most. Before, probes had no end: minutes for 100,000 slots."""
    lengths = LengthLaws(LengthLaw(kind="constant", mean=1), LengthLaw(kind="constant", mean=output))
    judge = Costly(accepted_rps=30.0, refused_rps=39.0)
    found = find_headroom(law_scenario(TODAY_RPS, lengths, LINE), judge, silent)
    assert judge.spent <= 2 * requests_max
    assert found.accepted_rps <= 30.0
    assert found.refused_rps <= SATURATED_RPS


@pytest.mark.long
def test_a_probe_ends_sooner_where_no_request_could_help() -> None:
    """At load 0.8 the P99 of the first token is far beyond one limit, just beyond another and well within a third."""
    scenario = law_scenario(48.0, LENGTHS, LINE, slots=16)
    judge = SimulationJudge()
    assert token_load(scenario) == pytest.approx(0.8, abs=0.02)

    def asked(limit_s: float) -> TokenScenario:
        return replace(scenario, objective=Objective.of(ttft={0.99: limit_s}))

    told = judge.accepts(asked(60.0)).performance
    p99_s = told.ttft_quantiles_s[0.99].value
    far, near, within = (judge.probe(asked(share * p99_s)) for share in (0.5, 1.002, 1.5))
    assert far.verdict is Verdict.MISSED
    assert near.verdict is Verdict.INCONCLUSIVE
    assert within.accepted
    assert near.requests < judge.accepts(asked(1.002 * p99_s)).requests
