"""Engines as they are typed: `replicas=4,sequences=128,tokens=2048`."""

from capacity.profile.llm import LlmProfile
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenPlan
from capacity.server.typed import Fields


class TypedEngines:
    """A `capacity.server.typed.TypedFleet` of engines of a language model."""

    keys = ("replicas", "sequences", "tokens", "routing", "queue-limit", "profile")
    example = "replicas=4,sequences=128"

    def plan(self, profile: LlmProfile, fields: Fields) -> TokenPlan:
        """The plan, by default with what the profile was measured up to.

        Raises:
            InputError: a value that cannot be read.
            DomainError: settings beyond what was measured.
        """
        limits = profile.limits_measured
        plan = TokenPlan(
            profile=profile.name,
            replicas=fields.count("replicas"),
            sequences_max=fields.count("sequences", limits.sequences_max),
            batched_tokens_max=fields.count("tokens", limits.batched_tokens_max),
            routing=fields.routing_of(tuple(Routing)),
            queue_limit=fields.count("queue-limit") if "queue-limit" in fields.by_key else None,
        )
        profile.require(plan.sequences_max, plan.batched_tokens_max)
        return plan
