"""Sentences about price and about the choices that a plan did not make."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from questions import batch_question

import capacity as cap
from capacity.answer.documents import recommendation_document
from capacity.answer.sentences import _costs, explain, other_choice
from capacity.performance import Interval, Kind, Performance, Share
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Rejection, Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.render.console import as_text
from capacity.search.recommendation import Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.plan import TokenPlan
from capacity.server.engine.space import EngineSpace
from capacity.traffic.daily import DailyCurve
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import Workload

OBJECTIVE = Objective.of(response={0.99: 0.04})
P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.04)
PLAN = BatchPlan(profile="a", replicas=2, batch_size_max=8, batch_wait_max_s=0.002)
NAMES = ("a", "b", "c", "d", "e", "f", "g", "h")


def profile(name: str, hourly_usd: float | None = None) -> ServiceProfile:
    return ServiceProfile(name=name, timings=(BatchTiming(batch_size=1, mean_s=0.01),), hourly_usd=hourly_usd)


QUESTION = batch_question(
    profiles=tuple(profile(name, 1.0 + number) for number, name in enumerate(NAMES)),
    workload=Workload(arrival_rate_rps=50.0),
    objective=OBJECTIVE,
)
SEEN = Performance(
    kind=Kind.SIMULATION, load=0.5, throughput_rps=50.0, response_quantiles_s={0.99: Interval.exact(0.03)}
)


def other(replicas: int = 3, verdict: Verdict = Verdict.MET, **plan: Any) -> Candidate[BatchPlan]:
    rejection = None if verdict is Verdict.MET else Rejection.of(P99, 0.05)
    return Candidate(
        plan=replace(PLAN, replicas=replicas, **plan), verdict=verdict, rejection=rejection, performance=SEEN
    )


def recommended(*alternatives: Candidate[Any], **others: Any) -> Recommendation:
    given: dict[str, Any] = {
        "verdict": Verdict.MET,
        "objective": OBJECTIVE,
        "plan": PLAN,
        "performance": SEEN,
    }
    return Recommendation(**given | others, alternatives=alternatives)


def instead(*alternatives: Candidate[Any], question: Any = QUESTION) -> str:
    """The sentence about the other choices; empty without one."""
    told = [one for one in explain(recommended(*alternatives), question) if one.startswith("Instead")]
    assert len(told) <= 1
    return "".join(told)


def test_what_each_other_choice_takes_and_costs() -> None:
    """Each fleet has its own price: a replica of b costs 2 USD/h, one of a 1."""
    assert instead() == ""
    assert instead(other(profile="b")) == "Instead: b takes 3, 6.000 USD/h."
    assert (
        instead(
            other(4, routing=Routing.RANDOM), other(1, routing=Routing.SHARED_QUEUE), other(5, profile="b")
        )
        == "Instead: random routing takes 4, 4.000 USD/h; a shared queue takes 1, 1.000 USD/h; b takes 5, 10.000 USD/h."
    )
    unpriced = replace(QUESTION, profiles=(profile("a"),))
    assert instead(other(4, routing=Routing.RANDOM), question=unpriced) == "Instead: random routing takes 4."


def test_choices_that_take_the_same_are_told_together() -> None:
    routings = [
        other(routing=one) for one in (Routing.RANDOM, Routing.LEAST_OUTSTANDING, Routing.SHARED_QUEUE)
    ]
    assert instead(*routings[:2]) == "Instead: random and least-outstanding routing take 3, 3.000 USD/h."
    assert instead(*routings) == (
        "Instead: random routing, least-outstanding routing and a shared queue take 3, 3.000 USD/h."
    )
    doubts = [other(profile=name, verdict=Verdict.INCONCLUSIVE) for name in ("b", "c")]
    assert instead(*routings[:2], *doubts) == (
        "Instead: random and least-outstanding routing take 3, 3.000 USD/h; b and c are in doubt."
    )
    refused = other(profile="d", verdict=Verdict.MISSED)
    assert instead(*doubts, refused) == "Instead: b and c are in doubt; d is not enough within the limits."


def test_up_to_two_choices_of_the_plans_price_say_how_near_they_come_to_their_limit() -> None:
    random, least = (other(2, routing=one) for one in (Routing.RANDOM, Routing.LEAST_OUTSTANDING))
    assert instead(random) == "Instead: random routing takes 2 too: P99 30 ms."
    nearer = replace(least, performance=replace(SEEN, response_quantiles_s={0.99: Interval.exact(0.039)}))
    assert instead(random, nearer, other(3, routing=Routing.SHARED_QUEUE)) == (
        "Instead: random routing takes 2 too: P99 30 ms; least-outstanding routing takes 2 too: P99 39 ms; a shared "
        "queue takes 3, 3.000 USD/h."
    )
    small = other(2, batch_size_max=4)
    busier, alike = (replace(small, performance=replace(SEEN, load=load)) for load in (0.8, 0.52))
    of_load = recommended(busier, performance=replace(SEEN, load=0.5))
    assert "Instead: batches up to 4 take 2 too: P99 30 ms at load 0.80, not 0.50." in list(
        explain(of_load, QUESTION)
    )
    of_load = replace(of_load, alternatives=(alike,))
    assert "Instead: batches up to 4 take 2 too: P99 30 ms." in list(explain(of_load, QUESTION))
    # One replica of b costs as much as two of a.
    assert instead(other(1, profile="b")) == "Instead: b takes 1, 2.000 USD/h too: P99 30 ms."
    assert instead(random, nearer, other(2, routing=Routing.SHARED_QUEUE)) == (
        "Instead: random routing, least-outstanding routing and a shared queue take 2 too."
    )
    assert instead(other(2, profile="b", verdict=Verdict.INCONCLUSIVE)) == "Instead: b is in doubt."


def test_choices_that_are_refused_or_in_doubt_have_no_price() -> None:
    """What is refused is so within the limits on the fleet; of larger ones nothing is known."""
    assert instead(other(profile="b", verdict=Verdict.INCONCLUSIVE)) == "Instead: b is in doubt."
    assert (
        instead(other(profile="b", verdict=Verdict.MISSED)) == "Instead: b is not enough within the limits."
    )
    assert instead(other(profile="c"), other(profile="b", verdict=Verdict.INCONCLUSIVE)) == (
        "Instead: c takes 3, 9.000 USD/h; b is in doubt."
    )


def test_of_many_choices_the_first_five_are_named_and_the_others_counted() -> None:
    found = [other(profile=name) for name in NAMES[1:]]
    named = "; ".join(f"{name} takes 3, {3 * (2.0 + n):.3f} USD/h" for n, name in enumerate(NAMES[1:6]))
    assert instead(*found[:5]) == f"Instead: {named}."
    assert instead(*found[:6]) == f"Instead: {named}; 1 more."
    assert instead(*found) == f"Instead: {named}; 2 more."


def test_choices_that_were_not_tried_are_named_as_such() -> None:
    """They are kept in the document as plans, and none of them looks as if it had been tried."""
    untried = tuple(replace(PLAN, profile=name) for name in NAMES[2:])
    found = recommended(other(profile="b"), untried=untried[:2])
    assert list(explain(found, QUESTION))[-1] == "Instead: b takes 3, 6.000 USD/h; not tried: c, d."
    alone = recommended(untried=untried)
    assert list(explain(alone, QUESTION))[-1] == "Instead: not tried: c, d, e, f, g and 1 more."
    document = recommendation_document(found, QUESTION, seed=0, confidence=0.95)
    assert [one["profile"] for one in document["alternatives_untried"]] == ["c", "d"]
    assert "alternatives_untried" not in recommendation_document(
        recommended(), QUESTION, seed=0, confidence=0.95
    )


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"profile": "b"}, "b"),
        ({"profile": "b", "batch_size_max": 4}, "b"),
        ({"routing": Routing.LEAST_OUTSTANDING, "batch_size_max": 4}, "least-outstanding routing"),
        ({"batch_wait_max_s": 0.005}, "a batch wait of 5 ms"),
        # What was listed is the wait; the largest batch is what is best with it.
        ({"batch_wait_max_s": 0.005, "batch_size_max": 4}, "a batch wait of 5 ms"),
        ({"batch_wait_max_s": 0.0, "batch_size_max": 4}, "no batch wait"),
    ],
)
def test_a_choice_is_called_by_what_was_chosen(changed: dict[str, Any], named: str) -> None:
    assert other_choice(replace(PLAN, **changed), PLAN) == named


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"sequences_max": 8}, "up to 8 sequences"),
        ({"batched_tokens_max": 256}, "16 sequences, 256 tokens a step"),
    ],
)
def test_a_choice_of_engines_is_called_by_what_was_chosen(changed: dict[str, Any], named: str) -> None:
    plan = TokenPlan(profile="a", replicas=2, sequences_max=16, batched_tokens_max=512)
    assert other_choice(replace(plan, **changed), plan) == named


def test_a_brief_answer_of_many_lines_leaves_out_what_a_million_costs() -> None:
    priced = recommended(other(profile="b"), hourly_usd=1.8)  # two sentences, the cost, and the other choice
    told = list(explain(priced, QUESTION))
    assert len(told) == 4
    assert list(explain(priced, QUESTION, briefly=True, besides=3)) == told
    bare = [one for one in told if not one.startswith("Cost")]
    assert list(explain(priced, QUESTION, briefly=True, besides=4)) == bare
    assert list(explain(priced, QUESTION, besides=4)) == told


def test_what_a_million_costs() -> None:
    """At 50 rps a million take 20,000 s: for 1.8 USD/h, 10 USD."""
    priced = recommended(hourly_usd=1.8)
    assert priced.usd_per_million(QUESTION.space) == {"requests": pytest.approx(10.0)}
    assert "Cost: 10 USD per million requests." in list(explain(priced, QUESTION))
    day = DailyCurve(times_s=(0.0, 43200.0), rates_rps=(50.0, 25.0), ends_s=86400.0)
    assert priced.usd_per_million(QUESTION.space, day) == {"requests": pytest.approx(10.0 / 0.75)}
    assert "Cost: 13.3 USD per million requests over the day." in list(explain(priced, QUESTION, day))
    morning = replace(day, ends_s=43200.0)  # whose rate does not change
    assert priced.usd_per_million(QUESTION.space, morning) == {"requests": pytest.approx(10.0)}


def test_a_day_is_priced_by_all_its_requests(tmp_path: Path) -> None:
    """Two in three of what the highest rate would be, in the answer, its document, its words and when it is read."""
    day, path = tmp_path / "day.csv", tmp_path / "plan.json"
    day.write_text("time,rate_rps\n00:00,100\n12:00,300\n", encoding="utf-8")
    measured = pd.DataFrame({"batch_size": [1, 2, 4], "mean_ms": [5.0, 7.0, 10.0]})
    found = cap.plan(measured, daily=day, slo_p99="60ms", batch_wait="0ms", hourly_usd=2.0, precision=0.2)
    usd = found.hourly_usd / 3600.0 / found.performance.throughput_rps * 1e6 * 1.5
    assert found.usd_per_million == pytest.approx(usd)
    assert found.to_dict()["usd_per_million"] == {"requests": pytest.approx(usd)}
    assert f"Cost: {usd:.3g} USD per million requests over the day." in as_text(
        found.tables(100, verbose=True), 100
    )
    found.save(path)
    assert json.loads(path.read_text())["answer"]["usd_per_million"]["requests"] == pytest.approx(usd)


@pytest.mark.parametrize(
    ("cached_share", "more", "million"),
    [
        (0.0, {}, {"input_tokens": 0.05, "output_tokens": 0.2}),
        (0.2, {}, {"input_tokens": 0.0625, "cached_tokens": 0.25, "output_tokens": 0.2}),
        # What turns found was measured, and so were their prompts: 8000 of 16000 tokens a second.
        (
            0.0,
            {"hit_share": Share(mean=0.5, low=0.4, high=0.6), "cached_tokens_per_s": 8000.0},
            {"input_tokens": 0.0625, "cached_tokens": 0.0625, "output_tokens": 0.2},
        ),
        (
            0.0,
            {"hit_share": Share(mean=0.0, low=0.0, high=0.0), "cached_tokens_per_s": 0.0},
            {"input_tokens": 0.05, "output_tokens": 0.2},
        ),
    ],
    ids=["nothing cached", "assumed", "measured", "nothing found"],
)
def test_what_a_million_tokens_of_each_kind_cost(
    cached_share: float, more: dict[str, Any], million: dict[str, float]
) -> None:
    """0.0005 USD a second over 10,000 prompt tokens, 200 of each of 50 requests, and over 2500 of answers."""
    lengths = LengthRows((100, 300), (50, 50), "rows.csv")
    space = EngineSpace(lengths=lengths, cached_share=cached_share)
    question: Any = SimpleNamespace(space=space, workload=QUESTION.workload)
    seen = replace(SEEN, output_tokens_per_s=2500.0, **more)
    priced = recommended(hourly_usd=1.8, performance=seen)
    found = priced.usd_per_million(question.space)
    assert found == pytest.approx({"requests": 10.0, **million})
    told = ", or ".join(f"{what.replace('_', ' ')} {usd:.3g}" for what, usd in million.items())
    assert list(_costs(priced, question, None)) == [f"USD per million: requests 10, or {told}."]


@pytest.mark.parametrize(
    "others",
    [
        {"hourly_usd": None},
        {"hourly_usd": 1.8, "performance": replace(SEEN, throughput_rps=None)},
        {"hourly_usd": 1.8, "performance": replace(SEEN, throughput_rps=0.0)},
        {"hourly_usd": 1.8, "performance": None},
    ],
)
def test_where_a_price_or_what_is_served_is_not_known_a_million_has_no_price(others: dict[str, Any]) -> None:
    found = recommended(**others)
    assert found.usd_per_million(QUESTION.space) == {}
    if found.performance is not None:
        assert not any(one.startswith("Cost") for one in explain(found, QUESTION))
        assert recommendation_document(found, QUESTION, seed=0, confidence=0.95)["usd_per_million"] is None


def test_the_document_has_each_alternative_with_its_price_and_verdict() -> None:
    found = recommended(other(profile="b"), other(4, Verdict.MISSED, routing=Routing.RANDOM))
    taken, refused = recommendation_document(found, QUESTION, seed=0, confidence=0.95)["alternatives"]
    assert (taken["plan"]["profile"], taken["plan"]["replicas"]) == ("b", 3)
    assert (taken["accepted"], taken["verdict"], taken["cost"]) == (True, "met", {"hourly_usd": 6.0})
    assert (refused["plan"]["routing"], refused["verdict"]) == ("random", "missed")
    assert refused["rejection"]["needed"] == 0.05
    unpriced = replace(QUESTION, profiles=(profile("a"),))
    (taken,) = recommendation_document(
        recommended(other(routing=Routing.RANDOM)), unpriced, seed=0, confidence=0.95
    )["alternatives"]
    assert taken["cost"] is None
