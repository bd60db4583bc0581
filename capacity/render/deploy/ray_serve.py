"""Ray Serve: a config file for `serve deploy`."""

from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import batching_note, device_note, header, routing_note, shed_note
from capacity.render.deploy.scaling import Scaling, in_progress, rounded_down, scaling_of
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan

NAME = "ray-serve"
FILE = "ray-serve.yaml"
PLANS = Fleet
COVERS = Coverage(
    sets={
        Feature.REPLICAS,
        Feature.BATCH_SIZE,
        Feature.BATCH_WAIT,
        Feature.INSTANCES,
        Feature.QUEUE_LIMIT,
        Feature.OUTSTANDING_MAX,
        Feature.GROWTH,
    },
    says={Feature.ROUTING, Feature.BATCHING, Feature.PREFERRED_SIZES, Feature.SHED_LATE},
    refuses={Feature.SHED_CODEL, Feature.SHED_LIFO},
)
_BATCHES_KEPT = 100  # batches kept before a batcher without a queue limit: more than ever wait
_CONCURRENT_BATCHES = 1  # as in the plan: a replica serves one batch at a time


def render(plan: Fleet) -> str:
    """One application with one deployment, whose batching is set by `user_config`."""
    scaling, replicas = scaling_of(plan), plan.plan.replicas
    size = plan.plan.batch_size_max
    return f"""\
{header(plan, NAME, _notes(plan, scaling))}\
applications:
  - name: {plan.name}
    import_path: {plan.name.replace("-", "_")}:app # replace: the module and its bound application
    route_prefix: /
    deployments:
      - name: Model # replace: the class
        max_ongoing_requests: {ongoing_max(plan.plan)} # on a replica: a batch in service, and those that wait there
        max_queued_requests: {queued_max(plan.plan)} # at each proxy or handle; -1 is no limit
        # For a fixed fleet: num_replicas: {replicas} in place of autoscaling_config; Ray refuses both.
        autoscaling_config:
          min_replicas: {replicas} # the plan
          initial_replicas: {replicas}
          max_replicas: {max(scaling.servers_max, 2 * replicas)}
          target_ongoing_requests: {target_ongoing(plan, scaling)}
          upscale_delay_s: 0 # the room for growth is counted from the first sign
          downscale_delay_s: 600
        ray_actor_options: {{num_gpus: {_gpus(plan)}}}
        user_config: # reconfigure(config) must hand these to set_max_batch_size and set_batch_wait_timeout_s
          max_batch_size: {size}
          batch_wait_timeout_s: {plan.plan.batch_wait_max_s!r}
"""


def ongoing_max(plan: BatchPlan) -> int:
    """Requests on one replica at once: the plan's, or a batch in service and as many waiting as the next can take.

    It must be at least max_batch_size x max_concurrent_batches, or no batch is ever full. In a plan evaluated by
    Ray's own rule, all waiting requests are before the batcher, which closes batches by their arrivals.

    >>> from dataclasses import replace
    >>> plan = BatchPlan(profile="mine", replicas=5, batch_size_max=16)
    >>> [ongoing_max(replace(plan, queue_limit=limit)) for limit in (None, 64, 4)]
    [32, 32, 20]
    >>> [ongoing_max(replace(plan, queue_limit=limit, batching=Batching.RAY_SERVE)) for limit in (None, 64)]
    [1616, 80]
    """
    size, limit = plan.batch_size_max, plan.queue_limit
    if plan.outstanding_max is not None:
        return plan.outstanding_max
    if plan.batching is Batching.RAY_SERVE:
        return size * _CONCURRENT_BATCHES + (_BATCHES_KEPT * size if limit is None else limit)
    return size * _CONCURRENT_BATCHES + (size if limit is None else min(limit, size))


def queued_max(plan: BatchPlan) -> int:
    """Requests that wait for a replica at a caller: what the plan's queues hold beyond `ongoing_max`.

    Ray has this limit for each proxy or handle, the plan for each replica; with one caller they hold the same. It is
    at least 1, since a caller that may hold none rejects everything.

    >>> from dataclasses import replace
    >>> plan = BatchPlan(profile="mine", replicas=5, batch_size_max=16)
    >>> [queued_max(replace(plan, queue_limit=limit)) for limit in (64, 4, None)]
    [240, 1, -1]
    """
    if plan.queue_limit is None:
        return -1
    waiting = ongoing_max(plan) - plan.batch_size_max * _CONCURRENT_BATCHES
    return max(1, plan.replicas * (plan.queue_limit - waiting))


def target_ongoing(fleet: Fleet, scaling: Scaling) -> str:
    """Requests in progress on each replica at which the next replica is requested, by Little's law.

    It uses the mean response at the planned rate, the shorter one, which asks early rather than late.
    """
    response_s = fleet.performance.response_mean_s or fleet.response_s
    served_s = max(response_s - fleet.profile.request_overhead_s, 1e-9)
    return rounded_down(in_progress(scaling.asking_rps / fleet.plan.replicas, served_s))


def _notes(fleet: Fleet, scaling: Scaling) -> Iterator[str]:
    yield batching_note(fleet, "Ray Serve", Batching.RAY_SERVE)
    yield (
        "So it is as long as the batched function awaits its model, in a thread for instance. One that blocks the "
        "event loop holds up its batcher too, and the nearest rule is --batching torchserve."
    )
    yield (
        f"In code: @serve.batch(max_batch_size={fleet.plan.batch_size_max}, "
        f"batch_wait_timeout_s={fleet.plan.batch_wait_max_s!r}, max_concurrent_batches={_CONCURRENT_BATCHES}). Ray's "
        "default max_ongoing_requests of 5 is below its default batch of 10, so that a batch would never be full."
    )
    yield from shed_note(fleet, "Ray Serve has no setting for it; in the batched function, refuse at once")
    each = fleet.profile.instances_per_device
    if each > 1 and not fleet.is_gpu:
        yield f"{each} replicas share a device, which num_gpus says of GPUs alone; set num_cpus to their share of it."
    yield from device_note(fleet, "no GPU is asked for; set num_gpus if it is one")
    yield from routing_note(fleet, Routing.POWER_OF_TWO, "Ray Serve")
    yield (
        f"target_ongoing_requests is Little's law at {rounded_down(scaling.asking_rps / fleet.plan.replicas)} rps on "
        "each replica, the rate at which another one is to be asked for, times the mean response that was found."
    )


def _gpus(fleet: Fleet) -> str:
    """The share of a GPU that one replica has."""
    return rounded_down(1.0 / fleet.profile.instances_per_device) if fleet.is_gpu else "0"
