"""Effect: refuses a flag that would change nothing, with what would make it count."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from capacity.errors import InputError
from capacity.question.plan import Routing
from capacity.recovery.fluid import patience_s
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.traffic.clients import Clients, Failure
from capacity.units import format_duration

_UNSEEN = (TriggerKind.CRASH, TriggerKind.HANG)  # by the balancer, at first
_LOSES = (TriggerKind.LOSE, *_UNSEEN, TriggerKind.SPOT, TriggerKind.ROLLOUT)
_TAKES = (*_LOSES, TriggerKind.RESTART)  # which fails no attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The question about trouble, and the flags that ask it.

    Attributes:
        flags: names of the given flags, without `_s`.
        trigger: what goes wrong; None if clients are asked about as things are usually.
        routings: routings that the fleet may have.
        limits_queue: whether a full queue rejects.
        breaks_down: whether replicas also crash at random.
    """

    flags: frozenset[str]
    trigger: Trigger | None
    clients: Clients
    protection: Protection
    routings: Collection[Routing]
    limits_queue: bool
    breaks_down: bool = False

    @property
    def kind(self) -> TriggerKind | None:
        """Kind of the trigger."""
        return None if self.trigger is None else self.trigger.kind


def given_flags(given: Mapping[str, Any], names: Collection[str]) -> frozenset[str]:
    """Names that were given a value, as text or in seconds."""
    return frozenset(
        name for name in names if given.get(name) is not None or given.get(f"{name}_s") is not None
    )


def require_effect(asked: Effects) -> None:
    """Refuse flags that change nothing.

    Raises:
        InputError: there is one; the message says what to do about it.
    """
    for rule in _RULES:
        for message in rule(asked):
            raise InputError(message)


_OF_CLIENTS = ("client", "attempts", "backoff", "retry_budget", "retry_on", "hedge")


def limits_queue(given: Mapping[str, Any]) -> bool:
    """Whether flags limit queues, so that a full one rejects."""
    return given.get("queue_limit") is not None


def require_clients_matter(given: Mapping[str, Any], clients: Clients) -> None:
    """Refuse flags of clients that change nothing while nothing goes wrong.

    Raises:
        InputError: there is one; the message says what to do about it.
    """
    require_effect(
        Effects(
            flags=given_flags(given, _OF_CLIENTS),
            trigger=None,
            clients=clients,
            protection=Protection(),
            routings=(),
            limits_queue=limits_queue(given),
        )
    )


def _detection(asked: Effects) -> Iterator[str]:
    if "detection" not in asked.flags:
        return
    kind = asked.kind
    if kind not in _UNSEEN and not asked.breaks_down:
        yield (
            f"--detection is how long a crash or a hang goes unseen, and --trigger {kind} has neither; leave it out, "
            "or give --trigger crash:1,60s"
        )
    if all(routing is Routing.SHARED_QUEUE for routing in asked.routings):
        yield (
            "--detection is a balancer's, and replicas that share a queue have none; leave it out, or take "
            "another --routing"
        )


def _startup_time(asked: Effects) -> Iterator[str]:
    kind = asked.kind
    if "startup_time" in asked.flags and kind not in _TAKES:
        yield (
            "--startup-time is what a replica needs to come back, and "
            f"--trigger {kind} takes none away; leave it out, or give --trigger lose:1,60s"
        )


def _cold_batches(asked: Effects) -> Iterator[str]:
    kind = asked.kind
    if "cold_batches" in asked.flags and kind not in _TAKES and not asked.breaks_down:
        yield (
            "--cold-batches are those of a replica that has come back, and "
            f"--trigger {kind} takes none away; leave it out, or give --trigger lose:1,60s"
        )


def _slow_start(asked: Effects) -> Iterator[str]:
    if "slow_start" not in asked.flags or asked.breaks_down:
        return
    kind = asked.kind
    if kind not in _TAKES:
        yield (
            "--slow-start applies to replicas that come back, and "
            f"--trigger {kind} takes none away; leave it out, or give --trigger lose:1,60s"
        )
    if asked.trigger is not None and asked.trigger.hits_all:
        yield (
            "--slow-start leaves requests to the other replicas, and after --trigger restart:all there is no other, "
            "as all are back at once; leave it out, or give --trigger restart:1,20s"
        )


def _retries(asked: Effects) -> Iterator[str]:
    clients = asked.clients
    for name in ("backoff", "retry_budget", "retry_on"):
        if name in asked.flags and clients.attempts == 1:
            yield f"--{name.replace('_', '-')} is for retries, and there are none; give --attempts 3 too"
    named = "retry_on" in asked.flags and Failure.TIMED_OUT in clients.retried
    if named and not _tries_after_timeout(clients):
        yield (
            "--retry-on timed_out needs a --timeout shorter than the --deadline; give one, or leave out timed_out"
        )
    if ("attempts" in asked.flags or "client" in asked.flags) and not _may_try_again(asked):
        given = "--client" if "client" in asked.flags else f"--attempts {clients.attempts}"
        is_of_timeouts = Failure.TIMED_OUT in clients.retried
        mend = (
            "a --timeout, shorter than any --deadline"
            if is_of_timeouts
            else "a --queue-limit that rejects them"
        )
        yield f"{given} changes nothing, as no attempt fails that could be tried again; give {mend}"


def _tries_after_timeout(clients: Clients) -> bool:
    """Whether there is time for another attempt after one has timed out."""
    timeout_s, deadline_s = clients.timeout_s, clients.deadline_s
    return timeout_s is not None and (deadline_s is None or timeout_s < deadline_s)


def _may_try_again(asked: Effects) -> bool:
    """Whether an attempt may fail and be followed by another, or no other is asked for."""
    clients = asked.clients
    return (
        clients.attempts == 1
        or clients.hedge_s is not None
        or not clients.retried.isdisjoint(_failures(asked))
    )


def _failures(asked: Effects) -> Iterator[Failure]:
    """How attempts may fail while there is time for another."""
    if _tries_after_timeout(asked.clients):
        yield Failure.TIMED_OUT
    loses = asked.kind in _LOSES or asked.breaks_down
    if loses:  # a replica dies with its requests, or leaves none to route to
        yield Failure.CRASHED
    if (
        loses
        or asked.limits_queue
        or asked.protection.shedding in (Shedding.LATE, Shedding.CODEL, Shedding.NEW)
    ):
        yield Failure.REJECTED


def _hedge(asked: Effects) -> Iterator[str]:
    clients = asked.clients
    if clients.hedge_s is None:
        return
    waits_s = patience_s(clients)
    if waits_s is not None and clients.hedge_s >= waits_s:
        yield (
            f"--hedge {format_duration(clients.hedge_s)} is no shorter than what clients wait for, "
            f"{format_duration(waits_s)}, and sends nothing in time; give a shorter one"
        )


def _abandoned(asked: Effects) -> Iterator[str]:
    clients, abandoned = asked.clients, asked.protection.abandoned
    waits = patience_s(clients) is None and clients.hedge_s is None
    if "abandoned" in asked.flags and abandoned is not Abandoned.SERVED and waits:
        yield (
            f"--abandoned {abandoned} is about attempts that clients have given up, and these wait for ever; "
            "give --timeout or --deadline"
        )


def _late(asked: Effects) -> Iterator[str]:
    margin_s, wait_s = asked.protection.late_margin_s, patience_s(asked.clients)
    if asked.protection.shedding is Shedding.LATE and wait_s is not None and margin_s > wait_s:
        yield (
            f"--shed late turns everybody away with a margin of {format_duration(margin_s)} where clients "
            f"wait for {format_duration(wait_s)}; give a shorter one, such as late:{_half_typed(wait_s)}"
        )


def _half_typed(seconds: float) -> str:
    return format_duration(seconds / 2.0).replace(" ", "").replace("µ", "u")


_RULES: tuple[Callable[[Effects], Iterator[str]], ...] = (
    _detection,
    _startup_time,
    _cold_batches,
    _slow_start,
    _retries,
    _hedge,
    _abandoned,
    _late,
)
