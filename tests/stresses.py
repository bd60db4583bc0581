"""Stresses and runs that were never simulated, and a judge that makes them up."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from capacity.profile.llm import Coefficients, KvCache, LimitsMeasured, LlmProfile, Overhead
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.overload import Saturation
from capacity.question.plan import Routing
from capacity.recovery.findings import Course, Found, OneRun, Run, Runs
from capacity.recovery.parse import read_trigger
from capacity.recovery.protection import Protection
from capacity.recovery.stress import Stress
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.server import BatchServer
from capacity.server.engine.plan import TokenPlan
from capacity.server.engine.server import TokenEngine
from capacity.traffic.clients import Clients
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import PoissonArrivals, Workload

PROFILE = ServiceProfile(name="made-up", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
THREE_TRIES = Clients(timeout_s=0.5, attempts=3)


def fleet_in_trouble(
    trigger: str = "lose:1,60s",
    clients: Clients = THREE_TRIES,
    *,
    replicas: int = 4,
    rate_rps: float = 320.0,
    protection: Protection | None = None,
    routing: Routing = Routing.SHARED_QUEUE,
    limit: int | None = None,
    horizon_s: float = 600.0,
) -> Stress:
    """Four replicas of 100 rps, one of which is lost, unless told otherwise."""
    return Stress(
        server=BatchServer(profile=PROFILE),
        workload=Workload(arrival_rate_rps=rate_rps, arrivals=PoissonArrivals()),
        plan=BatchPlan(
            profile=PROFILE.name, replicas=replicas, batch_size_max=1, routing=routing, queue_limit=limit
        ),
        clients=clients,
        trigger=read_trigger(trigger),
        protection=protection or Protection(),
        horizon_s=horizon_s,
    )


ENGINE = Saturation(
    rate_rps=2.0,
    running_mean=40.0,
    kv_utilization=0.5,
    preemption_rate=0.0,
    step_mean_s=0.01,
    prefill_time_share=0.1,
    binding="slots",
)


def engines_in_trouble(**fields: Any) -> Stress:
    """Three engines, one of which crashes for 20 s, unless told otherwise."""
    profile = LlmProfile(
        name="p",
        kv=KvCache(tokens=100_000),
        limits_measured=LimitsMeasured(sequences_max=64, batched_tokens_max=512, context_tokens_max=1000),
        coefficients=Coefficients(base_s=0.01, per_prefill_token_s=0.0, per_decode_request_s=0.0),
        overhead=Overhead(request_s=0.5, per_input_token_s=0.01),
    )
    given: dict[str, Any] = {
        "server": TokenEngine(
            profile=profile, lengths=LengthRows((10, 30), (5, 5), "mine"), saturation=ENGINE
        ),
        "workload": Workload(arrival_rate_rps=5.0),
        "plan": TokenPlan(profile="p", replicas=3, sequences_max=64, batched_tokens_max=512),
        "clients": Clients(timeout_s=60.0),
        "trigger": Trigger(kind=TriggerKind.CRASH, lasting_s=20.0, replicas=1),
    }
    return Stress(**(given | fields))


def run_of(
    recovered_s: float | None,
    *,
    goodput: float = 0.5,
    lost: int = 100,
    p99_s: float | None = None,
    relapsed: bool = False,
    baseline: float = 1.0,
) -> Run:
    """What a run might have shown."""
    return Run(
        recovered_s=recovered_s,
        relapsed=relapsed,
        baseline=baseline,
        goodput_during=goodput,
        lost=lost,
        response_p99_s=p99_s,
        course=Course(came=(), succeeded=(), sent=()),
    )


def runs(stress: Stress, *found: Run) -> Runs:
    """Runs of one stress."""
    return Runs(stress=stress, runs=found, confidence=0.95)


def back_after(*seconds: float | None, stress: Stress | None = None, **others: float) -> Runs:
    """Runs that recover after these numbers of seconds; None: not at all."""
    return runs(stress or fleet_in_trouble(), *(run_of(one, **others) for one in seconds))  # type: ignore[arg-type]


@dataclass(kw_only=True)
class MadeUpJudge:
    """Knows what a stress comes to from a rule, by the stress and the number of the run; keeps what it was asked."""

    rule: Callable[[Stress, int], Run]
    runs: int = 4
    confidence: float = 0.95
    asked: list[Stress] = field(default_factory=list)

    def __call__(self, stress: Stress) -> Runs:
        self.asked.append(stress)
        found = tuple(self.rule(stress, number) for number in range(self.runs))
        return Runs(stress=stress, runs=found, confidence=self.confidence)

    def with_runs(self, runs: int) -> "MadeUpJudge":
        """The same, but what it is asked is kept elsewhere."""
        return replace(self, runs=runs, asked=[])

    def each(self, ask: Callable[[OneRun], Found]) -> list[Found]:
        return [ask(lambda stress, number=number: self.rule(stress, number)) for number in range(self.runs)]  # type: ignore[misc]


def silent(message: str) -> None:
    """Progress for those who do not want any."""


def recovers_from(replicas: int, within_s: float = 0.0) -> Callable[[Stress, int], Run]:
    """Fleets from this size on recover, after this long."""

    def rule(stress: Stress, number: int) -> Run:
        is_large = stress.plan.replicas >= replicas
        soon = within_s <= stress.horizon_s
        return run_of(within_s if is_large and soon else None, goodput=1.0 if is_large else 0.1)

    return rule


def survives(boundaries_s: dict[int, float], default_s: float = math.inf) -> Callable[[Stress, int], Run]:
    """Each run recovers from spikes that are shorter than a boundary of its own."""

    def rule(stress: Stress, number: int) -> Run:
        return run_of(0.0 if stress.trigger.lasting_s < boundaries_s.get(number, default_s) else None)

    return rule
