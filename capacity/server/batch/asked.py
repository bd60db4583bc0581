"""Batches as flags ask for them: `--batch-size-max 16 --batch-wait 2ms --batching torchserve`."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from capacity.errors import InputError
from capacity.evidence.inferences import implied_batch, think_time_s
from capacity.formats.load_test import LoadRun, Loop
from capacity.formats.running_plan import RunningPlan
from capacity.profile.profile import ServiceProfile
from capacity.question import parse
from capacity.question.arguments import Asked, many, only_given, refuse_for_batches
from capacity.question.grid import parse_counts
from capacity.question.objective import Objective
from capacity.question.plan import Routing, rejects
from capacity.question.scenario import require_losses
from capacity.question.verbs import BATCHING, VERBS
from capacity.server.asked import NO_RATE, Requests
from capacity.server.batch.plan import BatchPlan, BatchScenario
from capacity.server.batch.settings import BatchSettings
from capacity.server.batch.space import BatchSpace
from capacity.server.batch.stability import MEASURES
from capacity.server.batch.typed import BatchingRule, read_batching


class AskedBatches:
    """A `capacity.server.asked.AskedFleet` of batch servers."""

    def refuse(self, asked: Asked, besides: Collection[str] = ()) -> None:
        """Refuse flags of language models."""
        refuse_for_batches(asked)

    def ready(self, profile: ServiceProfile, asked: Asked) -> ServiceProfile:
        """The profile with the overhead and the instances of the flags."""
        return parse.read_profile(profile, asked.request_overhead, asked.get("instances_per_device"))

    def requests(self, profile: ServiceProfile, asked: Asked) -> Requests:
        """Requests that are alike."""
        return Requests(arrivals=parse.read_arrivals(asked.arrivals))

    def objective(self, asked: Asked) -> Objective:
        """Limits on the response, the wait, losses and the utilization."""
        return parse.read_objective(asked).require().require_among(MEASURES, "a fleet that serves batches")

    def routings(self, asked: Asked) -> tuple[Routing, ...]:
        """Any of the routings."""
        return parse.read_routings(asked.routing)

    def space(self, requests: Requests, asked: Asked) -> BatchSpace:
        """Batch sizes and batch waits to choose from, under one rule."""
        rule = _rule(asked)
        return BatchSpace(
            batch_size_limit=asked.batch_size_max,
            batch_waits_s=parse.read_batch_waits(many(asked["batch_wait"]), many(asked["batch_wait_s"])),
            batching=rule.batching,
            preferred_sizes=rule.preferred_sizes,
            queue_limit=asked.queue_limit,
            outstanding_max=asked.get("outstanding_max"),
        )

    def settings(self, requests: Requests, asked: Asked) -> BatchSettings:
        """Batch sizes and batch waits of a sweep."""
        sizes, rule = [str(one) for one in asked.batch_size_max], _rule(asked)
        return BatchSettings(
            batch_sizes_max=parse_counts(sizes, "--batch-size-max") if sizes else (None,),
            batch_waits_max_s=parse.batch_wait_axis_s(many(asked["batch_wait"]), many(asked["batch_wait_s"])),
            batching=rule.batching,
            preferred_sizes=rule.preferred_sizes,
            queue_limit=asked.queue_limit,
            outstanding_max=asked.get("outstanding_max"),
        )

    def plan(self, profile: ServiceProfile, asked: Asked) -> BatchPlan:
        """The fleet; its batches start at once, up to the profile's largest, unless asked otherwise."""
        rule = _rule(asked) if "batching" in asked else BatchingRule()
        return BatchPlan(
            profile=profile.name,
            replicas=asked.replicas,
            batch_size_max=profile.batch_size_max if asked.batch_size_max is None else asked.batch_size_max,
            batch_wait_max_s=asked.batch_wait or 0.0,
            routing=parse.read_routing(asked.routing or Routing.ROUND_ROBIN),
            batching=rule.batching,
            preferred_sizes=rule.preferred_sizes,
            queue_limit=asked.get("queue_limit"),
            outstanding_max=asked.get("outstanding_max"),
        )

    def changed(self, scenario: BatchScenario, asked: Asked) -> BatchPlan:
        """The plan of a known fleet, with the batches, the routing and the numbers of the flags."""
        changes = {
            "replicas": asked.get("replicas"),
            "batch_size_max": asked.batch_size_max,
            "batch_wait_max_s": asked.batch_wait,
            "routing": None if asked.routing is None else parse.read_routing(asked.routing),
            "queue_limit": asked.queue_limit,
            "outstanding_max": asked.get("outstanding_max"),
        }
        return replace(scenario.plan, **only_given(changes))

    def usual(self, asked: Asked) -> dict[str, Any]:
        """How batches start, and how many may wait."""
        flags = VERBS["compare"].flags
        names = [name for name in BATCHING.split() if asked[name] not in (None, flags[name].default)]
        limits = only_given({name: asked.get(name) for name in ("queue_limit", "outstanding_max")})
        usual = {name: asked[name] for name in names} | {name: str(limit) for name, limit in limits.items()}
        return {name.replace("_", "-"): value for name, value in usual.items()}

    def running(self, profile: ServiceProfile, running: RunningPlan) -> tuple[BatchPlan, tuple[str, ...]]:
        """The plan that a server runs, whose replicas share its queue; its batches are as large as the profile's."""
        plan = BatchPlan(
            profile=profile.name,
            replicas=running.replicas,
            batch_size_max=min(running.batch_size_max, profile.batch_size_max),
            batch_wait_max_s=running.batch_wait_max_s,
            routing=Routing.SHARED_QUEUE if running.replicas > 1 else Routing.ROUND_ROBIN,
            preferred_sizes=tuple(
                size for size in running.preferred_batch_sizes if size <= profile.batch_size_max
            ),
            queue_limit=running.queue_limit,
        )
        if running.batch_size_max <= profile.batch_size_max:
            return plan, running.notes
        clipped = (
            f"the server forms batches up to {running.batch_size_max}, and the profile has times up to "
            f"{profile.batch_size_max}: predicted with {profile.batch_size_max}"
        )
        return plan, (*running.notes, clipped)

    def keywords(self, plan: BatchPlan) -> dict[str, Any]:
        """The batches of a plan, their rule, the routing and the queue limit."""
        return {
            "batch_size_max": plan.batch_size_max,
            "batch_wait_s": plan.batch_wait_max_s,
            "routing": plan.routing.value,
            "batching": plan.batching.value,
            "preferred_sizes": plan.preferred_sizes or None,
            "queue_limit": plan.queue_limit,
            **({} if plan.outstanding_max is None else {"outstanding_max": plan.outstanding_max}),
        }

    def traffic(self, run: LoadRun, plan: BatchPlan, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The users of a run, or its rate."""
        carried = implied_batch(run) or run.batch_size
        if carried > 1:
            raise InputError(
                f"each request carries {carried} inferences, which share a batch; measure with single ones"
            )
        if run.loop is Loop.CLOSED and run.users:
            always_room = plan.queue_limit is not None and plan.queue_limit >= run.users
            users = {"users": round(run.users), "think_time_s": think_time_s(run)}
            return users | ({"queue_limit": None} if always_room else {})
        if run.rate_asked_rps or run.throughput_rps:
            return {"rate_rps": run.rate_asked_rps or run.throughput_rps}
        raise InputError(NO_RATE)

    def require(self, scenario: BatchScenario) -> None:
        """Refuse a limit on losses where no request can be lost."""
        require_losses(scenario.objective, scenario.workload, rejects=rejects(scenario.plan))


def _rule(asked: Asked) -> BatchingRule:
    """The rule by which batches start, with its preferred sizes."""
    return read_batching(asked.batching, asked.preferred_sizes, asked.timer)
