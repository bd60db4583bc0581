"""Report command: what a saved plan was made with, and the command that repeats it, flag by flag."""

import shlex
from collections.abc import Iterator

from capacity.answer.documents import arrivals_name
from capacity.answer.saved_plan import SavedPlan
from capacity.answer.sentences import demand, limits_in_words
from capacity.errors import CapacityError
from capacity.profile.load import all_bundled_names
from capacity.question.budget import Effort
from capacity.question.objective import Measure, Objective
from capacity.question.parse import find_profile
from capacity.question.plan import Measured, Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.render.tables import plan_rows
from capacity.traffic.workload import ClosedPopulation, TraceArrivals, Workload
from capacity.units import typed_duration

_SLO_QUANTILES = {0.5: "p50", 0.9: "p90", 0.95: "p95", 0.99: "p99", 0.999: "p999"}
_SHARES = {Measure.LOSS: "loss", Measure.UTILIZATION: "utilization"}
_USUAL = Effort()


def is_bundled(profile: Measured) -> bool:
    """Whether a profile is the bundled profile of its name, unchanged."""
    try:
        return profile.name in all_bundled_names() and find_profile(profile.name) == profile
    except CapacityError:
        return False


def command_to_repeat(saved: SavedPlan) -> str:
    """The `capacity plan` command with every flag that differs from its default."""
    question = saved.question
    words = ["capacity", "plan"]
    for profile in question.profiles:
        words += ["--profile", profile.path or profile.name]
    words += [
        *(_kept_flags(saved, "autoscaled") or _kept_flags(saved, "schedule") or _rate(question)),
        *_arrivals(question),
        *_objective(question.objective),
        *_fleet(question),
    ]
    words += [
        *_survival(question.survival),
        *_kept_flags(saved, "recovery"),
        *_effort(saved.effort),
        "-o",
        saved.file,
    ]
    return shlex.join(words)


def _rate(question: Question) -> Iterator[str]:
    workload = question.workload
    if isinstance(workload, ClosedPopulation):
        yield from ("--users", str(workload.users), "--think-time", typed_duration(workload.think_time_s))
    else:
        yield from ("--rate", f"{_plain(workload.arrival_rate_rps)}rps")


def _arrivals(question: Question) -> Iterator[str]:
    workload = question.workload
    if isinstance(workload, ClosedPopulation):
        return
    arrivals = arrivals_name(workload)
    match workload.arrivals:
        case TraceArrivals(path=str() as path):
            arrivals = f"trace:{path}"
    if arrivals != "poisson":
        yield from ("--arrivals", arrivals)


def _plain(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _objective(objective: Objective) -> Iterator[str]:
    for limit in objective.limits:
        if limit.measure in _SHARES:
            yield from (f"--{_SHARES[limit.measure]}-max", f"{100.0 * limit.allowed:.12g}%")
        elif limit.quantile is None or limit.quantile in _SLO_QUANTILES:
            statistic = "mean" if limit.quantile is None else _SLO_QUANTILES[limit.quantile]
            measure = f"{limit.measure.short}-".lower().lstrip("-")
            yield from (f"--slo-{measure}{statistic}", typed_duration(limit.allowed))


def _fleet(question: Question) -> Iterator[str]:
    yield from question.space.flags(question)
    if question.routings != (Routing.ROUND_ROBIN,):
        for routing in question.routings:
            yield from ("--routing", question.space.typed_routing(routing))
    if question.replicas_max != 1024:
        yield from ("--replicas-max", str(question.replicas_max))


def _kept_flags(saved: SavedPlan, part: str) -> list[str]:
    """Flags that a part of the answer keeps: of the trouble to recover from, or of the autoscaler and its day."""
    found = saved.answer.get(part)
    flags = found.get("flags") if isinstance(found, dict) else None
    return [str(flag) for flag in flags] if isinstance(flags, list) else []


def _survival(survival: Survival) -> Iterator[str]:
    if survival.spare:
        yield from ("--spare", str(survival.spare))
    if survival.zones is not None:
        yield from ("--survive", f"zone:{survival.zones}")
    if survival.unavailable_share is not None:
        yield from ("--rolling-update", f"max-unavailable={100.0 * survival.unavailable_share:.12g}%")
    if survival.spike is not None:
        yield from ("--spike", f"{survival.spike.factor:g}x")
        yield from ("--startup-time", typed_duration(survival.spike.startup_time_s))
    if survival.breakdowns is not None:
        yield from ("--mtbf", typed_duration(survival.breakdowns.mtbf_s))
        yield from ("--recovery-time", typed_duration(survival.breakdowns.recovery_s))


def _effort(effort: Effort) -> Iterator[str]:
    yield from ("--seed", str(effort.seed))
    for name in ("confidence", "precision", "requests_max", "engine"):
        value = getattr(effort, name)
        if value != getattr(_USUAL, name):
            yield from (f"--{name.replace('_', '-')}", str(value))


def inputs(saved: SavedPlan, digest: str | None) -> Iterator[tuple[str, str]]:
    """What a saved plan was asked, and by what it was answered; `digest` is that of its file."""
    effort = saved.effort
    yield from plan_rows(saved.plan)
    yield "traffic", demand(saved.question.workload).removeprefix("at ").removeprefix("for ")
    if isinstance(saved.question.workload, Workload):
        yield "arrivals", arrivals_name(saved.question.workload)
    yield "objective", limits_in_words(saved.question.objective)
    profile = saved.question.profile(saved.plan.profile)
    if profile.facts:
        yield "measured", ", ".join(profile.facts)
    if profile.source:
        yield "source", ", ".join(f"{key}: {value}" for key, value in profile.source.items())
    yield "seed", str(effort.seed)
    yield "precision asked", f"{100.0 * effort.precision:g} %"
    yield "requests at most", f"{effort.requests_max:,}".replace(",", " ")
    yield "saved plan", saved.name
    if digest is not None:
        yield "its SHA-256", digest
    yield "made with", ", ".join(f"{name} {version}" for name, version in saved.versions.items())


def commands(saved: SavedPlan) -> list[str]:
    """Commands that make the plan and this page again; the profile may be in the plan's file alone."""
    unnamed = (one for one in saved.question.profiles if one.path is None and not is_bundled(one))
    names = ", ".join(one.name for one in unnamed)
    note = (
        [f"# {names}: give its file instead of the name; {saved.name} has its measurements"] if names else []
    )
    return [*note, command_to_repeat(saved), f"capacity report {shlex.quote(saved.file)} -o report.html"]
