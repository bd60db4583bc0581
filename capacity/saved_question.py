"""A question inside another document: all that was asked, so that it can be asked again."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from capacity.errors import InputError
from capacity.json_reading import Fields, number, shown, text
from capacity.objective import LatencyObjective, Measure
from capacity.plan import BatchTimer, Plan, Routing
from capacity.question import Question
from capacity.report import objective_document
from capacity.saved_profile import read_signed, signed
from capacity.saved_workload import read_workload_document, workload_to_document
from capacity.survival import Spike, Survival
from capacity.workload import ArrivalProcess

Choice = TypeVar("Choice", bound=StrEnum)

_KEYS = (
    "profiles", "workload", "objective", "batch_size_limit", "batch_waits_s", "routings", "timer",
    "queue_limit", "replicas_max", "survival",
)  # fmt: skip
_SURVIVAL_KEYS = ("spare", "zones", "unavailable_share", "spike")
_PLAN_KEYS = (
    "profile", "replicas", "batch_size_max", "batch_wait_max_s", "routing", "timer", "queue_limit",
)  # fmt: skip
PROFILES_MAX = 1000


def question_to_document(question: Question) -> dict[str, Any]:
    """All that was asked."""
    survival = question.survival
    spike = survival.spike
    return {
        "profiles": [signed(profile) for profile in question.profiles],
        "workload": workload_to_document(question.workload),
        "objective": objective_document(question.objective),
        "batch_size_limit": question.batch_size_limit,
        "batch_waits_s": None if question.batch_waits_s is None else list(question.batch_waits_s),
        "routings": [routing.value for routing in question.routings],
        "timer": question.timer.value,
        "queue_limit": question.queue_limit,
        "replicas_max": question.replicas_max,
        "survival": {
            "spare": survival.spare,
            "zones": survival.zones,
            "unavailable_share": survival.unavailable_share,
            "spike": None
            if spike is None
            else {"factor": spike.factor, "startup_time_s": spike.startup_time_s},
        },
    }


def read_question_document(value: Any, where: str, trace: ArrivalProcess | None) -> Question:
    """The question of a document.

    Args:
        trace: given beside the document, for one that does not hold its trace.

    Raises:
        InputError: anything that is missing, unknown, of another type or edited.
    """
    given = Fields(value, where, _KEYS)
    profiles = given.items("profiles")
    if len(profiles) > PROFILES_MAX:
        raise InputError(f"{given.at('profiles')} has more than {PROFILES_MAX} profiles")
    waits_s = given.optional(given.items, "batch_waits_s")
    return Question(
        profiles=tuple(
            read_signed(one, f"{given.at('profiles')}[{place}]") for place, one in enumerate(profiles)
        ),
        workload=read_workload_document(given.raw("workload"), given.at("workload"), trace),
        objective=read_objective(given.raw("objective"), given.at("objective")),
        batch_size_limit=given.optional(given.whole, "batch_size_limit"),
        batch_waits_s=None if waits_s is None else tuple(_wait_s(x, given) for x in waits_s),
        routings=tuple(choice(Routing, one, given.at("routings")) for one in given.items("routings")),
        timer=choice(BatchTimer, given.raw("timer"), given.at("timer")),
        queue_limit=given.optional(given.whole, "queue_limit"),
        replicas_max=given.whole("replicas_max"),
        survival=_read_survival(given.object("survival", _SURVIVAL_KEYS)),
    )


def _wait_s(value: Any, given: Fields) -> float:
    wait_s = number(value, given.at("batch_waits_s"))
    if not 0.0 <= wait_s < math.inf:
        raise InputError(f"{given.at('batch_waits_s')} must not be negative, got {wait_s}")
    return wait_s


def _read_survival(given: Fields) -> Survival:
    spike = None
    if given.has("spike"):
        jump = given.object("spike", ("factor", "startup_time_s"))
        spike = Spike(factor=jump.number("factor"), startup_time_s=jump.number("startup_time_s"))
    return Survival(
        spare=given.whole("spare"),
        zones=given.optional(given.whole, "zones"),
        unavailable_share=given.optional(given.number, "unavailable_share"),
        spike=spike,
    )


def read_objective(value: Any, where: str) -> LatencyObjective:
    """The objective of a document, as `capacity.report.objective_document` writes it."""
    given = Fields(value, where, [measure.value for measure in Measure])

    def single(measure: Measure) -> float | None:
        return given.number(measure.value) if given.has(measure.value) else None

    def by_quantile(measure: Measure) -> Mapping[float, float]:
        if not given.has(measure.value):
            return {}
        at = given.at(measure.value)
        limits = given.mapping(measure.value)
        return {_quantile(key, at): number(limit, f"{at}.{key[:20]}") for key, limit in limits.items()}

    return LatencyObjective(
        limits=by_quantile(Measure.RESPONSE),
        response_mean_s=single(Measure.RESPONSE_MEAN),
        wait_limits=by_quantile(Measure.WAIT),
        loss_probability=single(Measure.LOSS),
        utilization=single(Measure.UTILIZATION),
    )


def _quantile(key: str, where: str) -> float:
    try:
        value = float(key)
    except ValueError:
        raise InputError(f"{where} has the quantile {shown(key)}, which is no number; 0.99 is one") from None
    if not 0.0 < value < 1.0:
        raise InputError(f"{where} has a quantile that is not within (0, 1): {shown(key)}")
    return value


def read_plan_document(value: Any, where: str) -> Plan:
    """The plan of a document, as `capacity.report.plan_document` writes it."""
    given = Fields(value, where, _PLAN_KEYS)
    return Plan(
        profile=given.text("profile"),
        replicas=given.whole("replicas"),
        batch_size_max=given.whole("batch_size_max"),
        batch_wait_max_s=given.number("batch_wait_max_s"),
        routing=choice(Routing, given.raw("routing"), given.at("routing")),
        timer=choice(BatchTimer, given.raw("timer"), given.at("timer"))
        if given.has("timer")
        else BatchTimer.OLDEST,
        queue_limit=given.whole("queue_limit") if given.has("queue_limit") else None,
    )


def choice(choices: type[Choice], value: Any, where: str) -> Choice:
    """One of the names of an enumeration."""
    try:
        return choices(text(value, where))
    except ValueError:
        raise InputError(f"{where} must be one of {', '.join(choices)}, got {shown(value)}") from None
