"""Engines: what the commands that start engines of language models have in common."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from capacity.answer.saved_answer import read_evaluation
from capacity.answer.saved_autoscaler import read_autoscaler
from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError, quoted
from capacity.profile.llm import Scheduler
from capacity.question.autoscaler import Metric
from capacity.question.objective import Measure
from capacity.render.deploy.engine_servers import EngineServer, queue_limit, server_of
from capacity.render.deploy.features import listed, unset_notes
from capacity.render.deploy.fleet import Deployed
from capacity.render.deploy.header import comments
from capacity.render.deploy.recovery import read_recovery
from capacity.render.deploy.router import router_notes
from capacity.render.deploy.scaling import in_progress
from capacity.traffic.workload import ClosedPopulation
from capacity.units import format_rate

# Words in the names of devices, and the resource of Kubernetes by which a pod asks for one.
_RESOURCES = {
    "nvidia.com/gpu": r"NVIDIA|RTX|GH200|GB[23]00|[ABH][123]00|[ALT]\d{1,2}[GS]?",
    "amd.com/gpu": r"AMD|Instinct|MI\d{3}[AX]?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines(Deployed):
    """A plan of engines of a language model."""

    @property
    def server(self) -> EngineServer:
        """What the server that runs its rules calls its settings and metrics."""
        return server_of(self.saved)

    @property
    def model(self) -> str:
        """The name that requests call the model by; MODEL if the profile does not say it."""
        name: str | None = self.profile.model
        return name or "MODEL"

    @property
    def resource(self) -> str | None:
        """The resource by which a pod asks for its devices; None if the profile's device is none that is known."""
        device = self.profile.device or ""
        words = (name for name, known in _RESOURCES.items() if re.search(rf"\b(?:{known})\b", device, re.I))
        return next(words, None)

    @property
    def image(self) -> str | None:
        """The server's own image of the version that was measured; None if it is another's, or no version is known."""
        engine = self.profile.engine
        is_own = (engine.name or "").lower() == self.server.container
        is_known = re.fullmatch(r"\d+(\.\d+)+(\.post\d+)?", engine.version or "")
        return f"{self.server.image}:v{engine.version}" if is_own and is_known else None

    @property
    def first_token_limit_s(self) -> float | None:
        """The longest limit on a quantile of the time to the first token, or of the response; None without. [s]"""
        limits = self.saved.question.objective.by_quantile(Measure.TTFT)
        return max(limits.values(), default=self.response_limit_s)

    @property
    def waiting_late(self) -> int | None:
        """Requests that wait at an engine so that one behind them gets its first token too late; None without a limit.

        By Little's law for the queue, at the planned rate of an engine.
        """
        limit_s = self.first_token_limit_s
        return None if limit_s is None else max(1, round(in_progress(self.rate_rps / self.servers, limit_s)))

    def series(self, metric: str) -> str:
        """The series of a metric of this model, as PromQL selects them."""
        return f"{self.server.metrics}:{metric}{{model_name={json.dumps(self.model)}}}"

    @property
    def answers_query(self) -> str:
        """Rate of answers of the whole fleet, in PromQL, which is that of arrivals as long as engines keep up."""
        return f"sum(rate({self.series(self.server.answers)}[1m]))"

    @property
    def waiting_query(self) -> str:
        """Requests that wait for a place in an engine, over the fleet, in PromQL."""
        return f"sum({self.series(self.server.waiting)})"

    @property
    def in_progress_query(self) -> str:
        """Requests that wait or run, over the fleet, in PromQL."""
        return f"sum({self.series(self.server.running)}) + {self.waiting_query}"

    def notes(self) -> Iterator[str]:
        """What all files of engines depend on."""
        lengths = self.saved.question.space.lengths.moments
        yield (
            f"All rates are of requests with {lengths.input:.4g} input and {lengths.output:.4g} output tokens on "
            "average, as in the plan; plan again where yours differ."
        )
        if self.profile.model is None:
            yield "The profile does not name its model: replace MODEL."


def read_engines(saved: SavedPlan) -> Engines:
    """A saved plan of engines as its files need it.

    Raises:
        InputError: it holds no plan, or one for a closed population.
    """
    _, headroom = read_evaluation(saved)
    scaled = read_autoscaler(saved)
    found = Engines(
        saved=saved,
        headroom_rps=None if headroom is None else headroom.accepted_rps,
        autoscaler=scaled.autoscaler if scaled is not None and scaled.is_confirmed else None,
    )
    found.require_rate()
    return found


def require_seen(engines: Engines, target: str) -> None:
    """Refuse a plan whose autoscaler was confirmed with a metric that its server does not have.

    Raises:
        InputError: names the metric, and one that it has.
    """
    scaler = engines.autoscaler
    if scaler is not None and scaler.target.metric is not Metric.CONCURRENCY:
        raise InputError(
            f"{engines.saved.name} was confirmed with an autoscaler on {scaler.target}, and no metric of "
            f"{engines.server.name} says how busy an engine is, so that --target {target} cannot set it; plan with "
            "--autoscale concurrency:4 or the like"
        )


def require_scheduler(saved: SavedPlan, target: str, wanted: Iterable[Scheduler]) -> None:
    """Refuse a plan for an engine with other rules than those of a target.

    Raises:
        InputError: names the rules of both, and the targets that have those of the plan.
    """
    from capacity.render.deploy.registry import TARGETS

    held = saved.profile.engine.rules
    if held.family not in (runs := list(wanted)):
        forms = [(name, one) for name, forms in TARGETS.items() for one in forms]
        fitting = [name for name, one in forms if held.family in getattr(one, "SCHEDULERS", ())]
        mend = f"use --target {listed(fitting, 'or')}" if fitting else "no target runs these"
        raise InputError(
            f"the plan was evaluated with the rules of {held.value}, and --target {target} is for those of "
            f"{listed([one.value for one in runs], 'or')}; {mend}"
        )


def command(saved: SavedPlan, target: str, start: str, notes: Iterable[str], flags: Iterable[str]) -> str:
    """The command that starts each replica, after comments on what was evaluated.

    Args:
        notes: what to know of the target's settings; what it does not set is added.
    """
    lines = [start, *(f"  {flag}" for flag in flags)]
    head = comments([*_evaluated(saved), *notes, *unset_notes(saved, target)])
    return "\n".join([*head, " \\\n".join(lines)]) + "\n"


def server_command(saved: SavedPlan, target: str, start: str) -> str:
    """The command of an engine's server with the settings that were evaluated, one for each replica.

    Args:
        start: the command up to the first setting.

    Raises:
        InputError: the plan is for users without a rate.
    """
    server = server_of(saved)
    told = server.cache_line.format(tokens=saved.profile.kv.tokens)
    notes = (
        "Replace the model by the name you serve it under.",
        f"The engine's log must tell of {told}, which the plan was evaluated with.",
    )
    notes_on_settings = (*_drafter(saved), *router_notes(saved.plan), *_recovery(saved, server))
    return command(saved, target, start, (*notes, *notes_on_settings), server.flags(saved))


def _drafter(saved: SavedPlan) -> Iterator[str]:
    """What the profile does not say of its drafter, and the server must be told."""
    drafts = saved.profile.speculation
    if drafts is not None and not drafts.is_named:
        yield (
            f"The plan drafts {drafts.draft_tokens} tokens a step: add --speculative-config with the method and the "
            "model that your profile was measured with, which it does not name."
        )


def _recovery(saved: SavedPlan, server: EngineServer) -> Iterator[str]:
    """The setting with which the engines recover, and how their server counts a queue limit."""
    recovery, limit = read_recovery(saved), queue_limit(saved)
    setting = None if recovery is None else recovery.setting
    is_limit = setting == f"--queue-limit {limit}"
    if setting is not None and not is_limit:
        yield f"The fleet recovers only with {setting}, of clients or a gateway: see --target envoy."
    if limit is not None:
        what = "The fleet recovers only with" if is_limit else "The plan has"
        counted = server.queue_flag.format(running=saved.plan.sequences_max)
        yield (
            f"{what} --queue-limit {limit}, at each engine; {counted}. A gateway can hold the limit: --target envoy."
        )


def _evaluated(saved: SavedPlan) -> Iterator[str]:
    """The fleet, its traffic and its limits, and the engine that was measured."""
    plan, profile = saved.plan, saved.profile
    yield f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''} of this command behind {plan.routing.value},"
    yield f"evaluated at {format_rate(_rate_rps(saved))}:"
    events = [f", and with {event}" for event, _ in saved.question.events(plan)]
    yield f"{', '.join(map(str, saved.question.objective.limits))}{''.join(events)}."
    version = f" with {profile.engine.name} {profile.engine.version}" if profile.engine.version else ""
    yield (
        f"Steps were measured on {profile.device or 'a device that the profile does not name'}{version}; another "
        "version or device needs a profile of its own."
    )


def _rate_rps(saved: SavedPlan) -> float:
    """Arrival rate of the plan. [requests/s]

    Raises:
        InputError: the plan is for a closed population.
    """
    workload = saved.question.workload
    if isinstance(workload, ClosedPopulation):
        raise InputError(
            f"{saved.name} was made for {workload.users} users, and this target needs an arrival rate; plan with --rate"
        )
    return float(workload.arrival_rate_rps)


def model_of(saved: SavedPlan) -> str:
    """The name of the model as a word for the shell; MODEL if the profile does not say it.

    Raises:
        InputError: a name that would be taken for an option.
    """
    model = saved.profile.model or "MODEL"
    if model.startswith("-"):
        raise InputError(
            f"the profile's model {quoted(model)} begins with a hyphen, and a server would take it for an option; "
            'give the profile the name that the model is served under ("model"), and plan again'
        )
    return "'" + model.replace("'", "'\\''") + "'"
