"""Router: the routing of conversations as users type it, `prefix:llm-d,index=exact,gate=5s`, and its options."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from capacity.errors import InputError, quoted
from capacity.question.plan import Routing
from capacity.units import is_number, parse_duration_s, typed_duration

SESSION_HEADER = "x-session-id"  # tells sessions apart, for routers that set no cookie
EXACT = "exact"
BLOCKS = "blocks"
_COUNT_MAX = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterRules:
    """What the routers of conversations can be told; each reads its own part.

    Attributes:
        index: what a router believes of a cache: the contents that a replica was sent last, as many as it has blocks
            (`BLOCKS`) or a number of them, or those that its cache holds now (`EXACT`).
        gate_s: prefill ahead of a request at the replicas that know its prompt, beyond that at the others, from which
            on all are considered; 0 never. [s]
        sticky: share of a prompt that a replica must know to be among those that know it.
        queue, kv, match, cold: weights of the scores.
        read_s: time between two readings of queues and KV use. [s]
        cache_threshold: share of a prompt above which the replica that knows most of it is chosen.
        balance_abs, balance_rel: how many requests more, and how many times as many, the busiest replica must have
            than the least busy one for load alone to decide.
        forget_s: time without a turn after which a session is forgotten. [s]
        servers: addresses of the engines in the router's file, in its order; empty if they are as `capacity render`
            writes them.
    """

    index: int | str = BLOCKS
    gate_s: float = 18.0
    sticky: float = 0.8
    queue: float = 2.0
    kv: float = 2.0
    match: float = 3.0
    cold: float = 2.0
    read_s: float = 0.05
    cache_threshold: float = 0.3
    balance_abs: int = 64
    balance_rel: float = 1.5
    forget_s: float = 300.0
    servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Option:
    """One option: the field that it sets, how its text is read, and the text of its default."""

    field: str
    read: Callable[[str, str], Any]
    default: str


def _period_s(text: str, name: str) -> float:
    found = parse_duration_s(text, name)
    if found == 0.0:
        raise InputError(f"{name} must be > 0, got {quoted(text)}")
    return found


def _number(text: str, name: str) -> float:
    if not is_number(text) or not 0.0 <= float(text) <= _COUNT_MAX:
        raise InputError(f"{name} {quoted(text)} is not a number from 0 on")
    return float(text)


def _share(text: str, name: str) -> float:
    if not is_number(text) or not 0.0 <= float(text) <= 1.0:
        raise InputError(f"{name} {quoted(text)} is not a share from 0 to 1")
    return float(text)


def _count(text: str, name: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text[:12]) > _COUNT_MAX:
        raise InputError(f"{name} {quoted(text)} is not a whole number up to {_COUNT_MAX}")
    return int(text)


def _index(text: str, name: str) -> int | str:
    if text in (EXACT, BLOCKS):
        return text
    found = _count(text, name) if text.isdecimal() else 0
    if found < 1:
        raise InputError(
            f"{name} {quoted(text)} is not {BLOCKS}, {EXACT} or a number of contents, at least 1"
        )
    return found


def _servers(text: str, name: str) -> tuple[str, ...]:
    found = tuple(text.split("+"))
    wrong = next((one for one in found if not re.fullmatch(r"[\w.\-\[\]:/]+", one, re.ASCII)), None)
    if wrong is not None:
        raise InputError(
            f"{name} {quoted(text)} is not a list of addresses such as 10.0.0.1:8000+10.0.0.2:8000"
        )
    if len(set(found)) < len(found):
        raise InputError(f"{name} {quoted(text)} names an address twice")
    return found


_INDEX = _Option("index", _index, BLOCKS)
# By the names of the routers' own configuration where these are short.
_OPTIONS: Mapping[Routing, Mapping[str, _Option]] = {
    Routing.SESSION_COOKIE: {"forget": _Option("forget_s", _period_s, "300s")},
    Routing.SESSION_NGINX: {"servers": _Option("servers", _servers, "those that capacity render writes")},
    Routing.PREFIX_LLM_D: {
        "index": _INDEX,
        "gate": _Option("gate_s", parse_duration_s, "18s"),
        "sticky": _Option("sticky", _share, "0.8"),
    },
    Routing.PREFIX_LLM_D_SCORES: {
        "index": _INDEX,
        "queue": _Option("queue", _number, "2"),
        "kv": _Option("kv", _number, "2"),
        "match": _Option("match", _number, "3"),
        "cold": _Option("cold", _number, "2"),
        "read": _Option("read_s", _period_s, "50ms"),
    },
    Routing.PREFIX_SGLANG: {
        "cache-threshold": _Option("cache_threshold", _share, "0.3"),
        "balance-abs": _Option("balance_abs", _count, "64"),
        "balance-rel": _Option("balance_rel", _number, "1.5"),
    },
}


def parse_routing(text: str, flag: str = "--routing") -> tuple[Routing, RouterRules | None]:
    """A routing, and its options if any is set.

    Raises:
        InputError: an unknown routing or option, an option twice, or a value that it cannot have.

    >>> parse_routing("random")
    (<Routing.RANDOM: 'random'>, None)
    >>> parse_routing("prefix:llm-d,gate=5s")[1].gate_s
    5.0
    """
    name, *parts = (part.strip() for part in text.split(","))
    named = {one.value: one for one in Routing}
    if name not in named:
        raise InputError(f"{flag} {quoted(name)} is unknown; use one of {', '.join(named)}")
    if not parts:
        return named[name], None
    set_to: dict[str, Any] = {}
    for part in parts:
        key, value = _read_option(named[name], part, flag)
        if key in set_to:
            raise InputError(
                f"{flag} {quoted(text)} sets {quoted(part.partition('=')[0].strip())} twice; keep one"
            )
        set_to[key] = value
    return named[name], RouterRules(**set_to)


def _read_option(routing: Routing, part: str, flag: str) -> tuple[str, Any]:
    """The field and the value of an option."""
    name, _, value = (one.strip() for one in part.partition("="))
    known = _OPTIONS.get(routing, {})
    if name not in known:
        listed = ", ".join(f"{key}={one.default}" for key, one in known.items())
        has = f"its options and their defaults are {listed}" if known else "it has none"
        raise InputError(f"{flag} {routing} has no option {quoted(name)}; {has}")
    option = known[name]
    return option.field, option.read(value, f"{flag} {routing}: {name}")


def routing_text(routing: Routing, options: RouterRules | None) -> str:
    """A routing with the options that differ from its defaults, as `parse_routing` reads it.

    >>> routing_text(*parse_routing("prefix:llm-d, index=exact, gate=18s"))
    'prefix:llm-d,index=exact'
    """
    usual, given = RouterRules(), options or RouterRules()
    changed = {one.name for one in fields(given) if getattr(given, one.name) != getattr(usual, one.name)}
    parts = [
        f"{name}={_option_text(option, getattr(given, option.field))}"
        for name, option in _OPTIONS.get(routing, {}).items()
        if option.field in changed
    ]
    return ",".join([routing.value, *parts])


def _option_text(option: _Option, value: Any) -> str:
    """The value of an option as it is typed."""
    if isinstance(value, tuple):
        return "+".join(value)
    return typed_duration(float(value)) if option.field.endswith("_s") else str(value)
