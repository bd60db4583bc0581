"""Batches as they are typed: `replicas=4,batch=16,wait=2ms,batching=torchserve`."""

from capacity.files import located
from capacity.profile.profile import ServiceProfile
from capacity.question.parse import read_batching
from capacity.question.plan import Batching, Plan
from capacity.server.typed import Fields
from capacity.units import parse_duration_s


class TypedBatches:
    """A `capacity.server.typed.TypedFleet` of batch servers."""

    keys = (
        "replicas", "batch", "wait", "routing", "batching", "preferred-sizes", "timer", "queue-limit", "profile",
    )  # fmt: skip
    example = "replicas=4,batch=16"

    def plan(self, profile: ServiceProfile, fields: Fields) -> Plan:
        """The plan, by default with the profile's largest batch and no wait.

        Raises:
            InputError: a value that cannot be read.
        """
        by_key, routing = fields.by_key, fields.routing
        rule = located(
            fields.where,
            lambda: read_batching(
                by_key.get("batching", Batching.TRITON), by_key.get("preferred-sizes"), by_key.get("timer")
            ),
        )
        return Plan(
            profile=profile.name,
            replicas=fields.count("replicas"),
            batch_size_max=fields.count("batch", profile.batch_size_max),
            batch_wait_max_s=parse_duration_s(fields.text("wait", "0s"), f"{fields.where}: wait"),
            routing=routing,
            batching=rule.batching,
            preferred_sizes=rule.preferred_sizes,
            queue_limit=fields.count("queue-limit") if "queue-limit" in by_key else None,
        )
