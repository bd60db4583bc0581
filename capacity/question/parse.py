"""Parse: reads values with their units, as users type them, into the records of a question."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from capacity.errors import InputError, quoted
from capacity.files import is_file, repeatable
from capacity.question.asked import QUANTILES, TOKEN_MEASURES
from capacity.question.plan import ANY_ROUTINGS, PLAIN_ROUTINGS, AnyProfile, Routing
from capacity.units import is_number, parse_duration_s, parse_rate_rps

if TYPE_CHECKING:
    from capacity.profile.llm import LlmProfile
    from capacity.profile.load import ProfileLike
    from capacity.profile.profile import ServiceProfile
    from capacity.question.objective import Objective
    from capacity.question.resilience import Breakdowns, Survival
    from capacity.question.scenario import AnyScenario
    from capacity.traffic.daily import DailyCurve
    from capacity.traffic.workload import ArrivalProcess, Demand, TraceArrivals, Workload

_COUNT = re.compile(r"[+-]?[0-9]{1,9}")
_NEED_SESSIONS = {one.value for one in Routing if one.needs_sessions}
Choice = TypeVar("Choice", bound=StrEnum)
Failing = TypeVar("Failing", bound="AnyScenario")


def rate_rps(text: str | None, si: float | None, flag: str = "--rate") -> float | None:
    """A rate from text with its unit, or from the number of the keyword in SI; None without either.

    >>> rate_rps("30000/min", None), rate_rps(None, 500.0)
    (500.0, 500.0)
    """
    return _one_of(text, si, flag, "rps", parse_rate_rps)


def duration_s(text: str | None, si: float | None, flag: str) -> float | None:
    """A duration from text with its unit, or from the number of the keyword in SI; None without either. [s]

    >>> duration_s("80ms", None, "--slo-p99"), duration_s(None, 0.08, "--slo-p99")
    (0.08, 0.08)
    """
    return _one_of(text, si, flag, "s", parse_duration_s)


def seconds_of(given: Mapping[str, Any], name: str) -> float | None:
    """A duration from the keywords of a verb; None without a value, or if the verb does not have it. [s]"""
    return duration_s(given.get(name), given.get(f"{name}_s"), f"--{name.replace('_', '-')}")


def require_unit(unit: str, name: str, value: Any) -> Any:
    """The value of a keyword whose text says its unit.

    Raises:
        InputError: it is no text.
    """
    if not isinstance(value, str):
        raise InputError(
            f"{name}={value!r:.40} has no unit; write text with one, or {name}_{unit}={value!r:.40}"
        )
    return value


def _one_of(
    text: str | None, si: float | None, flag: str, unit: str, read: Callable[[str, str], float]
) -> float | None:
    name = flag.removeprefix("--").replace("-", "_")
    if text is not None and si is not None:
        raise InputError(f"{name} and {name}_{unit} are both given; keep one")
    if si is not None:
        if isinstance(si, bool) or not isinstance(si, Real) or not math.isfinite(si):
            raise InputError(f"{name}_{unit} must be a number, got {si!r}")
        return float(si)
    if text is None:
        return None
    require_unit(unit, name, text)
    return read(text, flag)


def find_profile(profile: "ProfileLike | LlmProfile") -> "ServiceProfile | LlmProfile":
    """A profile of either kind: by name, from a file of this project, or from a file of another tool.

    Raises:
        InputError: it is none of these.
    """
    from capacity.profile.load import load_any

    try:
        return load_any(profile)
    except InputError:
        found = cast("ServiceProfile | None", _of_another_tool(profile, "profile"))
        if found is None:
            raise
        return replace(found, path=repeatable(cast("str | Path", profile)))


def _of_another_tool(source: object, kind: str) -> Any:
    """Content of another tool's file; None if the source is no such file.

    Raises:
        InputError: the content is of another kind, or the file is damaged.
    """
    if not isinstance(source, str | Path) or not is_file(source):
        return None
    from capacity.evidence.recorded import read_recorded
    from capacity.formats.document import Document
    from capacity.formats.registry import Kind, known_format, read_document

    document = Document.read(Path(source))
    if known_format(document) is None:
        return None
    return read_recorded(document) if kind == Kind.WORKLOAD else read_document(document, Kind(kind))


def read_profile(
    profile: "ProfileLike", request_overhead_s: float | None = None, instances_per_device: int | None = None
) -> "ServiceProfile":
    """Value of `--profile`, with `--request-overhead` and `--instances-per-device` in place of its own."""
    from capacity.profile.load import load_profile

    found = load_profile(cast("ProfileLike", find_profile(profile)))
    if instances_per_device is not None:
        if instances_per_device < 1:
            raise InputError(f"--instances-per-device must be >= 1, got {instances_per_device}")
        found = replace(found, instances_per_device=instances_per_device)
    return found if request_overhead_s is None else replace(found, request_overhead_s=request_overhead_s)


def read_arrivals(arrivals: "str | ArrivalProcess") -> "ArrivalProcess":
    """Value of `--arrivals`; a process is returned as it is."""
    from capacity.traffic.parse import parse_arrivals
    from capacity.traffic.workload import ArrivalProcess

    if isinstance(arrivals, ArrivalProcess):
        return arrivals
    if not isinstance(arrivals, str):
        raise InputError(f"arrivals must be text, such as 'poisson', or a process, got {arrivals!r:.40}")
    try:
        return parse_arrivals(arrivals)
    except InputError:
        path = arrivals.removeprefix("trace:")
        found = cast("TraceArrivals | None", _of_another_tool(path, "workload"))
        if found is None or not arrivals.startswith("trace:"):
            raise
        return replace(found, path=repeatable(path))


def read_demand(
    arrivals: "str | ArrivalProcess",
    arrival_rate_rps: float | None,
    users: int | None,
    think_time_s: float | None,
    daily: str | Path | None = None,
) -> "Demand":
    """Values of `--users` and `--think-time`, or of `--arrivals` and `--rate` or `--daily`."""
    from capacity.traffic.parse import workload
    from capacity.traffic.workload import ClosedPopulation, PoissonArrivals

    if (day := read_curve(daily, arrival_rate_rps, users)) is not None:
        if think_time_s is not None:
            raise InputError("--daily has the rates of the day; leave out --think-time")
        return workload_of_day(read_arrivals(arrivals), day)
    if users is None and think_time_s is None:
        return workload(read_arrivals(arrivals), arrival_rate_rps)
    if users is None or arrival_rate_rps is not None or arrivals not in ("poisson", PoissonArrivals()):
        raise InputError("give either --rate and --arrivals or --users and --think-time, not a mix")
    return ClosedPopulation(users=users, think_time_s=think_time_s or 0.0)


def workload_of_day(arrivals: "ArrivalProcess", day: "DailyCurve") -> "Workload":
    """The workload of the highest rate of a day.

    Raises:
        InputError: arrivals that have rates of their own.
    """
    from capacity.traffic.workload import TraceArrivals, Workload

    if isinstance(arrivals, TraceArrivals):
        raise InputError(
            "--daily has the rates of the day, and a trace has its own; leave out one of the two"
        )
    return Workload(arrival_rate_rps=day.peak_rate_rps, arrivals=arrivals, day=day)


def part_of_day(day: "DailyCurve", between: str | None) -> "DailyCurve":
    """The day, of which `--between` names the part to look at; all of it without."""
    from capacity.traffic.daily import read_span

    if between is None:
        return day
    begins_s, ends_s = read_span(between)
    return replace(day, begins_s=begins_s, ends_s=ends_s)


def within(demand: "Demand", between: str | None) -> "Demand":
    """The demand in the part of its day that `--between` names.

    Raises:
        InputError: it has no day.
    """
    if between is None:
        return demand
    from capacity.traffic.workload import Workload

    if not isinstance(demand, Workload) or demand.day is None:
        raise InputError("--between is a part of a day; give --daily too, a .csv of time,rate_rps")
    part = part_of_day(demand.day, between)
    return replace(demand, arrival_rate_rps=part.peak_rate_rps, day=part)


def read_scaled_demand(
    arrivals: "str | ArrivalProcess",
    users: int | None,
    think_time_s: float | None,
    daily: str | Path | None = None,
) -> "Demand":
    """What is scaled: users if their number or think time is given, a day, a trace as recorded, or a rate."""
    from capacity.traffic.workload import TraceArrivals

    if daily is not None:
        return read_demand(arrivals, None, users, think_time_s, daily)
    if users is not None or think_time_s is not None:
        return read_demand(arrivals, None, 1 if users is None else users, think_time_s)
    found = read_arrivals(arrivals)
    return read_demand(found, None if isinstance(found, TraceArrivals) else 1.0, None, None)


def read_routing(name: str) -> Routing:
    """Value of `--routing` of requests that are not turns of sessions."""
    if name.split(",")[0] in _NEED_SESSIONS:
        raise InputError(
            f"--routing {quoted(name)} routes turns of conversations; without them use one of "
            f"{', '.join(PLAIN_ROUTINGS)}"
        )
    return read_choice(PLAIN_ROUTINGS, name, "--routing")


def read_choice(choices: Iterable[Choice], name: str, flag: str) -> Choice:
    """One of some members of an enumeration, by its name."""
    found = {one.value: one for one in choices}
    if name not in found:
        raise InputError(f"{flag} {quoted(name)} is unknown; use one of {', '.join(found)}")
    return found[name]


def read_service_rate_rps(service_rate: str | None, service_time: str | None) -> float:
    """Value of `--service-rate` or `--service-time`. [requests/s]"""
    if (service_rate is None) == (service_time is None):
        raise InputError("give either --service-rate 5rps or --service-time 200ms")
    if service_rate is not None:
        return parse_rate_rps(service_rate, "--service-rate")
    assert service_time is not None  # noqa: S101  (settled above)
    seconds = parse_duration_s(service_time, "--service-time")
    if seconds == 0.0:
        raise InputError(f"--service-time must be > 0, got {service_time.strip()!r}; 200ms is one")
    return 1.0 / seconds


def read_quantiles(given: list[float] | None, default: Sequence[float]) -> tuple[float, ...]:
    """Values of `--quantile`, in rising order."""
    quantiles = tuple(sorted(set(given or default)))
    for quantile in quantiles:
        if not 0.0 < quantile < 1.0:
            raise InputError(f"--quantile must be within (0, 1), such as 0.99, got {quantile}")
    return quantiles


def both_confidence(confidence: float) -> float:
    """Confidence of each of two intervals that must hold together, by Bonferroni's inequality."""
    return (1.0 + confidence) / 2.0


def worker_count(workers: int | None, cluster: str | None = None) -> int:
    """Value of `--workers`; all cores if it is not given."""
    if workers is not None and cluster is not None:
        raise InputError("give either --workers or --cluster, which has workers of its own")
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be >= 1, got {workers}")
    return workers or os.cpu_count() or 1


def read_share(share: str | float, flag: str) -> float:
    """A share within (0, 1), from a percentage or a number.

    >>> read_share("25%", "--utilization-max"), read_share(0.25, "--utilization-max")
    (0.25, 0.25)
    """
    text = share if isinstance(share, str) else repr(share)
    digits = text.strip()
    if not is_number(digits.removesuffix("%")):
        raise InputError(f"{flag} {quoted(text)} is not a share; write 25% or 0.25")
    value = float(Decimal(digits.removesuffix("%")) / 100 if digits.endswith("%") else Decimal(digits))
    if not 0.0 < value < 1.0:
        hint = f"; {digits}% is a share" if not digits.endswith("%") and 1.0 <= value < 100.0 else ""
        raise InputError(f"{flag} must be above 0 and below 100%, got {text[:40]}{hint}")
    return value


def read_count(text: str, flag: str) -> int:
    """A whole number from text.

    >>> read_count("16", "--batch-size-max")
    16
    """
    if _COUNT.fullmatch(text.strip()) is None:
        such = " of at most 9 digits" if text.isdecimal() and text.isascii() else ", such as 4"
        raise InputError(f"{flag} {quoted(text)} is not a whole number{such}")
    return int(text)


def read_objective(given: Mapping[str, Any]) -> "Objective":
    """Limits of `--slo-...`, `--loss-max`, `--utilization-max` and `--goodput-min`, which replace those of `--tier`.

    Args:
        given: values by keyword; an `objective` among them stands for all limits.
    """
    from capacity.question.objective import TIERS, Measure, Objective

    if given.get("objective"):
        return cast(Objective, given["objective"])
    tier = given.get("tier")
    if tier is not None and tier not in TIERS:
        raise InputError(f"unknown tier {quoted(tier)}; use one of {', '.join(TIERS)}")
    usual = {} if tier is None else TIERS[tier].by_quantile(Measure.RESPONSE)
    by_quantile = {
        measure: _read_limits_s(given, measure) for measure in ("response", "wait", *TOKEN_MEASURES)
    }
    means = {f"{measure}_mean": _read_limit_s(given, measure, "mean") for measure in by_quantile}
    shares = {"loss": "loss_max", "utilization": "utilization_max", "goodput": "goodput_min"}
    return Objective.of(
        **by_quantile | {"response": usual | by_quantile["response"]},
        **{name: limit_s for name, limit_s in means.items() if limit_s is not None},
        **{name: _read_limit(given, keyword) for name, keyword in shares.items()},
    )


def _read_limits_s(given: Mapping[str, Any], measure: str) -> dict[float, float]:
    """Limits on quantiles of a measure, by quantile. [s]"""
    found = {q: _read_limit_s(given, measure, name) for name, q in QUANTILES.items()}
    return {q: limit_s for q, limit_s in found.items() if limit_s is not None}


def _read_limit_s(given: Mapping[str, Any], measure: str, statistic: str) -> float | None:
    """Value of `--slo-[MEASURE-]STATISTIC`. [s]"""
    name = "slo_" + ("" if measure == "response" else f"{measure}_") + statistic
    return duration_s(given.get(name), given.get(f"{name}_s"), f"--{name.replace('_', '-')}")


def _read_limit(given: Mapping[str, Any], keyword: str) -> float | None:
    share = given.get(keyword)
    return None if share is None else read_share(share, f"--{keyword.replace('_', '-')}")


def priced(found: Sequence[AnyProfile], prices: Sequence[str | float]) -> tuple[AnyProfile, ...]:
    """Profiles with the prices of `--hourly-usd`, of their own where it names none.

    Raises:
        InputError: two profiles of one name, or a price without a profile or beside another.
    """
    profiles: dict[str, Any] = {profile.name: profile for profile in found}
    if len(profiles) < len(found):
        raise InputError("two of the profiles have the same name; rename or drop one")
    priced: set[str] = set()
    for text in map(str, prices):
        name, _, price = text.rpartition("=")
        name = name.strip() or next(iter(profiles))
        if name not in profiles or ("=" not in text and len(profiles) > 1):
            raise InputError(
                f"--hourly-usd {quoted(text)} names no profile; {next(iter(profiles))}=0.50 does"
            )
        if name in priced:
            raise InputError(f"--hourly-usd {quoted(text)} sets a second price for {name}; keep one")
        priced.add(name)
        profiles[name] = replace(profiles[name], hourly_usd=read_price(price))
    return tuple(profiles.values())


def read_price(text: str) -> float:
    """Value of `--price`. [USD/h]"""
    if not is_number(text.strip()):
        raise InputError(f"--hourly-usd {quoted(text)} is not a price in USD/h; write 0.526")
    return float(text)


def read_routings(names: Sequence[str]) -> tuple[Routing, ...]:
    """Values of `--routing`, each once."""
    given = list(names or ["round-robin"])
    if given == ["any"]:
        return ANY_ROUTINGS
    if "any" in given:
        raise InputError("--routing any tries each one; leave the others out")
    return tuple(dict.fromkeys(map(read_routing, given)))


def read_batch_waits(texts: Sequence[str], seconds: Sequence[float] = ()) -> tuple[float, ...] | None:
    """Value of `--batch-wait`; None if it is to be searched. [s]"""
    found = {parse_duration_s(text, "--batch-wait") for text in texts} | set(map(float, seconds))
    return tuple(sorted(found)) or None


def batch_wait_axis_s(texts: Sequence[str], seconds: Sequence[float]) -> tuple[float, ...]:
    """Values of `--batch-wait` in a sweep, single ones and ranges; 0 if none is given. [s]"""
    from capacity.question.grid import parse_durations_s

    ranges = parse_durations_s(texts, "--batch-wait") if texts else ()
    return tuple(dict.fromkeys((*ranges, *map(float, seconds)))) or (0.0,)


def read_survival(given: Mapping[str, Any]) -> "Survival":
    """Failures to survive, from the keywords of a verb; a start-up time may also belong to a trigger or a controller.

    Raises:
        InputError: text that cannot be read, or half of what belongs together.
    """
    from capacity.question.resilience import Spike, Survival

    zones, spare = None, given.get("spare") or 0
    for text in _texts(given.get("survive")):
        kind, _, number = text.replace("n-", "n:").partition(":")
        if kind not in ("n", "zone") or re.fullmatch("[0-9]{1,6}", number) is None or int(number) < 1:
            raise InputError(f"--survive {quoted(text)} is unknown; use n-1 or zone:3")
        if kind == "zone":
            zones = int(number)
        else:
            spare = max(spare, int(number))
    spike, startup_time_s = given.get("spike"), seconds_of(given, "startup_time")
    is_of_others = "spike" not in given or any(given.get(one) is not None for one in ("trigger", "autoscale"))
    if spike is None and is_of_others:
        startup_time_s = None
    if (startup_time_s is None) != (spike is None):
        raise InputError(
            "give --spike 2x and --startup-time 120s together: how far traffic jumps, and how "
            "long new replicas take"
        )
    rolling_update = given.get("rolling_update")
    return Survival(
        spare=spare,
        zones=zones,
        unavailable_share=None if rolling_update is None else _read_unavailable(rolling_update),
        spike=None
        if spike is None or startup_time_s is None
        else Spike(factor=_read_factor(str(spike)), startup_time_s=startup_time_s),
        breakdowns=read_breakdowns(given),
    )


def in_failure(scenario: Failing, given: Mapping[str, Any]) -> Failing:
    """A scenario in the worst of the failures that a verb is asked about; the same if it is asked about none.

    Raises:
        InputError: failures that cannot be read.
        UnstableError: nothing is left of the fleet.
    """
    left: Failing = scenario.after(read_survival(given))
    left.require_any_left()
    return left


def _texts(value: str | Sequence[str] | None) -> Sequence[str]:
    """The texts of a repeatable flag."""
    return (value,) if isinstance(value, str) else value or ()


def read_breakdowns(given: Mapping[str, Any]) -> "Breakdowns | None":
    """Values of `--mtbf` and `--recovery-time`; None without either."""
    from capacity.question.resilience import Breakdowns

    mtbf_s, recovery_s = seconds_of(given, "mtbf"), seconds_of(given, "recovery_time")
    if (mtbf_s is None) != (recovery_s is None):
        raise InputError(
            "give --mtbf 264d and --recovery-time 5min together: how long a replica runs until it fails, and how "
            "long it takes to come back"
        )
    return None if mtbf_s is None or recovery_s is None else Breakdowns(mtbf_s=mtbf_s, recovery_s=recovery_s)


def _read_unavailable(text: str) -> float:
    name, _, share = text.partition("=")
    if name != "max-unavailable" or not share:
        raise InputError(f"--rolling-update {quoted(text)} is unknown; use max-unavailable=25%")
    return read_share(share, "--rolling-update max-unavailable")


def _read_factor(text: str) -> float:
    digits = text.strip().lower().removesuffix("x")
    if not is_number(digits):
        raise InputError(f"--spike {quoted(text)} is not a multiple; write 2x")
    return float(digits)


def read_curve(
    daily: str | Path | None, arrival_rate_rps: float | None, users: int | None
) -> "DailyCurve | None":
    """Curve of `--daily`, which replaces a rate."""
    from capacity.traffic.daily import read_daily_curve

    if daily is None:
        return None
    if arrival_rate_rps is not None or users is not None:
        beside = "--users" if arrival_rate_rps is None else "--rate"
        raise InputError(f"--daily has the rates of the day; leave out {beside}")
    return read_daily_curve(Path(daily))


def day_flags(daily: str | Path) -> tuple[str, str]:
    """The flag of a day, by a path from which it can be read again, or by its name."""
    from capacity.files import repeatable

    return "--daily", repeatable(Path(daily)) or Path(daily).name
