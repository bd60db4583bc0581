"""Compare: reads the fleets to compare, saved or typed, and their common workload."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError, quoted
from capacity.files import located, printable, shown
from capacity.profile.profile import ServiceProfile
from capacity.question.comparison import Contender
from capacity.question.parse import read_batching
from capacity.question.plan import Batching, Plan, Routing
from capacity.question.stability import require_answerable
from capacity.traffic.workload import ClosedPopulation, Demand
from capacity.units import format_rate, parse_duration_s

CONTENDERS_MAX = 8
_KEYS = (
    "replicas",
    "batch",
    "wait",
    "routing",
    "batching",
    "preferred-sizes",
    "timer",
    "queue-limit",
    "profile",
)


def common_workload(plans: Sequence[SavedPlan], rate_rps: float | None) -> Demand:
    """The workload that all plans share, or all of them at the given rate.

    Raises:
        InputError: the plans have different workloads.
    """
    first = plans[0]
    workload = _at_rate(first, rate_rps)
    for plan in plans[1:]:
        other = _at_rate(plan, rate_rps)
        if other == workload:
            continue
        rates = [_rate_rps(demand) for demand in (workload, other)]
        if None not in rates and rates[0] != rates[1]:
            told = " and ".join(format_rate(rate or 0.0) for rate in rates)
            mend = f"({told}); give --rate to compare them at one rate"
        else:
            mend = "(other arrivals); make the plans for the same arrivals"
        raise InputError(f"{first.name} and {plan.name} are for different workloads {mend}")
    return workload


def _at_rate(plan: SavedPlan, rate_rps: float | None) -> Demand:
    workload = plan.question.workload
    if rate_rps is None:
        return workload
    if isinstance(workload, ClosedPopulation):
        raise InputError(f"{plan.name} is for users, not for a rate; leave --rate out")
    return replace(workload, arrival_rate_rps=rate_rps)


def _rate_rps(workload: Demand) -> float | None:
    return None if isinstance(workload, ClosedPopulation) else workload.arrival_rate_rps


def saved_contender(plan: SavedPlan, name: str) -> Contender:
    """The fleet of a saved plan."""
    return Contender(name=name, profile=plan.question.profile(plan.plan.profile), plan=plan.plan)


def parse_fleet(text: str, profiles: Sequence[ServiceProfile]) -> Contender:
    """A fleet from `replicas=4,batch=16,wait=2ms,routing=random,batching=torchserve,queue-limit=50,profile=NAME`
    and `preferred-sizes=4+8`.

    Args:
        profiles: profiles to choose from by name; the first if none is named.

    Raises:
        InputError: an unknown or repeated key, no replicas, or an invalid value.
    """
    fields = fields_of(text, _KEYS)
    where = f"--fleet {quoted(text)}"
    profile = profiles[0]
    if "profile" in fields:
        named = {one.name: one for one in profiles}
        if fields["profile"] not in named:
            raise InputError(f"{where} names none of the profiles; use one of {', '.join(list(named)[:5])}")
        profile = named[fields["profile"]]
    if "replicas" not in fields:
        raise InputError(f"{where} says nothing of replicas; replicas=4,batch=16 is a fleet")
    queue_limit = fields.get("queue-limit")
    try:
        routing = Routing(fields.get("routing", Routing.ROUND_ROBIN))
    except ValueError:
        raise InputError(f"{where} has an unknown routing; use one of {', '.join(Routing)}") from None
    rule = located(
        where,
        lambda: read_batching(
            fields.get("batching", Batching.TRITON), fields.get("preferred-sizes"), fields.get("timer")
        ),
    )
    plan = Plan(
        profile=profile.name,
        replicas=count_of(fields["replicas"], where),
        batch_size_max=count_of(fields["batch"], where) if "batch" in fields else profile.batch_size_max,
        batch_wait_max_s=parse_duration_s(fields.get("wait", "0s"), f"{where}: wait"),
        routing=routing,
        batching=rule.batching,
        preferred_sizes=rule.preferred_sizes,
        queue_limit=None if queue_limit is None else count_of(queue_limit, where),
    )
    return Contender(name=printable(text)[:80], profile=profile, plan=plan)


def fields_of(text: str, keys: Sequence[str]) -> Mapping[str, str]:
    """The parts of a `--fleet`, by key.

    Raises:
        InputError: a part that is not KEY=VALUE, or an unknown or repeated key.
    """
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = (side.strip() for side in part.partition("="))
        if not separator or key not in keys or key in fields:
            known = ", ".join(keys)
            raise InputError(
                f"--fleet has {shown(part)}, which is not KEY=VALUE or appears twice; known keys are {known}"
            )
        fields[key] = value
    return fields


def count_of(text: str, where: str) -> int:
    """A whole number in a `--fleet`.

    Raises:
        InputError: it is not a whole number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{where} has {shown(text)}, which is not a whole number of at most 9 digits")
    return int(text)


def contenders(
    saved: Sequence[SavedPlan],
    names: Sequence[str | Path | SavedPlan],
    fleets: Sequence[str],
    measured: Sequence[ServiceProfile],
) -> tuple[Contender, ...]:
    """Saved plans, then fleets of the given profiles, or of the first plan's profiles if none is given.

    Raises:
        InputError: fewer than two, more than `CONTENDERS_MAX`, or a fleet without a profile.
    """
    profiles = measured or (saved[0].question.profiles if saved else ())
    if fleets and not profiles:
        raise InputError("a --fleet needs a --profile, or a saved plan to take it from")
    found = (
        *(saved_contender(plan, _name(name)) for plan, name in zip(saved, names, strict=True)),
        *(parse_fleet(text, profiles) for text in fleets),
    )
    if not 2 <= len(found) <= CONTENDERS_MAX:
        raise InputError(
            f"give 2 to {CONTENDERS_MAX} fleets to compare, saved plans or --fleet replicas=4,batch=16; "
            f"got {len(found)}"
        )
    return found


def _name(plan: str | Path | SavedPlan) -> str:
    return plan.name if isinstance(plan, SavedPlan) else printable(str(plan))


def require_all_answerable(fleets: Sequence[Contender], workload: Demand) -> None:
    """Refuse, by its name, a fleet without a steady state or with batches that its profile does not cover."""
    for one in fleets:
        located(one.name, partial(require_answerable, one.profile, workload, one.plan))
