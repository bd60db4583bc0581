"""Plan options: the flags of the commands that size a fleet, and how a question is read from them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from capacity.command_line import input_option, option, output_option, read_choice, read_demand, read_profile
from capacity.errors import InputError

if TYPE_CHECKING:
    from capacity.daily_curve import DailyCurve
    from capacity.objective import LatencyObjective
    from capacity.plan import Routing
    from capacity.profile import ServiceProfile
    from capacity.question import Question
    from capacity.survival import Survival

PlanProfilesOption = Annotated[
    list[str],
    input_option(
        "--profile", help="A bundled profile's name, or a .json or .csv file; repeat it to choose between."
    ),
]
PricesOption = Annotated[
    list[str] | None,
    option("--hourly-usd", help="Price of a device, of one profile's where there are several: t4=0.526."),
]
TierOption = Annotated[
    str | None, option("--tier", help="Ready-made limits: interactive, batch or background.")
]
MeanOption = Annotated[str | None, option("--slo-mean", help="Limit on the mean response time.")]
WaitLimitsOption = Annotated[
    list[str] | None, option("--slo-wait", help="Limit on a quantile of the wait: p99=5ms; may be repeated.")
]
LossOption = Annotated[
    str | None, option("--loss-max", help="Share of requests that may be lost, with --queue-limit: 0.1%.")
]
UtilizationOption = Annotated[
    str | None, option("--utilization-max", help="Share of time that a replica may be busy: 80%.")
]
BatchSizeOption = Annotated[
    int | None, option("--batch-size-max", help="Largest batch to consider; the profile's by default.")
]
BatchWaitsOption = Annotated[
    list[str] | None,
    option(
        "--batch-wait", help="How long the oldest may wait for a batch to fill: 2ms; searched by default."
    ),
]
RoutingsOption = Annotated[
    list[str] | None,
    option(
        "--routing",
        help="round-robin (the default), random, least-outstanding, power-of-two or shared-queue; "
        "repeat it, or say any, to choose between.",
    ),
]
ReplicasMaxOption = Annotated[int, option("--replicas-max", help="Most replicas to consider.")]
DailyOption = Annotated[
    str | None, input_option("--daily", help="A day's rates from a .csv of time,rate_rps, instead of --rate.")
]
UsersOption = Annotated[
    int | None, option("--users", help="So many users take turns, instead of arrivals at a rate.")
]
ThinkTimeOption = Annotated[str | None, option("--think-time", help="Mean think time of a user: 300ms.")]
SpareOption = Annotated[int, option("--spare", help="So many replicas may be gone, and the objective holds.")]
SurviveOption = Annotated[
    list[str] | None,
    option("--survive", help="What the objective outlives: n-1, n-2, zone:3; may be repeated."),
]
RollingOption = Annotated[
    str | None, option("--rolling-update", help="An update that takes replicas away: max-unavailable=25%.")
]
StartupOption = Annotated[
    str | None, option("--startup-time", help="Until a new replica is ready: 120s; with --spike.")
]
SpikeOption = Annotated[
    str | None, option("--spike", help="Traffic that jumps to a multiple of itself: 2x; with --startup-time.")
]

SavedPlanOption = Annotated[
    str | None,
    output_option("-o", "--output", help="Save the plan into this .json file, for check and compare."),
]


def read_share(text: str, flag: str) -> float:
    """A share within (0, 1), as a percentage or a number.

    >>> read_share("25%", "--utilization-max")
    0.25
    """
    from capacity.units import is_number

    digits = text.strip()
    if not is_number(digits.removesuffix("%")):
        raise InputError(f"{flag} {text[:40]!r} is no share; 25% or 0.25 is one")
    value = float(Decimal(digits.removesuffix("%")) / 100 if digits.endswith("%") else Decimal(digits))
    if not 0.0 < value < 1.0:
        hint = f"; {digits}% is a share" if not digits.endswith("%") and 1.0 <= value < 100.0 else ""
        raise InputError(f"{flag} must be above 0 and below 100%, got {text[:40]}{hint}")
    return value


def read_full_objective(
    slos: Mapping[float, str | None],
    tier: str | None,
    mean: str | None,
    waits: Sequence[str] | None,
    loss: str | None,
    utilization: str | None,
) -> "LatencyObjective":
    """`--slo-...`, `--tier`, `--loss-max`, `--utilization-max`; one's own limit replaces the tier's."""
    from capacity.objective import TIERS, LatencyObjective
    from capacity.units import format_quantile, parse_duration_s

    if tier is not None and tier not in TIERS:
        raise InputError(f"unknown tier {tier[:40]!r}; use one of {', '.join(TIERS)}")
    limits = dict(TIERS[tier].limits) if tier is not None else {}
    for quantile, text in slos.items():
        if text is not None:
            limits[quantile] = parse_duration_s(text, f"--slo-{format_quantile(quantile).lower()}")
    return LatencyObjective(
        limits=limits,
        response_mean_s=None if mean is None else parse_duration_s(mean, "--slo-mean"),
        wait_limits=_read_waits(waits or ()),
        loss_probability=None if loss is None else read_share(loss, "--loss-max"),
        utilization=None if utilization is None else read_share(utilization, "--utilization-max"),
    ).require()


def _read_waits(texts: Sequence[str]) -> dict[float, float]:
    """`--slo-wait`, of each quantile one. [s]"""
    limits: dict[float, float] = {}
    for text in texts:
        quantile, limit_s = _read_wait(text)
        if quantile in limits:
            raise InputError(f"--slo-wait {text[:40]!r} is the second limit of its quantile; keep one")
        limits[quantile] = limit_s
    return limits


def _read_wait(text: str) -> tuple[float, float]:
    """`p99=5ms`: a quantile and a duration. [s]"""
    from capacity.units import is_number, parse_duration_s

    name, _, duration = text.partition("=")
    digits = name.strip().lower().removeprefix("p")
    if not duration or not is_number(digits) or not 0.0 < float(digits) < 100.0:
        raise InputError(f"--slo-wait {text[:40]!r} is no limit; p99=5ms is one")
    return float(Decimal(digits) / 100), parse_duration_s(duration, "--slo-wait")


def read_profiles(
    names: Sequence[str],
    request_overhead: str | None,
    prices: Sequence[str] | None,
    instances_per_device: int | None = None,
) -> "tuple[ServiceProfile, ...]":
    """`--profile`, each with its price and its instances, which flags may replace."""
    given = [read_profile(name, request_overhead, instances_per_device) for name in names]
    profiles = {profile.name: profile for profile in given}
    if len(profiles) < len(names):
        raise InputError("two of the profiles have one name; rename or drop one")
    priced: set[str] = set()
    for text in prices or ():
        name, _, price = text.rpartition("=")
        name = name.strip() or next(iter(profiles))
        if name not in profiles or ("=" not in text and len(profiles) > 1):
            raise InputError(f"--hourly-usd {text[:80]!r} names no profile; {next(iter(profiles))}=0.50 does")
        if name in priced:
            raise InputError(f"--hourly-usd {text[:80]!r} is the second price of {name}; keep one")
        priced.add(name)
        profiles[name] = replace(profiles[name], hourly_usd=_read_price(price))
    return tuple(profiles.values())


def _read_price(text: str) -> float:
    from capacity.units import is_number

    if not is_number(text.strip()):
        raise InputError(f"--hourly-usd {text[:40]!r} is no price in USD/h; 0.526 is one")
    return float(text)


def read_routings(names: Sequence[str] | None) -> "tuple[Routing, ...]":
    """`--routing`, each once."""
    from capacity.plan import Routing

    given = list(names or ["round-robin"])
    if given == ["any"]:
        return tuple(Routing)
    return tuple(dict.fromkeys(read_choice(Routing, name, "--routing") for name in given))


def read_batch_waits(texts: Sequence[str] | None) -> tuple[float, ...] | None:
    """`--batch-wait`; None where it is to be searched. [s]"""
    from capacity.units import parse_duration_s

    if not texts:
        return None
    return tuple(sorted({parse_duration_s(text, "--batch-wait") for text in texts}))


def read_survival(
    spare: int,
    survive: Sequence[str] | None,
    rolling_update: str | None,
    startup_time: str | None,
    spike: str | None,
) -> "Survival":
    """`--spare`, `--survive`, `--rolling-update`, and `--spike` with `--startup-time`."""
    from capacity.survival import Spike, Survival
    from capacity.units import parse_duration_s

    zones = None
    for text in survive or ():
        kind, _, number = text.replace("n-", "n:").partition(":")
        if kind not in ("n", "zone") or re.fullmatch("[0-9]{1,6}", number) is None or int(number) < 1:
            raise InputError(f"--survive {text[:40]!r} is unknown; use n-1 or zone:3")
        if kind == "zone":
            zones = int(number)
        else:
            spare = max(spare, int(number))
    if (startup_time is None) != (spike is None):
        raise InputError("give --spike 2x and --startup-time 120s together: what jumps, and for how long")
    return Survival(
        spare=spare,
        zones=zones,
        unavailable_share=None if rolling_update is None else _read_unavailable(rolling_update),
        spike=None
        if spike is None or startup_time is None
        else Spike(
            factor=_read_factor(spike), startup_time_s=parse_duration_s(startup_time, "--startup-time")
        ),
    )


def _read_unavailable(text: str) -> float:
    name, _, share = text.partition("=")
    if name != "max-unavailable" or not share:
        raise InputError(f"--rolling-update {text[:40]!r} is unknown; use max-unavailable=25%")
    return read_share(share, "--rolling-update max-unavailable")


def _read_factor(text: str) -> float:
    from capacity.units import is_number

    digits = text.strip().lower().removesuffix("x")
    if not is_number(digits):
        raise InputError(f"--spike {text[:40]!r} is no multiple; 2x is one")
    return float(digits)


def read_curve(daily: str | None, rate: str | None, users: int | None) -> "DailyCurve | None":
    """`--daily`, which stands for a rate."""
    from pathlib import Path

    from capacity.daily_curve import read_daily_curve

    if daily is None:
        return None
    if rate is not None or users is not None:
        raise InputError("--daily has the rates of the day; leave out --rate and --users")
    return read_daily_curve(Path(daily))


def read_question(
    *,
    profiles: "tuple[ServiceProfile, ...]",
    objective: "LatencyObjective",
    survival: "Survival",
    arrivals: str,
    rate: str | None,
    users: int | None,
    think_time: str | None,
    batch_size_max: int | None,
    batch_wait: Sequence[str] | None,
    timer: str,
    routing: Sequence[str] | None,
    queue_limit: int | None,
    replicas_max: int,
) -> "Question":
    """All of them together."""
    from capacity.plan import BatchTimer
    from capacity.question import Question

    return Question(
        profiles=profiles,
        workload=read_demand(arrivals, rate, users, think_time),
        objective=objective,
        batch_size_limit=batch_size_max,
        batch_waits_s=read_batch_waits(batch_wait),
        routings=read_routings(routing),
        timer=read_choice(BatchTimer, timer, "--timer"),
        queue_limit=queue_limit,
        replicas_max=replicas_max,
        survival=survival,
    )
