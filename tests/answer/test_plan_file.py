"""Saved plans: what was asked comes back as it was, and what was edited since is refused with its mend."""

import copy
import json
import math
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import file_document
from questions import batch_question, varied

from capacity.answer import saved_batches, saved_parts
from capacity.answer.documents import dumps
from capacity.answer.saved_batches import PlanDocument, QuestionDocument, question_to_document
from capacity.answer.saved_parts import read_workload_document, workload_to_document
from capacity.answer.saved_plan import (
    check_plan_target,
    read_plan_file,
    read_plan_file_document,
    signature,
    write_plan_file,
)
from capacity.errors import DependencyError, InputError
from capacity.files import FILE_BYTES_MAX, located
from capacity.json_text import parse_object, read_as
from capacity.performance import Interval, Kind, Performance
from capacity.profile.contention import measured
from capacity.profile.formats import digest, parse_csv, parse_json, profile_to_document
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.question.question import Question
from capacity.question.resilience import Breakdowns, Spike, Survival
from capacity.search.recommendation import Certificate, Recommendation
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.space import BatchSpace
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    ModulatedArrivals,
    PoissonArrivals,
    SplitArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
)

laws_hold = settings(derandomize=True, deadline=None, max_examples=150)
WHOLE = ServiceProfile(
    name="t4",
    model="m",
    device="d",
    kind="gpu",
    precision="fp16",
    runtime="r",
    batch_work_s=0.0002,
    spells=Spells(share=0.5, lasting_s=0.1),
    request_work_s=0.0001,
    wake_s=0.0003,
    request_overhead_s=0.001,
    instances_per_device=2,
    contention=measured([1.0, 1.46]),
    hourly_usd=0.5,
    memory_bytes=7,
    source={"file": "a\u00e9 \"'<&"},
    timings_column="latency_ms",
    path="measured/t4.csv",
    timings=(
        BatchTiming(batch_size=1, samples_s=(0.01, 0.1 + 0.2, 0.02)),
        BatchTiming(batch_size=4, mean_s=0.4, p50_s=0.3, p90_s=0.5, p95_s=0.6, p99_s=0.7),
    ),
)
BREAKDOWNS = Survival(breakdowns=Breakdowns(mtbf_s=1e6, recovery_s=60.0))
QUESTION = batch_question(
    profiles=(WHOLE,), workload=Workload(arrival_rate_rps=1.0), objective=Objective.of(response={0.99: 2.0})
)
PLAN = BatchPlan(profile="t4", replicas=2, batch_size_max=4)
ANSWER = Recommendation(
    verdict=Verdict.MET,
    objective=QUESTION.objective,
    plan=PLAN,
    performance=Performance(
        kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval(value=1.0, low=0.9, high=1.1)}
    ),
    hourly_usd=0.5,
    certificate=Certificate(attempt=3, requests_first=123),
)
TRACE = TraceArrivals(instants_s=tuple(0.1 * number for number in range(50)), name="log.csv")


def durations() -> st.SearchStrategy[float]:
    return st.floats(1e-6, 1e3)


def shares() -> st.SearchStrategy[float]:
    return st.floats(1e-6, 1.0, exclude_max=True)


@st.composite
def objectives(draw: st.DrawFn, *, with_loss: bool) -> Objective:
    def limits() -> dict[float, float]:
        quantiles = sorted(draw(st.sets(shares(), max_size=3)))
        return dict(zip(quantiles, sorted(draw(durations()) for _ in quantiles), strict=True))

    return Objective.of(
        response=limits(),
        wait=limits(),
        response_mean=draw(st.none() | durations()),
        loss=draw(shares()) if with_loss else None,
        utilization=draw(shares()),
    )


def demands() -> st.SearchStrategy[Any]:
    mean_s = st.floats(10.0, 1e6)  # so that phases hold arrivals at any rate
    instants = st.lists(st.floats(0.0, 1e6), min_size=2, max_size=9, unique=True).map(sorted).map(tuple)
    arrivals = (
        st.sampled_from([PoissonArrivals(), DeterministicArrivals()])
        | st.builds(GammaArrivals, cv=st.floats(0.01, 20.0))
        | st.builds(MmppArrivals, ratio=st.floats(1.1, 1e3), burst_mean_s=mean_s, calm_mean_s=mean_s)
        | st.builds(TraceArrivals, instants_s=instants, name=st.sampled_from(["t", "a b.csv"]))
    )
    return st.builds(Workload, arrival_rate_rps=st.floats(1e-3, 1e9), arrivals=arrivals) | st.builds(
        ClosedPopulation, users=st.integers(1, 10**20), think_time_s=st.floats(1e-6, 1e3)
    )


@st.composite
def questions(draw: st.DrawFn) -> Question:
    workload = draw(demands())
    queue_limit = draw(st.none() | st.integers(0, 10**30))
    profiles = [replace(draw(cases.profiles()), name=name, hourly_usd=draw(durations())) for name in "ab"]
    batching = draw(st.sampled_from(list(Batching)))
    routings = draw(st.sets(st.sampled_from(PLAIN_ROUTINGS), min_size=1))
    if batching is Batching.RAY_SERVE:
        routings = routings - {Routing.SHARED_QUEUE} or {Routing.RANDOM}
    preferred = draw(st.sampled_from([(), (1,)])) if batching is Batching.TRITON else ()
    spike = st.builds(Spike, factor=st.floats(1.0, 100.0, exclude_min=True), startup_time_s=durations())
    return batch_question(
        profiles=tuple(profiles[: draw(st.integers(1, 2))]),
        workload=workload,
        objective=draw(objectives(with_loss=queue_limit is not None)),
        batch_size_limit=draw(st.none() | st.integers(1, 10**20)),
        batch_waits_s=draw(st.none() | st.lists(st.floats(0.0, 1.0), min_size=1, max_size=3).map(tuple)),
        routings=tuple(routings),
        batching=batching,
        preferred_sizes=preferred,
        queue_limit=queue_limit,
        replicas_max=draw(st.integers(1, 1_000_000)),
        survival=Survival(
            spare=draw(st.integers(0, 5)),
            zones=draw(st.none() | st.integers(2, 9)),
            unavailable_share=draw(st.none() | shares()),
            spike=draw(st.none() | spike),
        ),
    )


def saved(question: Question = QUESTION, answer: Recommendation = ANSWER) -> dict[str, Any]:
    """What a file holds, through JSON."""
    return json.loads(dumps(file_document(answer, question, Effort(seed=5, precision=0.1))))


def refusal(call: Callable[[], object]) -> str:
    """The message of an input error; safe on a terminal and of limited length."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1200
    return message


@laws_hold
@given(questions())
def test_a_question_comes_back_as_it_was(question: Question) -> None:
    text = dumps(question_to_document(question))
    document = parse_object(text, "q", "")
    del document["schema_version"]
    again = read_as(QuestionDocument, document, "question").question(None)
    assert again == question
    assert dumps(question_to_document(again)) == text


@laws_hold
@given(st.integers(0, 10**40), st.floats(0.5, 0.99), st.floats(0.001, 0.5), st.integers(1, 10**30))
def test_an_effort_comes_back_as_it_was(seed: int, confidence: float, precision: float, most: int) -> None:
    effort = Effort(
        seed=seed, confidence=confidence, precision=precision, requests_max=most, engine="simpy", workers=3
    )
    document = json.loads(dumps(file_document(ANSWER, QUESTION, effort)))
    assert read_plan_file_document(document, "x").effort == replace(effort, workers=None)


def test_a_plan_comes_back_with_all_it_was_made_from(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write_plan_file(tmp_path / name, file_document(ANSWER, QUESTION, Effort(seed=5)))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]
    found = read_plan_file(tmp_path / "a.json")
    assert found.question == QUESTION
    assert found.plan == PLAN
    assert found.certificate == Certificate(attempt=3, requests_first=123)
    assert found.effort == Effort(seed=5)
    assert found.verdict is Verdict.MET
    assert found.hourly_usd == 0.5
    assert found.answer["performance"]["response_quantiles_s"]["0.99"]["high"] == 1.1
    assert found.versions_changed == {}


def test_every_field_of_a_profile_is_saved() -> None:
    """A field that is new tomorrow must be in `WHOLE`, and so in what is saved and read."""
    unset = [f.name for f in fields(ServiceProfile) if f.init and getattr(WHOLE, f.name) in (None, {}, 0.0)]
    assert unset == []
    document = profile_to_document(WHOLE)
    names = {field.name for field in fields(ServiceProfile) if field.init}
    assert set(document) == names - {"contention", "spells", "path"} | {
        "contention_slowdowns",
        "spell_share",
        "spell_lasting_s",
    }
    found = read_as(QuestionDocument, question_to_document(QUESTION), "question")
    assert found.question(None).profiles == (WHOLE,)
    assert found.question(None).profiles[0].path == WHOLE.path  # beside the profile, of which it is no part


def test_every_field_of_what_was_asked_is_saved() -> None:
    """A field or an arrival process that is new tomorrow must be saved too."""

    def names(noun: type) -> set[str]:
        return {field.name for field in fields(noun)}

    document = saved()
    asked = (names(Question) | names(BatchSpace) | {"timer"}) - {"space"}
    only_where_set = {"replicas_min", "batch_size_min", "outstanding_max"}
    assert set(document["question"]) == asked - only_where_set
    limited = question_to_document(varied(QUESTION, replicas_min=2, batch_size_min=2, survival=BREAKDOWNS))
    assert set(limited) == asked - {"outstanding_max"}
    alone = replace(WHOLE, instances_per_device=1)
    held_back = varied(QUESTION, profiles=(alone,), outstanding_max=200)
    assert question_to_document(held_back)["outstanding_max"] == 200
    assert set(limited["survival"]) == names(Survival)
    assert read_as(QuestionDocument, limited, "question").question(None).replicas_min == 2
    assert read_as(QuestionDocument, limited, "question").question(None).survival == BREAKDOWNS
    assert set(document["question"]["survival"]) == names(Survival) - {"breakdowns"}
    assert set(document["effort"]) == names(Effort) - {"workers", "cluster"}
    assert set(document["certificate"]) == names(Certificate)
    assert names(QuestionDocument) == asked
    assert names(PlanDocument) == names(BatchPlan) | {"timer"}
    seen_by_a_replica = {SurgingArrivals, ModulatedArrivals, SplitArrivals}  # never asked for
    known = {*saved_parts._PROCESSES.values(), TraceArrivals, *seen_by_a_replica}
    assert set(get_args(ArrivalProcess)) == known


@pytest.mark.parametrize(("timer", "batching"), [("oldest", Batching.TRITON), ("open", Batching.TORCHSERVE)])
def test_a_plan_from_before_there_were_batching_rules_has_the_rule_of_its_timer(timer, batching) -> None:
    document = saved()
    plan = document["answer"]["recommendation"]
    for part in (document["question"], plan):
        for name in ("timer", "batching", "preferred_sizes"):
            part.pop(name, None)
    document["question"]["timer"] = timer
    if timer == "open":
        plan["timer"] = timer
    document["sha256"] = signature(document)
    found = read_plan_file_document(document, "x")
    assert (found.question.space.batching, found.plan.batching) == (batching, batching)


def test_fields_missing_from_a_saved_plan_have_defaults() -> None:
    """The smallest fleet and batch that were allowed, and what a plan has beside its fleet."""
    document = saved()
    assert not {"replicas_min", "batch_size_min"} & set(document["question"])
    asked = read_as(QuestionDocument, document["question"], "question").question(None)
    assert (asked.replicas_min, asked.space.batch_size_min) == (1, 1)
    least = PlanDocument(profile="t4", replicas=2, batch_size_max=8).plan()
    assert least == BatchPlan(profile="t4", replicas=2, batch_size_max=8)


def test_other_versions_are_told() -> None:
    document = saved()
    document["versions"]["numpy"] = "0.9"
    (changed,) = read_plan_file_document(document, "x").versions_changed.items()
    assert changed[0] == "numpy"
    assert changed[1][0] == "0.9"


def test_an_answer_without_a_plan_is_saved_and_has_none() -> None:
    answer = Recommendation(verdict=Verdict.MISSED, objective=QUESTION.objective)
    found = read_plan_file_document(saved(answer=answer), "old.json")
    assert found.recommendation_plan is None
    assert found.verdict is Verdict.MISSED
    assert "old.json holds no plan: its verdict is missed" in refusal(lambda: found.plan)


def traced(monkeypatch: pytest.MonkeyPatch, limit: int) -> dict[str, Any]:
    monkeypatch.setattr(saved_parts, "INSTANTS_MAX", limit)
    return saved(replace(QUESTION, workload=Workload(arrival_rate_rps=2.0, arrivals=TRACE)))


def test_a_short_trace_is_kept_and_a_long_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = traced(monkeypatch, 50)
    assert read_plan_file_document(kept, "x").question.workload.arrivals == TRACE
    assert not saved_parts.is_named_only(read_plan_file_document(kept, "x").question.workload)
    named = traced(monkeypatch, 49)
    arrivals = named["question"]["workload"]["arrivals"]
    assert (arrivals["instants_s"], arrivals["instants"], arrivals["name"]) == (None, 50, "log.csv")
    renamed = replace(TRACE, name="moved.csv")
    assert read_plan_file_document(named, "x", renamed).question.workload.arrivals == TRACE
    assert "give it again by --arrivals trace:log.csv" in refusal(lambda: read_plan_file_document(named, "x"))
    assert saved_parts.is_named_only(read_plan_file_document(named, "x", renamed).question.workload)
    other = replace(TRACE, instants_s=(*TRACE.instants_s[:-1], 5.1))
    message = refusal(lambda: read_plan_file_document(named, "x", other))
    assert "--arrivals trace:log.csv is not the trace of the plan, which has 50 arrivals" in message


def test_a_trace_that_was_edited_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    document = traced(monkeypatch, 50)
    document["question"]["workload"]["arrivals"]["instants_s"][7] += 1e-9
    message = refusal(lambda: read_plan_file_document(document, "x"))
    assert "arrivals was edited after the plan was made" in message


def test_only_steady_arrivals_are_saved() -> None:
    surging = SurgingArrivals(base=PoissonArrivals(), before=10, factor=2.0)
    asked = replace(QUESTION, workload=Workload(arrival_rate_rps=2.0, arrivals=surging))
    assert refusal(lambda: saved(asked)) == (
        "a plan under SurgingArrivals cannot be saved; plan for steady arrivals"
    )


def test_a_saved_plan_has_at_most_a_thousand_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    document = saved()
    (one,) = document["question"]["profiles"]
    assert saved_batches.PROFILES_MAX == 1000
    monkeypatch.setattr(saved_batches, "PROFILES_MAX", 1)
    assert read_plan_file_document(document, "x").question.profiles
    document["question"]["profiles"] = [one, one]
    message = refusal(lambda: read_plan_file_document(signed_again(document), "x"))
    assert message.endswith("question.profiles has more than 1 profiles")


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        here: Any = document
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = value

    return edit


def drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        here = document
        for key in path[:-1]:
            here = here[key]
        del here[path[-1]]

    return edit


PROFILE = ("question", "profiles", 0, "profile")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("format", value="capacity-sweep"), "not a saved plan (its format is not capacity-plan)"),
        (put("schema_version", value=2), "schema_version must be 1"),
        (put("schema_version", value=True), "schema_version must be 1"),
        (put("extra", value=1), "the file has an unknown key 'extra'; known keys are answer, certificate"),
        (put("question", "x\x1b[31m", value=1), "question has an unknown key 'x?[31m'"),
        (drop("effort"), "the file has no key effort"),
        (drop("question", "workload"), "question has no key workload"),
        (put("question", value=[]), "question must be an object, got a list"),
        (put(*PROFILE, "hourly_usd", value=0.4), "profiles[0] of t4 was edited after the plan was made"),
        (put(*PROFILE, "timings", 1, "mean_s", value=0.41), "was edited after the plan was made"),
        (put(*PROFILE, "timings", 1, "mean_s", value="4"), "mean_s must be a number"),
        (put(*PROFILE, "name", value="../x"), "may contain only letters, digits"),
        (put("question", "profiles", 0, "sha256", value=5), "profiles[0].sha256 must be a text"),
        (put("question", "profiles", value=[]), "a question needs at least one profile"),
        (put("question", "workload", "arrival_rate_rps", value=-1), "arrival rate must be positive"),
        (
            put("question", "workload", "arrival_rate_rps", value="1"),
            "workload.arrival_rate_rps must be a number, got '1'",
        ),
        (put("question", "workload", "arrival_rate_rps", value=True), "must be a number, got True"),
        (put("question", "workload", "arrivals", "kind", value="mmpp9"), "arrivals.kind must be one of"),
        (put("question", "workload", "arrivals", "cv", value=2), "unknown key 'cv'"),
        (put("question", "objective", value={}), "no objective given"),
        (
            put("question", "objective", "response_quantiles_s", "P99", value=1),
            "response_quantiles_s: each key must be a number, got 'P99'",
        ),
        (
            put("question", "objective", "response_quantiles_s", "nan", value=1),
            "response_quantiles_s: each key must be a finite number, got 'nan'",
        ),
        (put("question", "routings", 0, value="rr"), "question.routings[0] must be one of round-robin, random"),
        (put("question", "batch_waits_s", value=[-1.0]), "must not be negative"),
        (put("question", "replicas_max", value=1.5), "question.replicas_max must be a whole number, got 1.5"),
        (put("question", "survival", "zones", value=1), "zones must be 2 or more"),
        (put("effort", "seed", value=-1), "--seed must be >= 0"),
        (put("effort", "engine", value="ns3"), "effort.engine must be one of kernel, simpy, got 'ns3'"),
        (put("certificate", "attempt", value=0), "a certificate has a number from 1 to 1000000"),
        (put("certificate", "attempt", value=10**30), "a certificate has a number from 1 to 1000000"),
        (put("answer", "verdict", value="fine"), "answer.verdict must be one of met"),
        (put("answer", "recommendation", "profile", value="a100"), "'a100' is none of the question's (t4)"),
        (put("answer", "recommendation", "routing", value="random"), "that was not asked for"),
        (put("answer", "recommendation", "replicas", value=0), "replicas must be from 1"),
        (put("versions", "numpy", value="1\n2"), "versions.numpy must be a text of one line, 500 characters"),
    ],
    ids=range(35),
)  # fmt: skip
def test_what_was_edited_is_refused_with_its_place(tmp_path, edit, message) -> None:
    document = copy.deepcopy(saved())
    edit(document)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    found = refusal(lambda: read_plan_file(path))
    assert found.startswith("plan.json: ")
    assert message in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "plan.json is not a saved plan; capacity plan ... -o plan.json makes one"),
        ("[]", "plan.json is not a saved plan; capacity plan"),
        ('{"format": 1, "format": 2}', "key 'format' appears twice in one object; keep one"),
        ('{"format": NaN}', "NaN is not a number"),
        ("[" * 100_000, "plan.json is not a saved plan; capacity plan"),
        ("{" * 100_000, "not valid JSON"),
        ('{"a": ' + "9" * 5000 + "}", "a number is too long"),
        ("{}", "not a saved plan"),
    ],
    ids=range(8),
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text, encoding="utf-8")
    assert message in refusal(lambda: read_plan_file(path))


def test_numbers_beyond_all_bounds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    text = json.dumps(saved()).replace('"arrival_rate_rps": 1.0', '"arrival_rate_rps": 1e999')
    path.write_text(text, encoding="utf-8")
    assert "arrival_rate_rps is too large" in refusal(lambda: read_plan_file(path))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "cannot read gone.json" in refusal(lambda: read_plan_file(tmp_path / "gone.json"))
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    assert "huge.json is larger than" in refusal(lambda: read_plan_file(tmp_path / "huge.json"))


def test_paths_that_cannot_be_written_are_refused_early(tmp_path: Path) -> None:
    (tmp_path / "d.json").mkdir()
    for name, message in (
        ("plan.txt", "a saved plan is a .json file"),
        ("gone/plan.json", "no such directory"),
        ("d.json", "it is a directory"),
        ("a\0.json", "not a valid path"),
    ):
        assert message in refusal(lambda path=tmp_path / name: check_plan_target(path, QUESTION))


def test_profiles_too_long_to_be_read_again_are_refused_early(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("capacity.answer.saved_batches.FILE_BYTES_MAX", 8 * 2**20 + 100)
    assert "keep fewer samples" in refusal(lambda: check_plan_target(tmp_path / "p.json", QUESTION))


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path) -> None:
    """A file may have 100 bytes: the write fails in its middle, as on a full disk."""
    path = tmp_path / "plan.json"
    path.write_text("before", encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(
            DependencyError, match="cannot write .*plan.json: .*; free space, or use another disk"
        ):
            write_plan_file(path, file_document(ANSWER, QUESTION, Effort()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text(encoding="utf-8") == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["plan.json"]


def test_the_reader_is_light() -> None:
    """Who only reads a plan waits for no numerics."""
    program = (
        "import sys, capacity.answer.saved_plan\n"
        "sys.exit(str([n for n in ('scipy', 'numba', 'simpy', 'rich', 'matplotlib') if n in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() in ("", "''"), done.stderr


def test_no_number_is_not_finite() -> None:
    assert not any(math.isnan(x) or math.isinf(x) for x in _floats(file_document(ANSWER, QUESTION, Effort())))


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for one in value.values() for x in _floats(one)]
    if isinstance(value, list):
        return [x for one in value for x in _floats(one)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize(
    "edit",
    [
        lambda plan: plan["question"]["objective"]["response_quantiles_s"].update({"0.99": 10.0}),
        lambda plan: plan["answer"]["recommendation"].update(replicas=3),
        lambda plan: plan["effort"].update(seed=6),
        lambda plan: plan["certificate"].update(attempt=2),
        lambda plan: plan.update(sha256="0" * 64),
    ],
    ids=["limit", "replicas", "seed", "certificate", "digest"],
)
def test_a_plan_that_was_edited_is_refused(edit: Callable[[dict[str, Any]], None]) -> None:
    document = saved()
    assert read_plan_file_document(document, "x").recommendation_plan is not None
    edit(document)
    with pytest.raises(InputError, match="was edited since it was saved"):
        read_plan_file_document(document, "x")


RAW = {"@infinite": "1e999", "@nan": "NaN", "@deep": "[" * 5000 + "]" * 5000, "@twice": '{"a": 1, "a": 2}'}
HOSTILE = [
    None, True, "", "x" * 1000, "\x1b[31m", 0, -1, 0.5, 1e308, -1e308, 5e-324, 10**30, 10**400, -(10**400),
    [], [[]], [None], {}, {"0.5": 10**400}, *RAW,
]  # fmt: skip


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Of all values within, of a list's those of the first entry."""
    yield at
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for key, part in entries:
        yield from places(part, (*at, key))


def signed_again(document: dict[str, Any]) -> dict[str, Any]:
    """As whoever edits the digests too would leave it."""
    with suppress(Exception):  # what cannot be signed at all
        for each in document["question"]["profiles"]:
            each["sha256"] = digest(each["profile"])
        document["sha256"] = digest(
            {key: document[key] for key in ("question", "effort", "certificate", "answer")}
        )
    return document


def hostile_texts(document: Any, at: tuple[str | int, ...], sign: Callable[[Any], Any]) -> Iterator[str]:
    """The document with a hostile value in one place, as it is and signed again."""
    for value in HOSTILE:
        edited = copy.deepcopy(document)
        put(*at, value=value)(edited)
        for made in (edited, sign(copy.deepcopy(edited))):
            text = json.dumps(made)
            for name, raw in RAW.items():
                text = text.replace(f'"{name}"', raw)
            yield text


def require_a_clear_refusal(read: Callable[[], object], at: object) -> bool:
    """Read, or refused by one short line; anything else is raised. Whether it was refused."""
    try:
        read()
    except InputError as error:
        message = str(error)
        assert message.startswith("p.json: "), (at, message)
        assert message.isprintable(), at
        assert len(message) < 500, at
        return True
    return False


DEMANDS = [
    QUESTION.workload,
    Workload(arrival_rate_rps=1.0, arrivals=GammaArrivals(cv=2.0)),
    Workload(arrival_rate_rps=1.0, arrivals=MmppArrivals(ratio=3.0, burst_mean_s=1.0, calm_mean_s=2.0)),
    Workload(arrival_rate_rps=2.0, arrivals=TRACE),
    ClosedPopulation(users=3, think_time_s=0.5),
]


@pytest.mark.parametrize("part", ["effort", "certificate", "survival", "objective", "answer", "rest"])
def test_no_edited_plan_is_a_bug_of_ours(part: str) -> None:
    """Whatever stands in whatever place: read, or refused by one short line that names the file."""
    document = json.loads(dumps(saved()))
    document["answer"] = {key: document["answer"][key] for key in ("verdict", "recommendation")}
    document["answer"]["performance"] = {"response_mean_s": 0.1}
    document["versions"] = {"numpy": document["versions"]["numpy"]}
    parts = ("effort", "certificate", "survival", "objective", "answer")
    spots = [
        at
        for at in places(document)
        if at and at[:2] not in (("question", "profiles"), ("question", "workload"))
    ]
    mine = [at for at in spots if (part in at[:2] if part != "rest" else not {*parts} & {*at[:2]})]
    refused = [
        require_a_clear_refusal(lambda text=text: read_text_of_plan(text), at)
        for at in mine
        for text in hostile_texts(document, at, signed_again)
    ]
    assert sum(refused) > len(refused) / 3 > 30


@pytest.mark.parametrize(
    "demand", DEMANDS, ids=lambda demand: type(getattr(demand, "arrivals", demand)).__name__
)
def test_no_edited_workload_is_a_bug_of_ours(demand: Any) -> None:
    document = json.loads(dumps(workload_to_document(demand)))
    for at in places(document):
        for text in hostile_texts({"w": document}, ("w", *at), lambda same: same):
            read = lambda text=text: located(  # noqa: E731
                "p.json", lambda: read_workload_document(parse_object(text, "p.json", "")["w"], "w", None)
            )
            require_a_clear_refusal(read, at)


def test_no_edited_profile_is_a_bug_of_ours() -> None:
    document = json.loads(dumps(profile_to_document(WHOLE)))
    refused = [
        require_a_clear_refusal(lambda text=text: parse_json(text, "p.json"), at)
        for at in places(document) if at
        for text in hostile_texts(document, at, lambda same: same)
    ]  # fmt: skip
    assert sum(refused) > 300


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "x",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "1e308",
        "5e-324",
        "9" * 5000,
        "\x1b[31m",
        "1,1",
        '"',
        "\0",
    ],
)
def test_no_edited_table_is_a_bug_of_ours(cell: str) -> None:
    for text in (f"batch_size,mean_ms\n{cell},5\n", f"batch_size,mean_ms\n1,{cell}\n", f"batch_size,{cell}\n1,5\n", f"batch_size,latency_ms\n1,5\n1,{cell}\n"):  # fmt: skip
        with suppress(InputError):
            parse_csv(text, "p.csv", "p")


def read_text_of_plan(text: str) -> object:
    return located("p.json", lambda: read_plan_file_document(_inside(text), "p.json"))


def _inside(text: str) -> dict[str, Any]:
    try:
        return parse_object(text, "p.json", "a saved plan is a JSON object")
    except InputError as error:
        raise InputError(str(error).removeprefix("p.json: ")) from None
