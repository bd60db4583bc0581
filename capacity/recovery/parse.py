"""Parsing: flags of `capacity stress` as its nouns, and the settings of well-known clients."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from capacity.errors import InputError, quoted
from capacity.question.parse import read_choice, read_share, seconds_of
from capacity.recovery.disturbance import Disturbances, Pauses, RequestClass
from capacity.recovery.faults import ColdCache
from capacity.recovery.protection import SLOW_START_MAX_S, Abandoned, Ejecting, Protection, Shedding
from capacity.recovery.trigger import ALL, Trigger, TriggerKind
from capacity.traffic.clients import Backoff, BudgetKind, Clients, Failure, RetryBudget
from capacity.traffic.workload import ClosedPopulation, Demand
from capacity.units import is_number, parse_duration_s, parse_rate_rps

AnyDemand = TypeVar("AnyDemand", bound=Demand)

_TRIGGERS = (
    "spike:2x,30s, lose:1,60s, crash:1,30s, hang:1,60s, restart:1,20s, restart:all,20s, spot:1,2min,10min, "
    "pause:500ms,10/min, straggler:3x,60s or rollout"
)
_PAUSED_FOR_S = 60.0  # length of a pause, if the trigger does not say


def read_trigger(text: str) -> Trigger:
    """Trigger from `--trigger`.

    >>> read_trigger("spike:2x,30s").factor, read_trigger("lose:1,60s").replicas
    (2.0, 1)
    """
    name, _, rest = text.strip().partition(":")
    if name not in set(TriggerKind):
        raise InputError(f"--trigger {quoted(text)} is unknown; use {_TRIGGERS}")
    kind = TriggerKind(name)
    parts = [part.strip() for part in rest.split(",")] if rest else []
    expected = {TriggerKind.ROLLOUT: (0,), TriggerKind.PAUSE: (2, 3), TriggerKind.SPOT: (3,)}.get(kind, (2,))
    if len(parts) not in expected:
        raise InputError(f"--trigger {quoted(text)} does not say all; write it as {_TRIGGERS}")
    if kind is TriggerKind.ROLLOUT:
        return Trigger(kind=kind)
    if kind is TriggerKind.PAUSE:
        lasting_s = parse_duration_s(parts[2], "--trigger") if len(parts) == 3 else _PAUSED_FOR_S
        return Trigger(
            kind=kind,
            lasting_s=lasting_s,
            pause_s=parse_duration_s(parts[0], "--trigger"),
            pauses_per_s=parse_rate_rps(parts[1], "--trigger"),
        )
    lasting_s = parse_duration_s(parts[-1], "--trigger")
    if kind is TriggerKind.SPOT:
        notice_s = parse_duration_s(parts[1], "--trigger")
        return Trigger(kind=kind, lasting_s=lasting_s, replicas=_count(parts[0], text), notice_s=notice_s)
    if kind in (TriggerKind.SPIKE, TriggerKind.STRAGGLER):
        return Trigger(kind=kind, lasting_s=lasting_s, factor=_factor(parts[0], text))
    is_all = kind is TriggerKind.RESTART and parts[0] == "all"
    return Trigger(kind=kind, lasting_s=lasting_s, replicas=ALL if is_all else _count(parts[0], text))


def _factor(text: str, whole: str) -> float:
    digits = text.removesuffix("x")
    if not is_number(digits) or digits == text:
        raise InputError(f"--trigger {quoted(whole)} needs a factor such as 2x, got {quoted(text)}")
    return float(digits)


def _count(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        raise InputError(
            f"--trigger {quoted(whole)} needs a number of replicas such as 1, got {quoted(text)}"
        )
    return int(text)


def read_cold(text: str) -> ColdCache:
    """Cold cache from `--cold-batches 20:3x`: the number of batches, and their factor.

    >>> read_cold("20:3x").factor
    3.0
    """
    count, _, factor = str(text).strip().partition(":")
    digits = factor.removesuffix("x")
    if (
        not (count.isascii() and count.isdigit() and len(count) <= 7)
        or not is_number(digits)
        or digits == factor
    ):
        raise InputError(f"--cold-batches {quoted(text)} is none; write 20:3x")
    return ColdCache(batches=int(count), factor=float(digits))


def read_pauses(text: str) -> Pauses:
    """Pauses from `--pause 200ms,6/min`: their length, and their rate while a replica runs.

    >>> read_pauses("200ms,6/min").per_s
    0.1
    """
    length, _, rate = text.partition(",")
    if not rate:
        raise InputError(f"--pause {quoted(text)} does not say how often; write 200ms,6/min")
    return Pauses(length_s=parse_duration_s(length, "--pause"), per_s=parse_rate_rps(rate, "--pause"))


def read_class(text: str) -> RequestClass:
    """Class from `--class long:share=0.02,scale=8`.

    >>> read_class("long:share=2%,scale=8").share
    0.02
    """
    name, _, rest = text.partition(":")
    settings = dict(part.partition("=")[::2] for part in rest.split(","))
    if not name.isidentifier() or set(settings) != {"share", "scale"} or not is_number(settings["scale"]):
        raise InputError(f"--class {quoted(text)} is none; write long:share=0.02,scale=8")
    return RequestClass(
        name=name, share=read_share(settings["share"], "--class share"), scale=float(settings["scale"])
    )


def read_disturbances(pause: str | None, classes: Iterable[str]) -> Disturbances | None:
    """Disturbances from `--pause` and `--class`; None if neither is given."""
    read = tuple(read_class(one) for one in classes)
    if pause is None and not read:
        return None
    return Disturbances(pauses=None if pause is None else read_pauses(pause), classes=read)


def read_backoff(text: str) -> Backoff:
    """Backoff from `--backoff 50ms:10s`: the wait before the first retry, and the longest.

    >>> read_backoff("50ms:10s").max_s
    10.0
    """
    first, _, most = text.partition(":")
    initial_s = parse_duration_s(first, "--backoff")
    return Backoff(initial_s=initial_s, max_s=parse_duration_s(most, "--backoff") if most else initial_s)


def read_budget(text: str | float, burst: float | None) -> RetryBudget:
    """Retry budget from `--retry-budget`: 0.1, successes:0.5, concurrent:0.2 or throttle:10,0.1.

    >>> read_budget("successes:0.5", None).kind.value, read_budget(0.1, None).tokens
    ('successes', 100.0)
    """
    name, _, rest = str(text).partition(":")
    if not rest:
        name, rest = (name, "") if name == BudgetKind.NONE else (BudgetKind.FIRST_TRIES.value, name)
    kind = read_choice(BudgetKind, name, "--retry-budget")
    numbers = rest.split(",") if rest else []
    count = {BudgetKind.NONE: 0, BudgetKind.THROTTLE: 2}.get(kind, 1)
    if len(numbers) != count or not all(is_number(one) for one in numbers):
        raise InputError(
            f"--retry-budget {quoted(text)} is none; write 0.1, successes:0.5, concurrent:0.2, "
            "throttle:10,0.1 or none"
        )
    if kind is BudgetKind.THROTTLE:
        if burst is not None:
            raise InputError("--retry-burst is left out with throttle:TOKENS,RATIO, which has its own")
        return RetryBudget(kind=kind, tokens=float(numbers[0]), ratio=float(numbers[1]))
    budget = RetryBudget(kind=kind, ratio=float(numbers[0])) if numbers else RetryBudget()
    return budget if burst is None else _with_burst(budget, burst)


def _with_burst(budget: RetryBudget, burst: float) -> RetryBudget:
    """The budget with `--retry-burst`: the largest number of tokens, and the number at the start."""
    if budget.kind in (BudgetKind.NONE, BudgetKind.CONCURRENT):
        raise InputError(
            "--retry-burst is the size of a budget of tokens; give --retry-budget 0.1 or successes:0.5 too"
        )
    return replace(budget, tokens=burst)


def read_retried(names: str) -> frozenset[Failure]:
    """Failures from `--retry-on rejected,timed_out,crashed`."""
    return frozenset(read_choice(Failure, name.strip(), "--retry-on") for name in names.split(","))


def read_clients(
    *,
    client: str | None,
    timeout_s: float | None,
    deadline_s: float | None,
    attempts: int | None,
    backoff: str | None,
    retry_budget: str | float | None,
    retry_burst: float | None,
    retry_on: str | None,
    hedge_s: float | None,
) -> Clients:
    """Clients from all client flags; given ones override the preset."""
    if client is not None and client not in CLIENTS:
        raise InputError(f"--client {quoted(client)} is unknown; use one of {', '.join(CLIENTS)}")
    base = Clients() if client is None else CLIENTS[client]
    if attempts is None and hedge_s is not None and base.attempts == 1:
        attempts = 2  # a hedge is the second
    if retry_budget is not None and client is None and (attempts or 1) == 1:
        raise InputError("--retry-budget pays for retries, and there are none; give --attempts 3 too")
    budget = base.budget if retry_budget is None else read_budget(retry_budget, retry_burst)
    if retry_budget is None and retry_burst is not None:
        budget = _with_burst(budget, retry_burst)
    return Clients(
        timeout_s=timeout_s,
        deadline_s=deadline_s,
        attempts=base.attempts if attempts is None else attempts,
        backoff=read_backoff(backoff)
        if backoff is not None
        else None
        if hedge_s is not None
        else base.backoff,
        budget=budget,
        retried=base.retried if retry_on is None else read_retried(retry_on),
        hedge_s=hedge_s,
    )


_CLIENTS = (
    "client",
    "timeout",
    "deadline",
    "attempts",
    "backoff",
    "retry_budget",
    "retry_burst",
    "retry_on",
    "hedge",
)


def clients_of(given: Mapping[str, Any]) -> Clients:
    """Clients from the keywords of a verb."""
    return read_clients(
        client=given["client"],
        timeout_s=seconds_of(given, "timeout"),
        deadline_s=seconds_of(given, "deadline"),
        attempts=given["attempts"],
        backoff=given["backoff"],
        retry_budget=given["retry_budget"],
        retry_burst=given["retry_burst"],
        retry_on=given["retry_on"],
        hedge_s=seconds_of(given, "hedge"),
    )


def has_clients(given: Mapping[str, Any]) -> bool:
    """Whether any flag of clients is given."""
    return any(given.get(one) is not None for name in _CLIENTS for one in (name, f"{name}_s"))


def with_clients(demand: AnyDemand, given: Mapping[str, Any]) -> AnyDemand:
    """The demand with the clients that a verb is asked about, if it is.

    Raises:
        InputError: flags that change nothing, or of users in a closed loop.
    """
    if not has_clients(given):
        return demand
    if isinstance(demand, ClosedPopulation):
        raise InputError(
            "users in a closed loop wait for their answers, however long; leave out --timeout, --hedge and the other "
            "flags of clients, or give --rate"
        )
    from capacity.recovery.effect import require_clients_matter

    clients = clients_of(given)
    require_clients_matter(given, clients)
    return cast("AnyDemand", replace(demand, clients=clients))


def read_shedding(text: str) -> tuple[Shedding, float | None]:
    """Shedding from `--shed none|late|late:50ms|codel|lifo|new:8`, and its number; None if it has none.

    That of `late` is a margin in seconds, and that of `new`, which must have one, a number of requests.
    """
    name, _, number = text.partition(":")
    shedding = read_choice(Shedding, name, "--shed")
    if shedding is Shedding.NEW:
        if not (number.isascii() and number.isdecimal() and 1 <= int(number[:9]) == int(number)):
            raise InputError(
                f"--shed {quoted(text)} does not say how many requests may wait where a session begins, at least 1; "
                "write it as new:8"
            )
        return shedding, int(number)
    if number and shedding is not Shedding.LATE:
        raise InputError(f"--shed {quoted(text)} takes no margin; write {name}")
    return shedding, parse_duration_s(number, "--shed") if number else None


def read_slow_start_s(given: Mapping[str, Any]) -> int:
    """Seconds from `--slow-start`; 0 without it.

    >>> read_slow_start_s({"slow_start": "1min"})
    60

    Raises:
        InputError: a part of a second, or more than a day.
    """
    seconds = seconds_of(given, "slow_start") or 0.0
    if not (0.0 <= seconds <= SLOW_START_MAX_S and seconds == int(seconds)):
        raise InputError(
            f"--slow-start must be whole seconds, in which HAProxy counts it, and at most {SLOW_START_MAX_S} of them; "
            f"got {seconds:g} s, so give 30s"
        )
    return int(seconds)


def read_protection(
    shed: str, late_margin_s: float, abandoned: str, ejection: str | None = None, slow_start_s: int = 0
) -> Protection:
    """Protection from flags; the default margin of `--shed late` is `late_margin_s`."""
    shedding, number = read_shedding(shed)
    is_new = shedding is Shedding.NEW
    return Protection(
        shedding=shedding,
        late_margin_s=late_margin_s if number is None or is_new else number,
        new_max=int(number) if number is not None and is_new else 1,
        abandoned=read_choice(Abandoned, abandoned, "--abandoned"),
        ejection=Ejecting.NONE if ejection is None else read_choice(Ejecting, ejection, "--ejection-rule"),
        slow_start_s=slow_start_s,
    )


_BROKEN = frozenset({Failure.REJECTED, Failure.CRASHED})
# Timeouts stay as the user gives them.
CLIENTS: Mapping[str, Clients] = {
    # Istio: 2 retries, 25 ms and more between them, on 503 and connect failures; not on timeouts.
    # istio/api, destination_rule.proto and its defaults (read 2025).
    "istio": Clients(attempts=3, backoff=Backoff(initial_s=0.025, max_s=0.25), retried=_BROKEN),
    # Envoy: retry_budget of 20 % of what is active and pending, at least 3. circuit_breaker.proto.
    "envoy": Clients(
        attempts=3,
        backoff=Backoff(initial_s=0.025, max_s=0.25),
        budget=RetryBudget(kind=BudgetKind.CONCURRENT, ratio=0.2, at_least=3),
    ),
    # gRPC with retryThrottling as in the example of proposal A6: 10 tokens, 0.1 a success.
    "grpc": Clients(
        attempts=4,
        backoff=Backoff(initial_s=0.1, max_s=1.0),
        budget=RetryBudget(kind=BudgetKind.THROTTLE, ratio=0.1, tokens=10.0),
        retried=_BROKEN,
    ),
    # AWS SDK, standard mode of 2026: 500 tokens, a retry costs 14, a success gives 1.
    "aws": Clients(
        attempts=3,
        backoff=Backoff(initial_s=0.05, max_s=20.0),
        budget=RetryBudget(kind=BudgetKind.SUCCESSES, ratio=1.0, cost=14.0, tokens=500.0),
    ),
    # Finagle and Linkerd: 20 % of first tries and 10 retries a second, which expire after 10 s.
    "linkerd": Clients(
        attempts=3,
        budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens=100.0, tokens_per_s=10.0),
    ),
    "finagle": Clients(
        attempts=3,
        budget=RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=0.2, tokens=100.0, tokens_per_s=10.0),
    ),
}
