"""The brute-force check: its simulator against closed forms, and wrong answers that it must find."""

import dataclasses

import brute_force
import brute_questions
import pytest
from brute_fleet import Fleet, Service, constant, exponential, has_compiler, self_test, simulate
from brute_force import Bench, Effort

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no C compiler")
# M/D/1 at load 0.7 has its P99 at 7.49 s; at load 0.35, of two replicas behind a random split, at 3.20 s.
QUESTION = brute_questions.Question(
    number=0,
    profile="second",
    service=Service(laws={1: constant(1.0)}),
    rate_rps=0.7,
    limits_s={99: 4.0},
    gap_cv=1.0,
    routing="random",
    batch_size_max=None,
    batch_wait_max_s=0.0,
    timer="oldest",
    queue_limit=None,
    loss_max=None,
    replicas_max=None,
    requests_max=None,
)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    for name, counted in (("SCREEN", 2_000), ("LOOK", 4_000), ("LONG", 8_000), ("AGAIN", 16_000)):
        monkeypatch.setattr(brute_force, name, Effort(runs=20, counted=counted))


def plan(replicas):
    return {"replicas": replicas, "batch_size_max": 1, "batch_wait_max_s": 0.0}


def answer(replicas, **performance):
    return {
        "verdict": "met",
        "recommendation": plan(replicas),
        "performance": {"intervals": {}, **performance},
        "considered": [],
        "caveats": [],
    }


def wrong(document, **changes):
    bench = Bench(asked=dataclasses.replace(QUESTION, **changes), answer=document)
    brute_force.check(bench)
    return bench.wrong


def test_simulator_agrees_with_closed_forms():
    assert [line for line in self_test(counted=8_000, error_max=0.06) if line.startswith("WRONG")] == []


def test_a_right_answer_is_right():
    assert wrong(answer(2)) == []


def test_a_plan_that_misses_is_found():
    assert "misses P99" in wrong(answer(1))[0]


def test_a_cheaper_plan_that_holds_is_found():
    assert "1 x B 1, wait 0 ms (one fewer) keeps the limits" in wrong(answer(2), limits_s={99: 10.0})[0]


def test_an_interval_that_is_off_is_found():
    off = {"0.99": {"value": 2.0, "low": 1.9, "high": 2.1}}
    assert "response_quantiles_s 0.99" in wrong(answer(2, response_quantiles_s=off))[0]


def test_a_lost_request_is_late():
    """Nobody waits, all that are served take 1 s, and 26 % are lost; 41 % at one replica."""
    changes = {"queue_limit": 0, "loss_max": 0.3}
    assert "misses P99" in wrong(answer(2), **changes)[0]
    assert wrong(answer(2), limits_s={50: 4.0}, **changes) == []


def test_nothing_recommended_where_a_plan_holds_is_found():
    considered = [{"plan": plan(2), "verdict": "missed", "rejection": {"limit": "latency"}}]
    missed = {**answer(2), "verdict": "missed", "recommendation": None, "considered": considered}
    assert "2 x B 1, wait 0 ms (none recommended) keeps the limits" in wrong(missed)[0]
    assert wrong(missed, limits_s={99: 1.01}) == []


def test_doubt_far_from_the_limit_is_found():
    rejection = {"limit": "latency"}
    considered = [{"plan": plan(1), "verdict": "inconclusive", "performance": None, "rejection": rejection}]
    doubt = {**answer(2), "considered": considered}
    assert "and misses them by more than" in wrong(doubt)[0]
    assert wrong(doubt, limits_s={99: 7.49}) == []


def test_same_seed_same_counts():
    fleet = Fleet(service=Service(laws={1: exponential(1.0)}), rate_rps=0.5)
    first, second = (simulate(fleet, seed=7, runs=3, counted=500, warm_up=100) for _ in range(2))
    assert first.response_mean_s == second.response_mean_s
