"""A saved answer comes back as the nouns that the search had, and what is no answer is refused."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from saved_reports import save

import capacity as cap
from capacity.answer.saved_answer import read_recommendation
from capacity.answer.saved_plan import SavedPlan, read_plan_file
from capacity.answer.sentences import explain
from capacity.answers.plan import PlanAnswer
from capacity.search.certificate import Trial
from capacity.search.recommendation import Recommendation

TIMES = pd.DataFrame({"batch_size": [1, 2, 4], "mean_ms": [5.0, 7.0, 10.0]})
QUICK = {"precision": 0.2, "requests_max": 3_000_000}
ASKED: dict[str, dict[str, Any]] = {
    "percentile": {"rate": "700rps", "slo_p99": "30ms", "batch_wait": "0ms", "hourly_usd": 1.0},
    "losses": {
        "rate": "700rps",
        "slo_wait_p95": "10ms",
        "loss_max": "1%",
        "queue_limit": 9,
        "batch_wait": "0ms",
        **QUICK,
    },
    "survival": {"rate": "700rps", "slo_p99": "30ms", "batch_wait": "0ms", "survive": "n-1", "hourly_usd": 1.0},
    "bursts": {"rate": "300rps", "slo_p95": "60ms", "arrivals": "gamma:cv=2", "batch_wait": "0ms", **QUICK},
    "users": {"users": 20, "think_time": "100ms", "slo_mean": "20ms", "batch_wait": "0ms", **QUICK},
}  # fmt: skip


def pair_of(name: str, folder: Path) -> tuple[PlanAnswer, SavedPlan]:
    answer = cap.plan(TIMES, **ASKED[name])
    return answer, read_plan_file(save(answer, folder / "plan.json"))


@pytest.fixture(params=ASKED, ids=str)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[PlanAnswer, SavedPlan]:
    return pair_of(request.param, tmp_path)


@pytest.fixture(scope="module")
def percentile(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanAnswer, SavedPlan]:
    return pair_of("percentile", tmp_path_factory.mktemp("saved"))


def trial_of(found: Recommendation) -> Trial:
    """The certificate as it was given: here only what it found counts."""
    (chosen,) = [one for one in found.considered if one.plan == found.plan]
    whole = replace(chosen, performance=found.performance)
    return Trial(candidate=whole, whole=whole, survived=found.survived, judged=1, requests=0)


def test_it_comes_back(pair: tuple[PlanAnswer, SavedPlan]) -> None:
    answer, saved = pair
    found = answer.recommendation
    back = read_recommendation(saved, trial_of(found))
    for was, now in zip(found.considered, back.considered, strict=True):
        told = {"doubt": None, "batch_size_largest": None, "requests": 0, "is_precise": True}
        assert now == replace(was, **told)
    assert (back.plan, back.verdict, back.performance) == (found.plan, found.verdict, found.performance)
    assert (back.caveats, back.hourly_usd, back.random_routing) == (
        found.caveats,
        found.hourly_usd,
        found.random_routing,
    )
    assert list(explain(back, saved.question)) == list(explain(found, answer.question))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("considered",), 7),
        (("considered", 0), None),
        (("considered", 0, "plan", "replicas"), "many"),
        (("considered", 0, "verdict"), "perhaps"),
        (("considered", 0, "rejection"), {"limit": "latency", "allowed": 1.0, "needed": 2.0, "measure": "utilization"}),
        (("considered", -1, "performance", "response_quantiles_s"), {"P99": None}),
        (("considered", -1, "performance", "kind"), 3),
        (("headroom",), {"arrival_rate_max_rps": "fast"}),
        (("caveats",), [{"code": "none", "message": "x"}]),
        (("random_routing",), []),
    ],
    ids=lambda one: ".".join(map(str, one)) if isinstance(one, tuple) else "",
)  # fmt: skip
def test_what_is_no_answer_is_refused_by_its_place(place, value, percentile) -> None:
    answer, saved = percentile
    document = json.loads(json.dumps(copy.deepcopy(dict(saved.answer))))
    inner: Any = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(cap.InputError, match=r"^plan.json: answer\."):
        read_recommendation(replace(saved, answer=document), trial_of(answer.recommendation))
