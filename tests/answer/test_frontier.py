"""Frontiers: each point is the answer to its question asked alone, and what they say together."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import capacity as cap
from capacity.answer.documents import dumps
from capacity.answers.frontier import FrontierAnswer
from capacity.answers.plan import PlanAnswer
from capacity.errors import InputError
from capacity.question.candidate import Verdict

FILES = Path(__file__).parents[1] / "kept" / "files"
ASKED: dict[str, Any] = {
    "rate": "300rps",
    "slo_p99": "60ms",
    "batch_wait": "0ms",
    "precision": 0.2,
    "seed": 7,
}
ENGINES: dict[str, Any] = {"lengths": FILES / "lengths.csv", "rate": "100rps", "slo_tpot_mean": "6.4ms", "precision": 0.2}  # fmt: skip
PROFILES: dict[str, Any] = {
    "batches": pd.DataFrame({"batch_size": [1, 2, 4], "mean_ms": [5.0, 7.0, 10.0]}),
    "samples": pd.DataFrame(
        {"batch_size": [1] * 60 + [4] * 60, "latency_ms": [5.0 + 0.01 * n for n in range(60)] + [10.0 + 0.02 * n for n in range(60)]}
    ),
    "engines": FILES / "line.json",
}  # fmt: skip
BY_VALUE = [
    ("batches", ASKED, "slo_p99", "15ms,30ms", ["15ms", "30ms"]),
    ("batches", ASKED, "rate", "300rps:900rps:600rps", ["300rps", "900rps"]),
    ("batches", ASKED, "batch_size_max", "1,4", [1, 4]),
    ("batches", ASKED, "spare", "0:1", [0, 1]),
    ("batches", ASKED, "batch_wait", "0ms,2ms", ["0ms", "2ms"]),
    ("samples", ASKED, "slo_p99", "20ms,40ms", ["20ms", "40ms"]),
    ("engines", ENGINES, "slo_tpot_mean", "6.4ms,20ms", ["6.4ms", "20ms"]),
    ("engines", ENGINES, "sequences_max", "8,16", [8, 16]),
]


@pytest.fixture(scope="module")
def frontier() -> FrontierAnswer:
    """No plan, two plans, and one plan: of 4 ms no request is served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capacity.search.plan_decision.find_headroom", lambda *_: None)
        found = cap.plan(PROFILES["batches"], **ASKED | {"slo_p99": "4ms,15ms,60ms", "hourly_usd": 2.0})
    assert isinstance(found, FrontierAnswer)
    return found


@pytest.mark.parametrize(("profile", "asked", "name", "several", "single"), BY_VALUE)
def test_each_point_is_to_the_byte_the_answer_to_its_question_alone(
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
    asked: dict[str, Any],
    name: str,
    several: str,
    single: list[Any],
) -> None:
    if profile != "batches":  # where it takes seconds
        monkeypatch.setattr("capacity.search.plan_decision.find_headroom", lambda *_: None)
    found = cap.plan(PROFILES[profile], **asked | {name: several})
    points = found.document()["points"]
    alone = [cap.plan(PROFILES[profile], **asked | {name: value}) for value in single]
    assert [one.pop("at").keys() for one in points] == [{found.varied[0].key}] * len(single)
    assert [dumps(one) for one in points] == [dumps(one.document()) for one in alone]
    saved = [json.dumps(one._file()) for one in found.points]
    assert saved == [json.dumps(one._file()) for one in alone]


def test_the_verdict_is_the_least_favourable_one(frontier: FrontierAnswer) -> None:
    assert [one.verdict for one in frontier.points] == [Verdict.MISSED, Verdict.MET, Verdict.MET]
    assert (frontier.verdict, frontier.exit_code) == (Verdict.MISSED, 3)

    def worst(*verdicts: Verdict) -> int:
        points = [_with_verdict(frontier.points[1], one) for one in verdicts]
        return FrontierAnswer(varied=frontier.varied, points=tuple(points)).exit_code

    assert worst(Verdict.MET, Verdict.MET) == 0
    assert worst(Verdict.MET, Verdict.INCONCLUSIVE) == 4
    assert worst(Verdict.INCONCLUSIVE, Verdict.MISSED, Verdict.MET) == 3


def _with_verdict(one: PlanAnswer, verdict: Verdict) -> PlanAnswer:
    from dataclasses import replace

    return replace(one, recommendation=replace(one.recommendation, verdict=verdict))


def test_the_document_names_its_axes_in_si(frontier: FrontierAnswer) -> None:
    document = frontier.to_dict()
    assert list(document) == ["schema_version", "verdict", "exit_code", "axes", "points", "uncovered"]
    assert document["axes"] == [{"flag": "slo_p99", "unit": "s", "values": [0.004, 0.015, 0.06]}]
    assert [one["at"] for one in document["points"]] == [{"slo_p99_s": s} for s in (0.004, 0.015, 0.06)]
    assert [one["verdict"] for one in document["points"]] == ["missed", "met", "met"]
    json.dumps(document, allow_nan=False)


def test_rows_have_what_was_asked_the_plan_and_what_it_costs(frontier: FrontierAnswer) -> None:
    bare, tight, loose = frontier.rows()
    assert list(bare) == [
        "slo_p99_s", "verdict", "rejection", "allowed", "needed", "usd_per_million", "arrival_rate_max_rps"
    ]  # fmt: skip
    assert (bare["verdict"], bare["rejection"], bare["allowed"]) == ("missed", "service_floor", 0.004)
    assert (tight["slo_p99_s"], loose["slo_p99_s"]) == (0.015, 0.06)
    assert tight["replicas"] >= loose["replicas"] == 1
    assert tight["hourly_usd"] == 2.0 * tight["replicas"]
    assert loose["usd_per_million"] == pytest.approx(1e6 * 2.0 / (3600.0 * 300.0))
    assert loose["response_p99_low_s"] <= loose["response_p99_s"] <= loose["response_p99_high_s"] <= 0.06
    assert len(frontier.to_frame()) == 3


def test_a_row_keeps_the_largest_batch_allowed_apart_from_the_one_chosen(no_headroom: None) -> None:
    asked = {"rate": "1500rps", "slo_p99": "60ms", "batch_wait": "0ms", "batch_size_max": [32, 128]}
    found = cap.plan("resnet50-t4-fp16", **asked, precision=0.2)
    assert [(row["asked_batch_size_max"], row["batch_size_max"]) for row in found.rows()] == [
        (32, 16),
        (128, 16),
    ]


def test_a_frontier_is_not_taken_for_one_plan(frontier: FrontierAnswer, tmp_path: Path) -> None:
    path = tmp_path / "frontier.json"
    frontier.save(path)
    assert json.loads(path.read_text()) == frontier.to_dict()
    said = "frontier.json: a frontier of 3 plans, not a saved plan; make it again with capacity plan ... -o plan.json at one of its values"  # fmt: skip
    with pytest.raises(InputError) as caught:
        cap.check(path)
    assert str(caught.value) == said
    with pytest.raises(InputError, match=r"holds 3 plans; give one of its points: answer.points\[0\]"):
        cap.check(frontier)
    with pytest.raises(InputError, match="holds 3 plans"):
        cap.stress(frontier, trigger="spike:2x,30s")
    assert frontier.points[2].to_saved().plan == frontier.points[2].plan


def test_a_mistake_at_any_point_is_found_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.api.plan.at_work", None)
    with pytest.raises(InputError, match="the P99 limit 60 ms is above the P99.9 limit 50 ms"):
        cap.plan(PROFILES["batches"], **ASKED | {"slo_p99": "20ms,60ms"}, slo_p999="50ms")


def test_a_value_that_the_profile_does_not_cover_leaves_the_other_points() -> None:
    asked = ENGINES | {"lengths": "input=geometric:mean=20;output=geometric:mean=20"}  # of any length
    found = cap.plan(PROFILES["engines"], **asked, context_tokens_max="40,100000,60")
    assert isinstance(found, FrontierAnswer)
    assert [list(at.values()) for at in found.at] == [[40], [60]]
    alone = cap.plan(PROFILES["engines"], **asked, context_tokens_max=60)
    assert dumps(found.points[1].document()) == dumps(alone.document())
    ((at, why),) = found.uncovered.items()
    assert at == (100000,)
    assert "does not cover 100000; measure up to there, or allow less" in why
    assert found.document()["uncovered"] == [{"at": {"context_tokens_max": 100000}, "why": why}]
    assert {one.verdict for one in found.points} == {Verdict.MET}
    assert (found.verdict, found.exit_code) == (Verdict.INCONCLUSIVE, 4)
    assert [row["context_tokens_max"] for row in found.rows()] == [40, 60]
    with pytest.raises(InputError, match="does not cover 100000"):
        cap.plan(PROFILES["engines"], **asked, context_tokens_max="100000,200000")


def test_a_context_beyond_what_was_measured_is_covered_where_all_requests_are_shorter() -> None:
    """One of 21 requests has 980 tokens, the longest; the profile was measured up to 1024."""
    found = cap.plan(PROFILES["engines"], **ENGINES, context_tokens_max="979,980,100000")
    assert isinstance(found, FrontierAnswer)
    assert (found.verdict, found.uncovered) == (Verdict.MET, {})
    _, whole, longer = found.points
    assert (whole.recommendation.plan, whole.performance) == (longer.recommendation.plan, longer.performance)
    told = " ".join(str(found).split())
    assert (
        "At --context-tokens-max 979 an engine refuses 4.762 % of the requests as too long, and none at 980"
        in told
    )
    assert "1 of 21 requests" not in told
    rows = [line.split() for line in str(found).splitlines() if line.split()[0] in ("979", "980", "100000")]
    assert [row[row.index("%") - 1] for row in rows] == ["4.762", "0", "0"]


def test_progress_says_which_plan_it_is_about() -> None:
    told: list[str] = []
    cap.plan(PROFILES["batches"], **ASKED | {"slo_p99": "30ms,60ms"}, progress=told.append)
    assert {one.partition(":")[0] for one in told if "judging" in one} == {"plan 1 of 2", "plan 2 of 2"}


def test_the_words_of_a_frontier(frontier: FrontierAnswer) -> None:
    lines = str(frontier).splitlines()
    many = frontier.points[1].plan.replicas
    first = " ".join(" ".join(lines[:2]).split())
    assert first.startswith(
        f"From P99 <= 60 ms to 15 ms the fleet grows from 1 to {many} replicas and costs 2.000 to {2 * many:.3f} USD/h "
        f"(+{100 * (many - 1)} %). There is no plan at P99 <= 4 ms: no batch is served within 4 ms at P99; the fastest"
    )
    heads = next(line for line in lines if "replicas  batch" in line).split("  ")
    assert [one.strip() for one in heads if one.strip()] == [
        "P99 <=", "replicas", "batch", "P99", "USD/h", "USD/million", "verdict"
    ]  # fmt: skip
    assert "missed: service too slow" in str(frontier)
    assert len(lines) <= 12


def test_a_page_holds_the_sentence_the_picture_and_each_point(frontier: FrontierAnswer) -> None:
    page = frontier.page(date(2024, 5, 6))
    assert page.count("<tr>") == 4
    assert "<h1>From P99 ≤ 60 ms to 15 ms the fleet grows" in page
    assert page.count("<svg") == 1
    assert "default-src 'none'" in page
    assert page.count("2024-05-06") == 2
