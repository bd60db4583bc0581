"""Triton: a model's `config.pbtxt`.

Source:
    Triton Inference Server, protobuf/model_config.proto, and docs/user_guide/batcher.md.
"""

from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.render.deploy.features import Coverage, Feature, counted
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import batching_note, device_note, header, shed_note
from capacity.server.batch.batching import Batching
from capacity.units import format_duration

NAME = "triton"
FILE = "config.pbtxt"
PLANS = Fleet
COVERS = Coverage(
    sets={
        Feature.BATCH_SIZE,
        Feature.BATCH_WAIT,
        Feature.PREFERRED_SIZES,
        Feature.INSTANCES,
        Feature.QUEUE_LIMIT,
        Feature.SHED_LATE,
    },
    says={Feature.REPLICAS, Feature.ROUTING, Feature.BATCHING},
    refuses={Feature.SHED_CODEL, Feature.SHED_LIFO},
)
_KINDS = {"gpu": "KIND_GPU", "cpu": "KIND_CPU"}


def render(plan: Fleet) -> str:
    """Largest batch, delay, queue policy and instances; inputs and outputs are the model's own."""
    count = instances(plan)
    kind = _KINDS.get(plan.profile.kind or "", "KIND_AUTO")
    return (
        f"{header(plan, NAME, _notes(plan))}"
        f'name: "{plan.name}"\n'
        f"max_batch_size: {plan.plan.batch_size_max}\n"
        "dynamic_batching {\n"
        f"  max_queue_delay_microseconds: {delay_us(plan.plan.batch_wait_max_s)}\n"
        f"{_preferred(plan)}"
        f"{_policy(plan)}"
        "}\n"
        f"instance_group [ {{ kind: {kind} count: {count} }} ]\n"
    )


def delay_us(batch_wait_max_s: float) -> int:
    """A batch wait in Triton's unit. [microseconds]

    >>> delay_us(0.0015), delay_us(0.0)
    (1500, 0)
    """
    return round(1e6 * batch_wait_max_s)


def instances(fleet: Fleet) -> int:
    """Instances in the group: on each GPU of a server, or on the server's CPU."""
    if not fleet.is_gpu and fleet.plan.routing is Routing.SHARED_QUEUE:
        return fleet.plan.replicas
    return min(fleet.profile.instances_per_device, fleet.plan.replicas)


def _preferred(fleet: Fleet) -> str:
    sizes = ", ".join(map(str, fleet.plan.preferred_sizes))
    return f"  preferred_batch_size: [ {sizes} ]\n" if sizes else ""


def _policy(fleet: Fleet) -> str:
    limit, wait_s = fleet.server_queue_limit, fleet.wait_limit_s
    lines = []
    if limit is not None:
        lines.append(f"max_queue_size: {max(limit, 1)}")
    if wait_s is not None:
        lines += ["timeout_action: REJECT", f"default_timeout_microseconds: {max(delay_us(wait_s), 1)}"]
    inside = "".join(f"    {line}\n" for line in lines)
    return f"  default_queue_policy {{\n{inside}  }}\n" if lines else ""


def _notes(fleet: Fleet) -> Iterator[str]:
    yield f"{batching_note(fleet, 'Triton', Batching.TRITON)} {_preferred_note(fleet)}"
    yield from _instance_notes(fleet)
    yield from shed_note(fleet, "default_timeout_microseconds rejects")
    yield from device_note(fleet, "Triton takes a GPU where there is one (KIND_AUTO)")
    if fleet.server_queue_limit is not None:
        yield from _queue_notes(fleet, fleet.server_queue_limit)
    yield "Inputs, outputs and backend are the model's: add them unless Triton completes the configuration by itself."


def _preferred_note(fleet: Fleet) -> str:
    sizes = fleet.plan.preferred_sizes
    if not sizes:
        return (
            "No preferred_batch_size is set, since Triton sends a preferred size off at once, ahead of the largest "
            "batch; --preferred-sizes evaluates some."
        )
    if fleet.plan.batch_wait_max_s == 0.0 and sizes[0] < fleet.plan.batch_size_max:
        return (
            "With a delay of 0 Triton closes the next batch at the first preferred size that it comes to while all "
            f"instances are busy ({sizes[0]}), which was not evaluated; with a delay it does not."
        )
    return "A batch of a preferred size starts at once, ahead of the largest batch, as evaluated."


def _instance_notes(fleet: Fleet) -> Iterator[str]:
    plan, count, servers = fleet.plan, instances(fleet), fleet.servers
    if plan.routing is Routing.SHARED_QUEUE:
        where = f" with {counted(servers, 'GPU')}" if fleet.is_gpu else ""
        yield f"Instances: one server{where} has the plan's {counted(plan.replicas, 'replica')} behind one queue."
        return
    on = " with a GPU each" if fleet.is_gpu else ""
    yield (
        f"Instances: the plan's {counted(plan.replicas, 'replica')} are {counted(servers, 'server')}{on}, "
        f"with {counted(count, 'instance')} each. Instances of one server share a queue: for all replicas in one "
        "server, plan with --routing shared-queue."
    )
    if servers > 1:
        yield f"Routing: put a balancer with {plan.routing.value} routing in front of the servers."
    if servers * count > plan.replicas:
        yield f"{servers} x {count} are more replicas than the {plan.replicas} of the plan; it holds for them too."


def _queue_notes(fleet: Fleet, limit: int) -> Iterator[str]:
    if limit == 0:
        yield "The plan lets no request wait; Triton takes 0 for no limit, so that one may wait here."
    if fleet.plan.batch_wait_max_s > 0.0:
        yield (
            "max_queue_size also counts requests whose batch still fills, which the plan's limit does not: while "
            "a server is idle it takes up to a batch less."
        )
    if fleet.recovery is None and fleet.response_limit_s is not None:
        yield (
            f"A request that has waited {format_duration(fleet.response_limit_s)}, the limit on the response, is "
            "rejected: it would be late, and a rejected request counts as late in the plan as well."
        )
