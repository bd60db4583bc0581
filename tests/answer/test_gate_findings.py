"""Findings about a saved plan, one by one, from made-up results of a judge."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planned import ENGINES, TOKEN_LIMITS, saved_plan

from capacity.answer.check import (
    Finding,
    GateAnswer,
    Judged,
    NewProfile,
    Size,
    findings_of,
    gate_inputs,
    holds,
    new_profiles,
    verdict_of,
)
from capacity.errors import InputError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.load import load_llm
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.search.recommendation import Recommendation, Survived
from capacity.server.engine.plan import TokenPlan

MET, MISSED, DOUBT = Verdict.MET, Verdict.MISSED, Verdict.INCONCLUSIVE
SAVED = saved_plan()
TTFT = Limit(measure=Measure.TTFT, quantile=0.99, allowed=0.5)
TPOT = Limit(measure=Measure.TPOT_MEAN, allowed=0.01)


def token_candidate(
    verdict: Verdict,
    ttft: tuple[float, float] | None,
    tpot_s: float | None,
    rejection: Rejection | None = None,
) -> Candidate[TokenPlan]:
    known = {} if ttft is None else {0.99: Interval(value=sum(ttft) / 2.0, low=ttft[0], high=ttft[1])}
    performance = Performance(kind=Kind.SIMULATION, ttft_quantiles_s=known, tpot_mean_s=tpot_s)
    return Candidate(plan=ENGINES, verdict=verdict, rejection=rejection, performance=performance)


@pytest.mark.parametrize(
    ("candidate", "verdicts"),
    [
        (token_candidate(MET, (0.4, 0.6), 0.02), {"TTFT P99": MET, "TPOT mean": MET}),
        (token_candidate(MISSED, (0.6, 0.7), 0.01, Rejection.of(TTFT, 0.6)), {"TTFT P99": MISSED, "TPOT mean": MET}),
        (token_candidate(MISSED, (0.4, 0.6), 0.02, Rejection.of(TTFT, 0.6)), {"TTFT P99": MISSED, "TPOT mean": MISSED}),
        (token_candidate(MISSED, (0.4, 0.5), 0.02, Rejection.of(TPOT, 0.02)), {"TTFT P99": MET, "TPOT mean": MISSED}),
        (token_candidate(MISSED, (0.5, 0.6), 0.02, Rejection.of(TPOT, 0.02)), {"TTFT P99": DOUBT, "TPOT mean": MISSED}),
        (token_candidate(MISSED, (0.501, 0.6), 0.02, Rejection.of(TPOT, 0.02)), {"TTFT P99": MISSED, "TPOT mean": MISSED}),
        (token_candidate(DOUBT, (0.6, 0.7), 0.01, Rejection.of(TPOT, 0.01)), {"TTFT P99": DOUBT, "TPOT mean": DOUBT}),
    ],
)  # fmt: skip
def test_each_limit_of_a_language_model_has_its_own_verdict(candidate, verdicts) -> None:
    found = list(findings_of(TOKEN_LIMITS, Judged(candidate=candidate, performance=candidate.performance)))
    assert {one.name.partition(" <=")[0]: one.verdict for one in found} == verdicts
    for one in found:
        is_refused = candidate.rejection is not None and one.name == str(candidate.rejection.limit)
        assert one.rejection is (candidate.rejection if is_refused else None)


def test_a_plan_that_theory_refuses_has_one_finding() -> None:
    rejection = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.25)
    candidate = replace(token_candidate(MISSED, None, None, rejection), performance=None)
    (one,) = findings_of(TOKEN_LIMITS, Judged(candidate=candidate))
    assert (one.name, one.verdict, one.rejection) == ("the plan", MISSED, rejection)
    assert one.message == "unstable: load 1.250 >= 1"


P99, P50 = (Limit(measure=Measure.RESPONSE, quantile=q, allowed=s) for q, s in ((0.99, 0.05), (0.5, 0.02)))
QUESTION = replace(SAVED.question, objective=Objective.of(response={0.5: 0.02, 0.99: 0.05}))


def performance(p50: tuple[float, float], p99: tuple[float, float] = (0.06, 0.07)) -> Performance:
    known = {
        q: Interval(value=sum(ends) / 2.0, low=ends[0], high=ends[1]) for q, ends in ((0.5, p50), (0.99, p99))
    }
    return Performance(kind=Kind.SIMULATION, response_quantiles_s=known)


def findings(
    verdict: Verdict,
    p50: tuple[float, float],
    rejection: Rejection | None,
    *,
    settled: bool = True,
    survived: tuple[Survived, ...] = (),
) -> dict[str, Verdict]:
    seen = performance(p50)
    candidate = Candidate(
        plan=SAVED.plan, verdict=verdict, rejection=rejection, performance=seen, settled=settled
    )
    judged = Judged(candidate=candidate, performance=seen, survived=survived)
    return {one.name: one.verdict for one in findings_of(QUESTION.objective, judged)}


@pytest.mark.parametrize(
    ("verdict", "p50", "settled", "told"),
    [
        (MISSED, (0.01, 0.02), True, MET),
        (MISSED, (0.01, 0.02), False, DOUBT),
        (MISSED, (0.02, 0.03), True, DOUBT),
        (MISSED, (0.021, 0.03), True, MISSED),
        (DOUBT, (0.021, 0.03), True, DOUBT),
    ],
)
def test_limits_that_were_not_refused_are_judged_by_their_intervals(verdict, p50, told, *, settled) -> None:
    found = findings(verdict, p50, Rejection.of(P99, 0.06), settled=settled)
    assert found == {"P50 <= 20 ms": told, "P99 <= 50 ms": verdict}


def test_a_refused_limit_has_the_numbers_of_its_refusal() -> None:
    refused = Rejection.of(P99, 0.06)
    candidate = Candidate(
        plan=SAVED.plan, verdict=MISSED, rejection=refused, performance=performance((0.01, 0.02))
    )
    judged = Judged(candidate=candidate, performance=candidate.performance)
    other, one = findings_of(QUESTION.objective, judged)
    assert (one.rejection, one.message) == (refused, "P99 of 65 (60 to 70) ms is above 50 ms")
    assert (other.rejection, other.message) == (None, "P50 is 15 (10 to 20) ms")


def test_events_are_listed_up_to_the_first_not_survived() -> None:
    one = Survived(event="1 replica gone", plan=SAVED.plan, performance=performance((0.01, 0.02)))
    assert findings(MET, (0.01, 0.02), None, survived=(one,)) == {
        "P50 <= 20 ms": MET, "P99 <= 50 ms": MET, "with 1 replica gone": MET
    }  # fmt: skip
    broken = Rejection(reason=Reason.SURVIVAL, allowed=0.05, needed=0.06, limit=P99, event="2 replicas gone")
    assert findings(MISSED, (0.01, 0.03), broken, survived=(one,)) == {
        "P50 <= 20 ms": MET, "P99 <= 50 ms": MET, "with 1 replica gone": MET, "with 2 replicas gone": MISSED
    }  # fmt: skip
    unstable = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.25)
    assert findings(MISSED, (0.01, 0.02), unstable)["the plan"] is MISSED
    refused = Candidate(plan=SAVED.plan, verdict=MISSED, rejection=Rejection.of(P99, 0.06))
    assert [one.name for one in findings_of(QUESTION, Judged(candidate=refused))] == ["the plan"]


def test_a_verdict_in_words() -> None:
    assert verdict_of([]) is MET
    assert [holds(verdict, meets_limits=False) for verdict in (MET, MISSED, DOUBT)] == [
        "holds", "does not hold", "is in doubt"
    ]  # fmt: skip
    assert [holds(verdict, meets_limits=True) for verdict in (MET, MISSED, DOUBT)] == [
        "holds", "holds, but more is needed now", "is in doubt"
    ]  # fmt: skip


def test_needing_more_replicas_than_planned_breaks_no_promise() -> None:
    def answer(*found: tuple[str, Verdict]) -> GateAnswer:
        return GateAnswer(
            inputs=gate_inputs(SAVED, [], None),
            findings=tuple(Finding(name=name, verdict=verdict, message="") for name, verdict in found),
            performance=None,
            survived=(),
            needed=None,
            reproduced=None,
            notes=(),
        )

    fleet = "5 replicas of resnet50 with batches up to 16 that wait up to 5 ms at 1000 rps: the plan "
    more = answer(("P99 <= 50 ms", MET), ("no more than the plan", MISSED))
    assert (more.meets_limits, more.verdict) == (True, MISSED)
    assert more.summary == f"{fleet}holds, but more is needed now"
    missed = answer(("P99 <= 50 ms", MISSED), ("no more than the plan", MISSED))
    assert (missed.meets_limits, missed.summary) == (False, f"{fleet}does not hold")


def test_a_fleet_that_was_sized_without_trouble_is_no_way_out_of_trouble() -> None:
    """The search for what is needed knows nothing of recovery."""
    needed = Recommendation(verdict=MET, objective=SAVED.question.objective, plan=SAVED.plan)

    def summary(*found: tuple[str, Verdict]) -> str:
        return GateAnswer(
            inputs=gate_inputs(SAVED, [], None),
            findings=tuple(Finding(name=name, verdict=verdict, message="") for name, verdict in found),
            performance=None,
            survived=(),
            needed=needed,
            reproduced=None,
            notes=(),
        ).summary

    size, late = ("no more than the plan", MET), ("P99 <= 50 ms", MISSED)
    assert ", but no more is needed than the plan has: 5 replicas" in summary(
        late, size, ("recovers within 1 min", MET)
    )
    for more in ((), (late,)):
        assert summary(*more, size, ("recovers within 1 min", MISSED)).endswith(": the plan does not hold")


def test_a_size_names_its_replicas_and_price() -> None:
    assert str(Size(role="a", replicas=1, hourly_usd=None)) == "1 replica"
    assert str(Size(role="a", replicas=2, hourly_usd=1.0)) == "2 replicas (1.000 USD/h)"


def profile(name: str = "resnet50", **others: Any) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=n, mean_s=0.02) for n in (1, 64))
    return ServiceProfile(name=name, timings=timings, **others)


def note(old: Any, *, is_bare: bool = True, name: str = "new") -> str:
    (told,) = gate_inputs(old, [NewProfile(profile=profile(name), is_bare=is_bare)], None).notes
    return told


def test_a_profile_of_another_kind_of_server_replaces_none() -> None:
    line = load_llm(Path(__file__).parents[1] / "kept" / "files" / "line.json")
    with pytest.raises(
        InputError, match="line is of another kind of server than resnet50, which it would replace"
    ):
        gate_inputs(SAVED, [NewProfile(profile=line, role="resnet50")], None)


def test_fields_that_a_csv_lacks_are_kept_with_a_note() -> None:
    assert note(SAVED) == "profile resnet50 is replaced by new"
    assert note(SAVED, name="resnet50") == "profile resnet50 is replaced by another with the same name"
    assert note(saved_plan(hourly_usd=0.5)) == "profile resnet50 is replaced by new; its price is kept"
    assert note(saved_plan(hourly_usd=0.5), is_bare=False) == "profile resnet50 is replaced by new"
    several = {"hourly_usd": 0.5, "request_overhead_s": 0.001, "instances_per_device": 2, "replicas": 6}
    assert note(saved_plan(**several)) == (
        "profile resnet50 is replaced by new; its price, request overhead and number of instances per device are kept"
    )


def test_a_new_rate_or_budget_replaces_the_saved_one() -> None:
    inputs = gate_inputs(SAVED, [], 1200.0, 5_000)
    assert inputs.question.workload == replace(SAVED.question.workload, arrival_rate_rps=1200.0)
    assert inputs.notes == ("the arrival rate is 1200 rps instead of 1000 rps",)
    assert inputs.effort == replace(SAVED.effort, requests_max=5_000)
    same = gate_inputs(SAVED, [], 1000.0)
    assert (same.notes, same.effort) == ((), SAVED.effort)
    (unchanged,) = gate_inputs(SAVED, [NewProfile(profile=SAVED.question.profiles[0])], None).notes
    assert unchanged == "profile resnet50 is unchanged"


def test_only_a_csv_is_bare(tmp_path: Any) -> None:
    path = tmp_path / "times.CSV"
    path.write_text("batch_size,mean_ms\n1,5\n")
    found = list(new_profiles([str(path), f"resnet50={path}", path, profile("whole")], SAVED))
    assert [(one.role, one.is_bare) for one in found] == [
        (None, True), ("resnet50", True), (None, True), (None, False)
    ]  # fmt: skip
