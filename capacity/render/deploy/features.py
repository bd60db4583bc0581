"""Features of a plan: a target's file sets each of them, says where to set it, or refuses the plan."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from capacity.answer.saved_autoscaler import read_autoscaler
from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.question.autoscaler import Autoscaler
from capacity.question.plan import Plan, Routing, plan_words, rejects
from capacity.recovery.protection import Shedding
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.recovery import Recovery, read_recovery
from capacity.server.batch.batching import Batching
from capacity.traffic.clients import ALL_FAILURES, BudgetKind, Clients
from capacity.traffic.workload import is_patient
from capacity.units import format_duration

AnyPlan = Fleet | SavedPlan


class Feature(StrEnum):
    """A feature of a plan; each value says who sets it if no target does."""

    REPLICAS = "of what starts the servers"
    ROUTING = "of the balancer in front"
    SLOW_START = "of a balancer that weighs its servers"
    BATCH_SIZE = "of the server"
    BATCH_WAIT = "of the server's batching"
    PREFERRED_SIZES = "of the server's batches"
    BATCHING = "of the batching server"
    ENGINE = "of the engine"
    INSTANCES = "of the server on each device"
    QUEUE_LIMIT = "of the server's queue"
    OUTSTANDING_MAX = "of a balancer that holds requests back"
    SHED_LATE = "of the server, as it takes a batch"
    SHED_CODEL = "of a server that sheds by controlled delay, which no target here is"
    SHED_LIFO = "of a server that serves the newest first, which no target here is"
    SHED_NEW = "of what admits requests to the engines, which no target here writes"
    SPARE = "of what drains and updates the servers"
    ZONES = "of what places the servers"
    UPDATES = "of what updates the servers"
    GROWTH = "of an autoscaler"
    AUTOSCALER = "of the autoscaler that was confirmed"
    ATTEMPTS = "of the clients"
    BACKOFF = "of the clients' retries"
    BUDGET = "of what pays for retries"
    RETRIED = "of the clients' choice of retries"
    DEADLINE = "of the clients' requests"


_SHED = {
    Shedding.LATE: Feature.SHED_LATE,
    Shedding.CODEL: Feature.SHED_CODEL,
    Shedding.LIFO: Feature.SHED_LIFO,
    Shedding.NEW: Feature.SHED_NEW,
}


SHEDDING = frozenset(_SHED.values())
RETRIES = frozenset({Feature.ATTEMPTS, Feature.BACKOFF, Feature.BUDGET, Feature.RETRIED, Feature.DEADLINE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a target's file does with features; it says of the others that it does not set them.

    Attributes:
        sets: features that the file sets.
        says: features that the target's own notes explain.
        refuses: features that the target cannot have, so that the file would be for another plan.
    """

    sets: Set[Feature] = frozenset()
    says: Set[Feature] = frozenset()
    refuses: Set[Feature] = frozenset()


def features_of(plan: AnyPlan) -> dict[Feature, str]:
    """The features of a plan, each with its value in words."""
    recovery = plan.recovery if isinstance(plan, Fleet) else read_recovery(plan)
    found = dict(_of_fleet(plan) if isinstance(plan, Fleet) else _of_engines(plan, recovery))
    saved = plan.saved if isinstance(plan, Fleet) else plan
    if recovery is None:
        workload = saved.question.workload
        return found if is_patient(workload) else found | dict(_of_clients(workload.clients))
    if recovery.shed is not None:
        found[_SHED[recovery.shedding]] = f"--shed {recovery.shed}"
    if recovery.slow_start_s:
        found[Feature.SLOW_START] = (
            f"a slow start of {format_duration(recovery.slow_start_s)} for replicas that come back"
        )
    found |= _of_clients(recovery.clients)
    saves = _saves(recovery)
    if saves in found:
        found[saves] += ", without which the fleet does not recover"
    return found


def unset_notes(plan: AnyPlan, target: str) -> Iterator[str]:
    """Features that the file of a target does not set, and where to set them.

    Raises:
        InputError: the target cannot have a feature of the plan.
    """
    from capacity.render.deploy.registry import target_of

    found, has = target_of(target, plan), features_of(plan)
    assert found is not None  # noqa: S101  (its file is being written)
    covers = found.COVERS
    for feature in has.keys() & covers.refuses:
        raise InputError(
            f"--target {target} has no {has[feature]}; plan with --shed late or --queue-limit in its place, or take "
            "more replicas"
        )
    places: dict[str, list[str]] = {}
    for feature, words in has.items():
        if feature not in covers.sets | covers.says:
            places.setdefault(_place(feature, plan), []).append(words)
    if places:
        yield (
            "Not set by this file: "
            + "; ".join(f"{listed(a)} ({where})" for where, a in places.items())
            + "."
        )


def clients_in_words(clients: Clients) -> str:
    """Number of attempts, their timeout, and the budget that pays for retries.

    >>> clients_in_words(Clients(timeout_s=0.5, attempts=3))
    '3 attempts of 500 ms each, budget none'
    """
    attempts = counted(clients.attempts, "attempt")
    budget = f"budget {clients.budget.kind}"
    if clients.budget.kind is not BudgetKind.NONE:
        budget += f" {clients.budget.ratio:g}"
    return f"{attempts} of {format_duration(clients.timeout_s or 0.0)} each, {budget}"


def _of_clients(clients: Clients) -> Iterator[tuple[Feature, str]]:
    attempts = counted(clients.attempts, "attempt")
    each = "" if clients.timeout_s is None else f" of {format_duration(clients.timeout_s)} each"
    hedged = (
        "" if clients.hedge_s is None else f" {format_duration(clients.hedge_s)} apart while none is answered"
    )
    yield Feature.ATTEMPTS, f"{attempts}{each}{hedged}"
    if clients.deadline_s is not None:
        yield Feature.DEADLINE, f"a deadline of {format_duration(clients.deadline_s)} for all attempts"
    if clients.attempts == 1 or clients.hedge_s is not None:
        return
    backoff, budget = clients.backoff, clients.budget
    yield (
        Feature.BACKOFF,
        "retries at once"
        if backoff is None
        else f"a backoff of {format_duration(backoff.initial_s)} up to {format_duration(backoff.max_s)}",
    )
    is_free = budget.kind is BudgetKind.NONE
    yield Feature.BUDGET, "no retry budget" if is_free else f"a retry budget ({budget.kind} {budget.ratio:g})"
    if clients.retried != ALL_FAILURES:
        retried = sorted(one.value for one in clients.retried)
        yield Feature.RETRIED, f"retries only of {listed(retried, 'or')} attempts"


def _saves(recovery: Recovery) -> Feature | None:
    """The feature without which the fleet does not recover; None if it recovers as it is."""
    by_flag = {
        "--retry-budget": Feature.BUDGET,
        "--queue-limit": Feature.QUEUE_LIMIT,
        "--slow-start": Feature.SLOW_START,
        "--shed": _SHED.get(recovery.shedding),
    }
    return by_flag.get((recovery.setting or "").partition(" ")[0])


def _of_fleet(fleet: Fleet) -> Iterator[tuple[Feature, str]]:
    for feature, words in _WORDS.items():
        if (told := words(fleet)) is not None:
            yield feature, told


def _of_engines(saved: SavedPlan, recovery: Recovery | None) -> Iterator[tuple[Feature, str]]:
    plan = saved.plan
    survival, scaled = saved.question.survival, read_autoscaler(saved)
    if scaled is None or not scaled.is_confirmed:
        yield Feature.REPLICAS, counted(plan.replicas, "engine")
    else:
        yield Feature.AUTOSCALER, _autoscaler_in_words(scaled.autoscaler)
    if survival.spare:
        yield Feature.SPARE, f"at most {counted(survival.spare, 'engine')} gone at once"
    if survival.zones is not None:
        yield Feature.ZONES, f"engines spread evenly over {survival.zones} zones"
    if survival.unavailable_share is not None:
        yield (
            Feature.UPDATES,
            f"updates of at most {100.0 * survival.unavailable_share:.4g} % of the engines at once",
        )
    if survival.spike is not None:
        yield (
            Feature.GROWTH,
            f"new engines that serve within {format_duration(survival.spike.startup_time_s)} of a spike of "
            f"{survival.spike.factor:g}x",
        )
    if plan.replicas > 1:
        yield Feature.ROUTING, f"{plan.routing.value} routing"
    yield (
        Feature.ENGINE,
        f"{plan.sequences_max} sequences and {plan.batched_tokens_max} tokens a step in each engine",
    )
    if limit := _queue_limit(plan if recovery is None else recovery.plan):
        yield Feature.QUEUE_LIMIT, limit


def _place(feature: Feature, plan: AnyPlan) -> str:
    """Where a feature is set: the targets that do so for such a plan, or else who does."""
    from capacity.render.deploy.registry import TARGETS, sets

    names = [name for name, forms in TARGETS.items() if any(sets(one, feature, plan) for one in forms)]
    return f"--target {listed(names, 'or')}" if names else feature.value


def listed(words: list[str], last: str = "and") -> str:
    """Words in a list.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def counted(number: int, what: str) -> str:
    """A number and its noun.

    >>> counted(1, "replica"), counted(5, "server")
    ('1 replica', '5 servers')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def _routing(fleet: Fleet) -> str | None:
    if fleet.plan.replicas == 1:
        return None
    is_shared = fleet.plan.routing is Routing.SHARED_QUEUE
    return "one queue for all replicas" if is_shared else f"{fleet.plan.routing.value} routing"


def _batching(fleet: Fleet) -> str | None:
    return None if fleet.plan.batching is Batching.TRITON else f"{fleet.plan.batching.value} batching"


def _instances(fleet: Fleet) -> str | None:
    each = fleet.profile.instances_per_device
    return f"{each} replicas on each device" if each > 1 else None


def _queue_limit(plan: Plan) -> str | None:
    return f"a queue limit of {plan_words(plan)['queue limit']}" if rejects(plan) else None


def _outstanding_max(fleet: Fleet) -> str | None:
    most = fleet.plan.outstanding_max
    return None if most is None else f"at most {most} requests outstanding at each replica"


def _spare(fleet: Fleet) -> str | None:
    spare = fleet.saved.question.survival.spare
    return f"at most {counted(spare, 'replica')} gone at once" if spare else None


def _zones(fleet: Fleet) -> str | None:
    zones = fleet.saved.question.survival.zones
    return None if zones is None else f"replicas spread evenly over {zones} zones"


def _updates(fleet: Fleet) -> str | None:
    share = fleet.saved.question.survival.unavailable_share
    return None if share is None else f"updates of at most {100.0 * share:.4g} % of the replicas at once"


def _growth(fleet: Fleet) -> str | None:
    if fleet.growth is None or fleet.startup_s is None:
        return None
    return (
        f"new replicas that serve within {format_duration(fleet.startup_s)} of a spike of {fleet.growth:g}x"
    )


def _autoscaler(fleet: Fleet) -> str | None:
    return None if fleet.autoscaler is None else _autoscaler_in_words(fleet.autoscaler)


def _autoscaler_in_words(scaler: Autoscaler) -> str:
    return f"an autoscaler at {scaler.target} with {scaler.replicas_min} to {scaler.replicas_max} replicas"


_WORDS: Mapping[Feature, Callable[[Fleet], str | None]] = {
    Feature.REPLICAS: lambda fleet: None if fleet.autoscaler else counted(fleet.plan.replicas, "replica"),
    Feature.ROUTING: _routing,
    Feature.BATCH_SIZE: lambda fleet: f"batches up to {fleet.plan.batch_size_max}",
    Feature.BATCH_WAIT: lambda fleet: f"a batch wait of {format_duration(fleet.plan.batch_wait_max_s)}",
    Feature.PREFERRED_SIZES: lambda fleet: fleet.plan.preferred_text or None,
    Feature.BATCHING: _batching,
    Feature.INSTANCES: _instances,
    Feature.QUEUE_LIMIT: lambda fleet: _queue_limit(fleet.plan),
    Feature.OUTSTANDING_MAX: _outstanding_max,
    Feature.SPARE: _spare,
    Feature.ZONES: _zones,
    Feature.UPDATES: _updates,
    Feature.GROWTH: _growth,
    Feature.AUTOSCALER: _autoscaler,
}
