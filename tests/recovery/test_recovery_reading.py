"""Flags of `capacity stress`, each form that is good and some that are not."""

import math
from dataclasses import replace
from typing import Any

import pytest

from capacity.errors import DomainError, InputError
from capacity.recovery.faults import ColdCache
from capacity.recovery.parse import (
    CLIENTS,
    read_backoff,
    read_budget,
    read_clients,
    read_cold,
    read_protection,
    read_retried,
    read_shedding,
    read_slow_start_s,
    read_trigger,
)
from capacity.recovery.protection import Abandoned, Ejecting, Protection, Shedding
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.traffic.clients import ALL_FAILURES, Backoff, BudgetKind, Clients, Failure, RetryBudget


@pytest.mark.parametrize(
    ("text", "trigger"),
    [
        ("spike:2x,30s", Trigger(kind=TriggerKind.SPIKE, factor=2.0, lasting_s=30.0)),
        ("spike: 1.5x , 500ms", Trigger(kind=TriggerKind.SPIKE, factor=1.5, lasting_s=0.5)),
        ("lose:1,60s", Trigger(kind=TriggerKind.LOSE, replicas=1, lasting_s=60.0)),
        ("crash:2,1min", Trigger(kind=TriggerKind.CRASH, replicas=2, lasting_s=60.0)),
        ("hang:1,60s", Trigger(kind=TriggerKind.HANG, replicas=1, lasting_s=60.0)),
        ("pause:500ms,10/min", Trigger(kind=TriggerKind.PAUSE, lasting_s=60.0, pause_s=0.5, pauses_per_s=10 / 60)),
        ("spot:1,2min,10min", Trigger(kind=TriggerKind.SPOT, replicas=1, notice_s=120.0, lasting_s=600.0)),
        (
            "pause:500ms,10/min,5min",
            Trigger(kind=TriggerKind.PAUSE, lasting_s=300.0, pause_s=0.5, pauses_per_s=10 / 60),
        ),
        ("straggler:3x,60s", Trigger(kind=TriggerKind.STRAGGLER, factor=3.0, lasting_s=60.0)),
        (" rollout ", Trigger(kind=TriggerKind.ROLLOUT)),
    ],
)  # fmt: skip
def test_triggers(text: str, trigger: Trigger) -> None:
    assert read_trigger(text) == trigger


def test_backoffs() -> None:
    assert read_backoff("50ms:10s") == Backoff(initial_s=0.05, max_s=10.0)
    assert read_backoff("50ms") == read_backoff("50ms:50ms") == Backoff(initial_s=0.05, max_s=0.05)


@pytest.mark.parametrize(
    ("text", "burst", "budget"),
    [
        ("none", None, RetryBudget()),
        ("0.1", None, RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.1)),
        (0.1, None, RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.1)),
        (1, 5.0, RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=1.0, tokens=5.0)),
        ("first-tries:0.2", 10.0, RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens=10.0)),
        ("successes:0.5", None, RetryBudget(kind=BudgetKind.SUCCESSES, ratio=0.5)),
        ("concurrent:0.2", None, RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.2)),
        ("throttle:10,0.1", None, RetryBudget(kind=BudgetKind.THROTTLE, tokens=10.0, ratio=0.1)),
    ],
)
def test_budgets(text: str | float, burst: float | None, budget: RetryBudget) -> None:
    assert read_budget(text, burst) == budget


@pytest.mark.parametrize("text", ["none", "concurrent:0.2", "throttle:10,0.1"])
def test_a_burst_belongs_to_a_budget_that_has_one(text: str) -> None:
    with pytest.raises(InputError, match="--retry-burst"):
        read_budget(text, 50.0)


def test_failures() -> None:
    assert read_retried("rejected") == {Failure.REJECTED}
    assert read_retried("rejected, timed_out ,crashed") == ALL_FAILURES
    with pytest.raises(InputError, match="--retry-on"):
        read_retried("rejected,late")


def test_shedding() -> None:
    assert read_shedding("none") == (Shedding.NONE, None)
    assert read_shedding("late") == (Shedding.LATE, None)
    assert read_shedding("late:50ms") == (Shedding.LATE, 0.05)
    assert read_shedding("late:0ms") == (Shedding.LATE, 0.0)
    assert read_shedding("codel") == (Shedding.CODEL, None)
    assert read_shedding("new:12") == (Shedding.NEW, 12)
    for bad in ("lifo:50ms", "newest", "late:50", "", "new", "new:", "new:0", "new:2.5", "new:٣", "new:-1"):
        with pytest.raises(InputError):
            read_shedding(bad)


def test_a_slow_start_is_whole_seconds() -> None:
    assert read_slow_start_s({}) == read_slow_start_s({"slow_start": "0s"}) == 0
    assert read_slow_start_s({"slow_start": "2min"}) == read_slow_start_s({"slow_start_s": 120.0}) == 120
    for bad in ({"slow_start": "1500ms"}, {"slow_start": "25h"}, {"slow_start_s": -1.0}):
        with pytest.raises(InputError, match="slow"):
            read_slow_start_s(bad)
    with pytest.raises(InputError, match="slow_start_s must be from 0 to 86400, got -1"):
        Protection(slow_start_s=-1)


def test_cold_batches() -> None:
    assert read_cold(" 20:3x ") == ColdCache(batches=20, factor=3.0)
    assert read_cold("1:1.5x").factor == 1.5
    for bad in ("20", "20:3", "x:3x", "20:x", "-1:3x", "1.5:3x", "", 20):
        with pytest.raises(InputError, match="write 20:3x"):
            read_cold(bad)  # type: ignore[arg-type]
    for bad in ("0:3x", "9999999:3x", "20:1x", "20:101x"):
        with pytest.raises(InputError, match="must be"):
            read_cold(bad)


@pytest.mark.parametrize(
    ("batches", "factor", "said"),
    [
        (0, 2.0, "cold batches must be from 1 to 1000000, got 0"),
        (1_000_001, 2.0, "cold batches must be from 1 to 1000000, got 1000001"),
        (1, 1.0, "a cold batch's factor must be above 1 and at most 100, got 1"),
        (1, 100.5, "a cold batch's factor must be above 1 and at most 100, got 100.5"),
    ],
)
def test_a_cold_cache_out_of_range_is_refused(batches: int, factor: float, said: str) -> None:
    assert ColdCache(batches=1, factor=1.01).batches == 1
    assert ColdCache(batches=1_000_000, factor=100.0).factor == 100.0
    with pytest.raises(DomainError, match=said):
        ColdCache(batches=batches, factor=factor)


def test_protection_takes_the_planned_margin_unless_one_is_given() -> None:
    assert read_protection("late", 0.07, "served").late_margin_s == 0.07
    found = read_protection("late:20ms", 0.07, "dropped", "nginx")
    assert found == Protection(
        shedding=Shedding.LATE, late_margin_s=0.02, abandoned=Abandoned.DROPPED, ejection=Ejecting.NGINX
    )
    with pytest.raises(InputError, match="--abandoned"):
        read_protection("none", 0.07, "kept")


def clients(**given: object) -> Clients:
    flags = dict.fromkeys(
        (
            "client", "timeout_s", "deadline_s", "attempts", "backoff", "retry_budget", "retry_burst",
            "retry_on", "hedge_s",
        )
    )  # fmt: skip
    return read_clients(**{**flags, **given})  # type: ignore[arg-type]


def test_clients_by_default_try_once() -> None:
    assert clients() == Clients()


@pytest.mark.parametrize("name", CLIENTS)
def test_a_preset_is_that_client_and_no_time_limit_of_its_own(name: str) -> None:
    assert CLIENTS[name].timeout_s is CLIENTS[name].deadline_s is CLIENTS[name].hedge_s is None
    found = clients(client=name, timeout_s=0.5)
    preset = CLIENTS[name]
    assert (found.attempts, found.budget, found.retried) == (preset.attempts, preset.budget, preset.retried)
    assert found.timeout_s == 0.5


def test_what_is_given_goes_before_the_preset() -> None:
    found = clients(
        client="envoy", attempts=5, backoff="10ms:1s", retry_budget="0.3", retry_burst=7.0, retry_on="crashed"
    )
    assert (found.attempts, found.backoff) == (5, Backoff(initial_s=0.01, max_s=1.0))
    assert found.budget == RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.3, tokens=7.0)
    assert found.retried == {Failure.CRASHED}


def test_a_burst_changes_the_budget_of_a_preset() -> None:
    assert clients(client="finagle", retry_burst=500.0).budget.tokens == 500.0
    assert clients(client="finagle").budget.tokens == 100.0
    with pytest.raises(InputError, match="--retry-burst"):
        clients(client="envoy", retry_burst=500.0)


def test_a_backoff_doubles_up_to_its_longest() -> None:
    backoff = Backoff(initial_s=0.1, max_s=0.5)
    assert [backoff.longest_s(retry) for retry in (1, 2, 3, 4, 9)] == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])
    assert Backoff(initial_s=0.1, max_s=9.0, multiplier=1.0).longest_s(5) == 0.1
    with pytest.raises(InputError, match="multiplier"):
        Backoff(initial_s=0.1, max_s=1.0, multiplier=0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"attempts": 0}, "attempts must be from 1 to 16, got 0"),
        ({"attempts": 17}, "attempts must be from 1 to 16, got 17"),
        ({"attempts": 2.0}, "attempts must be from 1 to 16, got 2.0"),
        ({"timeout_s": 0.0}, "timeout_s must be above 0 and finite, got 0"),
        ({"deadline_s": math.inf}, "deadline_s must be above 0 and finite, got inf"),
        ({"hedge_s": -0.1, "attempts": 2}, "hedge_s must be >= 0 and finite, got -0.1"),
        ({"hedge_s": math.inf, "attempts": 2}, "hedge_s must be >= 0 and finite, got inf"),
        ({"hedge_s": 0.1}, "a hedge is a second attempt"),
        ({"hedge_s": 0.1, "attempts": 2, "backoff": Backoff(initial_s=1.0, max_s=1.0)}, "sent after their delay"),
    ],
)  # fmt: skip
def test_clients_out_of_range_are_refused(given: dict[str, Any], said: str) -> None:
    assert Clients(attempts=16, hedge_s=0.0).attempts == 16
    with pytest.raises(DomainError, match=said):
        Clients(**given)


def test_a_request_is_undecided_while_its_client_waits_or_backs_off() -> None:
    """For three tries of 1 s with 0.5 s and 1 s between them, or up to the deadline."""
    backoff = Backoff(initial_s=0.5, max_s=9.0)
    tries = Clients(timeout_s=1.0, attempts=3, backoff=backoff)
    assert tries.undecided_s == 4.5
    assert replace(tries, backoff=None).undecided_s == 3.0
    assert replace(tries, deadline_s=4.0).undecided_s == 4.0
    assert replace(tries, deadline_s=5.0).undecided_s == 4.5
    assert Clients(deadline_s=2.0).undecided_s == 2.0
    assert Clients().undecided_s == 0.0


@pytest.mark.parametrize("name", ["ratio", "cost", "tokens", "tokens_per_s", "at_least"])
@pytest.mark.parametrize("value", [-1, math.inf, math.nan])
def test_a_budget_has_no_negative_part(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        RetryBudget(**{name: value})


@pytest.mark.parametrize("name", ["late_margin_s", "codel_target_s", "codel_interval_s"])
def test_protection_has_no_negative_times(name: str) -> None:
    with pytest.raises(InputError, match=name):
        Protection(**{name: -0.1})


def test_by_default_nothing_protects_a_fleet_and_clients_try_once() -> None:
    """CoDel's 5 ms and 100 ms are the defaults of folly."""
    assert Protection() == Protection(
        shedding=Shedding.NONE,
        late_margin_s=0.0,
        codel_target_s=0.005,
        codel_interval_s=0.1,
        abandoned=Abandoned.SERVED,
        ejection=Ejecting.NONE,
    )
    assert RetryBudget() == RetryBudget(
        kind=BudgetKind.NONE, ratio=0.0, cost=1.0, tokens=100.0, tokens_per_s=0.0, at_least=3
    )
    assert Clients() == Clients(attempts=1, retried=frozenset(Failure), budget=RetryBudget())
    assert Backoff(initial_s=1.0, max_s=9.0).multiplier == 2.0


def test_presets_are_what_those_clients_document() -> None:
    """Figures from their own files: budgets, attempts and what they retry."""
    assert CLIENTS["istio"].attempts == 3
    assert Failure.TIMED_OUT not in CLIENTS["istio"].retried
    assert (CLIENTS["envoy"].budget.ratio, CLIENTS["envoy"].budget.at_least) == (0.2, 3)
    assert (CLIENTS["grpc"].budget.tokens, CLIENTS["grpc"].budget.ratio) == (10.0, 0.1)
    aws = CLIENTS["aws"].budget
    assert (aws.kind, aws.tokens, aws.cost, aws.ratio) == (BudgetKind.SUCCESSES, 500.0, 14.0, 1.0)
    for name in ("linkerd", "finagle"):
        budget = CLIENTS[name].budget
        assert (budget.kind, budget.ratio, budget.tokens_per_s) == (BudgetKind.FIRST_TRIES, 0.2, 10.0)
