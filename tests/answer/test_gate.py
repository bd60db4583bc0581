"""The gate: a saved plan judged again to the digit, refused with numbers, in the forms that others read."""

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import file_document
from questions import batch_question

from capacity.answer.check import (
    Finding,
    GateAnswer,
    GateInputs,
    NewProfile,
    Size,
    gate,
    gate_inputs,
    notes_on_trouble,
    split_role,
)
from capacity.answer.documents import dumps
from capacity.answer.saved_plan import SavedPlan, read_plan_file_document
from capacity.errors import InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.question.question import Question
from capacity.question.resilience import Spike, Survival
from capacity.render.check import gate_document, github_lines, junit, markdown
from capacity.search.plan_decision import recommend, silent
from capacity.search.recommendation import Recommendation
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, Workload
from simulations.judge import SimulationJudge

EFFORT = Effort(seed=2, requests_max=3_000_000, precision=0.1)


def judge(effort: Effort = EFFORT) -> SimulationJudge:
    return SimulationJudge(seed=effort.seed, requests_max=effort.requests_max, precision=effort.precision)


def profile(name: str = "t4", times: float = 1.0, hourly_usd: float | None = 0.5) -> ServiceProfile:
    timings = tuple(
        BatchTiming(batch_size=size, mean_s=times * mean_s, p99_s=1.1 * times * mean_s)
        for size, mean_s in ((1, 0.010), (4, 0.016))
    )
    return ServiceProfile(name=name, timings=timings, hourly_usd=hourly_usd, request_overhead_s=0.001)


def question(**changes: Any) -> Question:
    asked: dict[str, Any] = {
        "profiles": (profile(),),
        "workload": Workload(arrival_rate_rps=300.0),
        "objective": Objective.of(response={0.5: 0.04, 0.99: 0.05}),
        **changes,
    }
    return batch_question(**asked)


def saved(asked: Question, name: str = "plan.json", effort: Effort = EFFORT) -> SavedPlan:
    answer = recommend(asked, judge(effort), plan_alone=True)
    document = json.loads(dumps(file_document(answer, asked, effort)))
    return read_plan_file_document(document, name)


@pytest.fixture(scope="module")
def plan() -> SavedPlan:
    return saved(question())


def checked(
    plan: SavedPlan, *new: NewProfile, rate_rps: float | None = None, baseline: SavedPlan | None = None
) -> GateAnswer:
    return gate(plan, gate_inputs(plan, new, rate_rps), baseline, judge(plan.effort), silent)


def by_name(answer: GateAnswer) -> dict[str, Finding]:
    return {finding.name: finding for finding in answer.findings}


@pytest.mark.parametrize(
    "asked",
    [
        question(),
        question(survival=Survival(spare=1, spike=Spike(factor=1.2, startup_time_s=20.0))),
        question(profiles=(profile("a", 1.3, 0.3), profile("b")), batch_waits_s=(0.0, 0.002)),
        question(batching=Batching.TORCHSERVE, batch_waits_s=(0.002,), queue_limit=40),
        question(workload=ClosedPopulation(users=20, think_time_s=0.05)),
    ],
    ids=["plain", "survival", "two profiles", "open timer", "users"],
)
def test_a_saved_plan_is_judged_again_to_the_last_digit(asked: Question) -> None:
    answer = checked(saved(asked))
    assert answer.reproduced is True
    assert answer.verdict is Verdict.MET
    assert answer.needed is None
    assert len(answer.findings) == 2 + len(answer.survived)


def test_a_later_certificate_is_judged_again_to_the_last_digit(plan: SavedPlan) -> None:
    """The second or third certificate of a command is stricter, and may look for longer."""
    certificate = plan.certificate
    first = 20 * certificate.requests_first
    trial = judge().certify(plan.question.scenario(plan.plan), 5, first)
    assert trial.performance is not None
    later = replace(plan, certificate=replace(certificate, attempt=5, requests_first=first))
    assert checked(later).performance == trial.performance
    assert checked(later).reproduced is False


def test_an_edited_answer_or_other_versions_are_told(plan: SavedPlan) -> None:
    edited = replace(plan, answer={**plan.answer, "performance": {"kind": "exact"}})
    assert any("differs from the saved one in its last digits" in note for note in checked(edited).notes)
    older = replace(plan, versions={**plan.versions, "numpy": "1.0"})
    assert any("numpy 1.0 then and" in note for note in checked(older).notes)
    assert not any("digit" in note for note in checked(plan).notes)


def test_pauses_that_a_plan_was_made_for_are_not_judged_again(plan: SavedPlan) -> None:
    asks = "pauses, breakdowns and classes of requests were not judged again; plan again to have them judged"
    assert list(notes_on_trouble({**plan.answer, "disturbed": {"availability": 0.99}}, None)) == [asks]
    assert list(notes_on_trouble(plan.answer, None)) == []


def test_another_budget_need_not_give_the_same_digits(plan: SavedPlan) -> None:
    inputs = gate_inputs(plan, [], None, 2_000_000)
    assert inputs.effort == replace(plan.effort, requests_max=2_000_000)
    answer = gate(plan, inputs, None, judge(inputs.effort), silent)
    assert (answer.reproduced, answer.needed) == (None, None)


def test_what_was_outlived_is_part_of_what_is_reproduced() -> None:
    plan = saved(question(survival=Survival(spare=1)))
    assert len(plan.answer["survived"]) == 1
    assert checked(replace(plan, answer={**plan.answer, "survived": []})).reproduced is False


def test_a_slower_model_breaks_the_promise_with_numbers(plan: SavedPlan) -> None:
    answer = checked(plan, NewProfile(profile=profile(times=2.0)))
    assert answer.verdict is Verdict.MISSED
    findings = by_name(answer)
    size = findings["no more than the plan"]
    assert size.verdict is Verdict.MISSED
    needed, have = answer.needed.plan.replicas, plan.plan.replicas
    assert needed > have
    assert answer.summary.endswith(
        f": the plan does not hold; {needed} replicas of t4 with batches up to {answer.needed.plan.batch_size_max} would"
    )
    assert f"needs {needed} replicas" in size.message
    assert f"the plan has {have} replica" in size.message
    (refused,) = [f for f in answer.findings if f.rejection is not None and f is not size]
    assert refused.verdict is Verdict.MISSED
    assert refused.rejection.needed > refused.rejection.allowed


def test_a_faster_model_passes_and_fewer_do(plan: SavedPlan) -> None:
    answer = checked(plan, NewProfile(profile=profile(times=0.5)))
    assert answer.verdict is Verdict.MET
    assert answer.needed.plan.replicas <= plan.plan.replicas
    assert any("profile t4 is replaced by another with the same name" in note for note in answer.notes)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (replace(profile(), timings=profile().timings[:1]), "measured up to batch size 1 only"),
        (profile(times=20.0), "no batch is served within"),
        (profile(times=3.5), "unstable: load"),
    ],
    ids=["range", "floor", "load"],
)
def test_what_theory_refuses_is_refused_at_once(plan: SavedPlan, new: ServiceProfile, message: str) -> None:
    assert plan.plan.batch_size_max > 1
    answer = checked(plan, NewProfile(profile=new))
    assert answer.verdict is Verdict.MISSED
    assert message in answer.findings[0].message
    assert answer.performance is None


def test_a_higher_rate_needs_more(plan: SavedPlan) -> None:
    answer = checked(plan, rate_rps=3000.0)
    assert answer.verdict is Verdict.MISSED
    assert answer.inputs.question.workload == Workload(arrival_rate_rps=3000.0)
    assert "the arrival rate is 3000 rps instead of 300 rps" in answer.notes
    assert checked(plan, rate_rps=300.0).needed is None


def test_a_loss_that_is_no_longer_outlived_is_named() -> None:
    asked = question(survival=Survival(spare=1))
    plan = saved(asked)
    answer = checked(plan, rate_rps=251.0 * (plan.plan.replicas - 1))
    (finding,) = [f for f in answer.findings if f.rejection is not None and f.name != "no more than the plan"]
    assert finding.name == "with 1 replica gone"
    assert finding.message.startswith("with 1 replica gone, unstable: load")


def test_a_budget_that_cannot_decide_is_in_doubt(plan: SavedPlan) -> None:
    poor = replace(plan, effort=replace(plan.effort, requests_max=1000))
    answer = checked(poor)
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert "undecided within the budget of 1000" in answer.findings[-1].message


def test_more_than_the_baseline_is_refused(plan: SavedPlan) -> None:
    more = replace(plan, recommendation_plan=replace(plan.plan, replicas=plan.plan.replicas + 3))
    answer = checked(more, baseline=plan)
    assert answer.verdict is Verdict.MISSED
    size = by_name(answer)["no more than the baseline"]
    assert size.message == f"needs {Size(role='t4', replicas=plan.plan.replicas + 3, hourly_usd=more.hourly_usd)}, " \
        f"the baseline has {Size(role='t4', replicas=plan.plan.replicas, hourly_usd=plan.hourly_usd)}"  # fmt: skip
    assert checked(plan, baseline=plan).verdict is Verdict.MET
    assert not any("is for a different workload" in note for note in checked(plan, baseline=plan).notes)
    other = replace(plan, name="old.json", question=question(workload=Workload(arrival_rate_rps=299.0)))
    assert (
        "the baseline old.json is for a different workload or objective"
        in checked(plan, baseline=other).notes
    )
    assert checked(plan, baseline=more).verdict is Verdict.MET


def test_a_baseline_takes_the_plans_place(plan: SavedPlan) -> None:
    """Twice as slow takes more than the plan has, and no more than a generous baseline has; the promise is broken."""
    generous = replace(plan, recommendation_plan=replace(plan.plan, replicas=50))
    answer = checked(plan, NewProfile(profile=profile(times=2.0)), baseline=generous)
    assert by_name(answer)["no more than the baseline"].verdict is Verdict.MET
    assert answer.verdict is Verdict.MISSED
    assert "does not hold, but no more is needed than the baseline has: " in answer.summary
    assert answer.summary.endswith(" would do")


def test_a_plan_that_breaks_where_as_many_would_do_says_so(plan: SavedPlan) -> None:
    """A batch that waits for 45 of the 50 ms is served too late; sooner started, as many replicas do."""
    patient = replace(plan.plan, batch_size_max=4, batch_wait_max_s=0.045)
    answer = checked(replace(plan, recommendation_plan=patient), rate_rps=299.0)
    assert by_name(answer)["no more than the plan"].verdict is Verdict.MET
    assert ": the plan does not hold, but no more is needed than the plan has: " in answer.summary


@pytest.mark.parametrize(
    ("one", "other", "exceeds"),
    [
        (Size(role="a", replicas=4, hourly_usd=None), Size(role="a", replicas=4, hourly_usd=None), False),
        (Size(role="a", replicas=5, hourly_usd=None), Size(role="b", replicas=4, hourly_usd=1.0), True),
        (Size(role="a", replicas=4, hourly_usd=1.1), Size(role="a", replicas=4, hourly_usd=1.0), True),
        (Size(role="a", replicas=4, hourly_usd=1.0 + 1e-12), Size(role="a", replicas=4, hourly_usd=1.0), False),
        (Size(role="a", replicas=9, hourly_usd=0.9), Size(role="b", replicas=4, hourly_usd=1.0), False),
        (Size(role="a", replicas=9, hourly_usd=0.9), Size(role="a", replicas=4, hourly_usd=1.0), True),
        (Size(role="a", replicas=1, hourly_usd=2.0), Size(role="b", replicas=4, hourly_usd=1.0), True),
    ],
    ids=range(7),
)  # fmt: skip
def test_what_is_more(one: Size, other: Size, exceeds: bool) -> None:
    assert one.exceeds(other) is exceeds


def without_answer(*profiles: ServiceProfile) -> SavedPlan:
    asked = question(profiles=profiles)
    answer = Recommendation(
        verdict=Verdict.MET,
        objective=asked.objective,
        plan=BatchPlan(profile=profiles[-1].name, replicas=3, batch_size_max=4),
    )
    return read_plan_file_document(json.loads(dumps(file_document(answer, asked, EFFORT))), "plan.json")


def test_a_profile_takes_the_role_of_its_name_or_the_only_one() -> None:
    one, two = without_answer(profile("a")), without_answer(profile("a"), profile("b"))
    inputs = gate_inputs(one, [NewProfile(profile=profile("new", 2.0))], None)
    assert inputs.plan.profile == "new"
    assert inputs.role("new") == "a"
    assert "profile a is replaced by new" in inputs.notes
    inputs = gate_inputs(two, [NewProfile(profile=profile("b", 2.0))], None)
    assert inputs.question.profiles == (profile("a"), profile("b", 2.0))
    assert inputs.plan.profile == "b"
    inputs = gate_inputs(two, [NewProfile(profile=profile("new"), role="a")], None)
    assert [p.name for p in inputs.question.profiles] == ["new", "b"]
    assert inputs.plan.profile == "b"
    with pytest.raises(
        InputError, match=r"--profile c is not one of the profiles of plan.json \(a, b\); say which"
    ):
        gate_inputs(two, [NewProfile(profile=profile("c"))], None)
    with pytest.raises(InputError, match="two profiles replace a; give one --profile for each"):
        gate_inputs(one, [NewProfile(profile=profile("x")), NewProfile(profile=profile("y"))], None)
    with pytest.raises(InputError, match="profile b is given twice"):
        gate_inputs(two, [NewProfile(profile=profile("b"), role="a")], None)


def test_a_csv_keeps_what_it_cannot_say() -> None:
    old = replace(
        profile("a"),
        wake_s=0.001,
        instances_per_device=2,
        memory_bytes=7,
        batch_work_s=0.0002,
        request_work_s=0.0001,
    )
    bare = ServiceProfile(name="csv", timings=profile().timings)
    kept = gate_inputs(without_answer(old), [NewProfile(profile=bare, is_bare=True)], None)
    assert kept.question.profiles == (replace(old, name="csv"),)
    told = (
        "its price, work for each batch, work for each request, wake time, request overhead and number of "
        "instances per device are kept"
    )
    assert kept.notes == (f"profile a is replaced by csv; {told}",)
    plain = replace(profile("a", hourly_usd=None), request_overhead_s=0.0)
    assert gate_inputs(without_answer(plain), [NewProfile(profile=bare, is_bare=True)], None).notes == (
        "profile a is replaced by csv",
    )
    full = gate_inputs(without_answer(old), [NewProfile(profile=bare)], None)
    assert full.question.profiles == (replace(bare, hourly_usd=old.hourly_usd),)
    priced = [NewProfile(profile=replace(bare, hourly_usd=0.7), is_bare=True)]
    assert gate_inputs(without_answer(old), priced, None).question.profiles[0].hourly_usd == 0.7


def test_a_role_is_split_off_only_where_a_profile_has_that_name() -> None:
    plan = without_answer(profile("a"))
    assert split_role("a=x=y.csv", plan) == ("a", "x=y.csv")
    assert split_role("b=x.csv", plan) == (None, "b=x.csv")
    assert split_role("x.csv", plan) == (None, "x.csv")


def test_users_have_no_rate() -> None:
    plan = replace(without_answer(profile()), question=question(workload=ClosedPopulation(users=3)))
    with pytest.raises(InputError, match="plan.json is for 3 users, not for a rate"):
        gate_inputs(plan, [], 5.0)


ANY_TEXT = st.text(max_size=30)


def answer_of(*findings: Finding, notes: tuple[str, ...] = ()) -> GateAnswer:
    inputs = GateInputs(
        question=question(),
        plan=BatchPlan(profile="t4", replicas=2, batch_size_max=4),
        effort=EFFORT,
        replaced={},
        notes=(),
    )
    return GateAnswer(
        inputs=inputs,
        findings=findings,
        performance=None,
        survived=(),
        needed=None,
        reproduced=None,
        notes=notes,
    )


def test_the_worst_finding_decides() -> None:
    met, missed, doubt = (Finding(name="x", verdict=verdict, message="") for verdict in Verdict)
    assert answer_of(met).verdict is Verdict.MET
    assert answer_of(met, doubt).verdict is Verdict.INCONCLUSIVE
    assert answer_of(doubt, missed, met).verdict is Verdict.MISSED


def test_github_commands_are_escaped() -> None:
    finding = Finding(name="a,b:c%\n", verdict=Verdict.MISSED, message="50%, x: y\r\n::error::z")
    *commands, last = github_lines(answer_of(finding, notes=("n\n1",)))
    assert commands == [
        "::error title=capacity%3A a%2Cb%3Ac%25%0A::50%25, x: y%0D%0A::error::z",
        "::notice title=capacity%3A note::n%0A1",
    ]
    assert last == answer_of(finding).summary


def test_each_verdict_has_its_command() -> None:
    findings = [Finding(name="x", verdict=verdict, message="m") for verdict in Verdict]
    names = [line.split(" ")[0] for line in github_lines(answer_of(*findings))][:3]
    assert dict(zip(Verdict, names, strict=True)) == {
        Verdict.MET: "::notice",
        Verdict.MISSED: "::error",
        Verdict.INCONCLUSIVE: "::warning",
    }


@settings(derandomize=True, deadline=None, max_examples=200)
@given(ANY_TEXT, ANY_TEXT, st.sampled_from(list(Verdict)), ANY_TEXT)
def test_no_text_breaks_a_form(name: str, message: str, verdict: Verdict, file: str) -> None:
    answer = answer_of(Finding(name=name, verdict=verdict, message=message), notes=(message,))
    suites = ElementTree.fromstring(junit(answer, file))
    assert [case.tag for case in suites.iter("testcase")] == ["testcase"]
    assert len(list(suites.iter("failure"))) == int(suites.attrib["failures"]) == (verdict is Verdict.MISSED)
    assert (
        len(list(suites.iter("error"))) == int(suites.attrib["errors"]) == (verdict is Verdict.INCONCLUSIVE)
    )
    lines = list(github_lines(answer))
    assert len(lines) == 3
    assert not any(set(line) & set("\r\n") for line in lines)
    rows = [line for line in markdown(answer).split("\n") if line.startswith("|")]
    assert len(rows) == 3
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 4 for row in rows)
    assert "<" not in rows[2]
    json.loads(dumps(gate_document(answer, seed=0, confidence=0.95)))


def test_the_document_has_all_that_was_found(plan: SavedPlan) -> None:
    answer = checked(plan, NewProfile(profile=profile("new", 2.0)))
    document = json.loads(dumps(gate_document(answer, seed=2, confidence=0.95)))
    assert (document["verdict"], document["exit_code"]) == ("missed", 3)
    assert document["replaced"] == {"t4": "new"}
    assert document["plan"]["profile"] == "new"
    assert document["needed"]["recommendation"]["replicas"] > plan.plan.replicas
    assert {finding["name"] for finding in document["findings"]} >= {"no more than the plan"}


def test_a_plan_that_keeps_its_promise_and_needs_more_than_its_baseline_is_told_so() -> None:
    met = Finding(name="P99 <= 40 ms", verdict=Verdict.MET, message="kept")
    more = Finding(name="no more than the baseline", verdict=Verdict.MISSED, message="needs 6, it has 4")
    broken = replace(met, verdict=Verdict.MISSED)
    for findings, kept in (((met, more), True), ((broken, more), False), ((broken,), False), ((met,), True)):
        anything: Any = None  # what is not looked at
        answer = GateAnswer(
            inputs=anything,
            findings=findings,
            performance=None,
            survived=(),
            needed=None,
            reproduced=None,
            notes=(),
        )
        assert answer.meets_limits is kept
