"""BentoML: a service with the plan's batches."""

from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import device_note, header, routing_note
from capacity.render.deploy.scaling import Scaling, scaling_of

NAME = "bentoml"
FILE = "bentoml_service.py"
PLANS = Fleet


def render(plan: Fleet) -> str:
    """`service.py` with one batchable call."""
    scaling = scaling_of(plan)
    return f'''\
{header(plan, NAME, _notes(plan, scaling))}\
import bentoml
import numpy as np


@bentoml.service(
    name="{plan.name}",
    workers={_workers(plan)},
{_traffic(plan)}{_resources(plan)})
class Model:
    @bentoml.api{_batching(plan)}
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        raise NotImplementedError("replace: call the model with {_inputs(plan)}")
'''


def _workers(fleet: Fleet) -> int:
    """One for each replica that shares the device."""
    return min(fleet.profile.instances_per_device, fleet.plan.replicas)


def _traffic(fleet: Fleet) -> str:
    limit = fleet.server_queue_limit
    if limit is None:
        return ""
    return f'    traffic={{"max_concurrency": {fleet.server_batch_requests + limit}}},\n'


def _resources(fleet: Fleet) -> str:
    return '    resources={"gpu": 1},\n' if fleet.is_gpu else ""


def _batching(fleet: Fleet) -> str:
    """Arguments of the call; none for batches of one, since a batchable call needs two or more."""
    size, late_s = fleet.plan.batch_size_max, fleet.response_limit_s
    late = "" if late_s is None else f", max_latency_ms={max(1, round(1000 * late_s))}"
    return "" if size == 1 else f"(batchable=True, max_batch_size={size}{late})"


def _inputs(fleet: Fleet) -> str:
    return "one request" if fleet.plan.batch_size_max == 1 else "the whole batch"


def _notes(fleet: Fleet, scaling: Scaling) -> Iterator[str]:
    if fleet.plan.batch_size_max > 1:
        yield from _batching_notes()
    yield from device_note(fleet, 'no GPU is asked for; add resources={"gpu": 1} if it is one')
    yield from routing_note(fleet, Routing.RANDOM, "a Kubernetes Service in front")
    yield (
        f"Replicas: bentoml deploy --scaling-min {fleet.servers} --scaling-max {scaling.servers_max}. BentoCloud "
        'scales by the requests in progress, which traffic={"concurrency": ...} sets.'
    )


def _batching_notes() -> Iterator[str]:
    yield (
        "BentoML has no batch wait: it learns how long batches take and chooses when to send one off. The plan was "
        "evaluated with a fixed rule, so that measured latencies will differ; run `capacity verify` against it."
    )
    yield (
        "max_latency_ms is not a delay: a request that BentoML expects to take longer is answered with 503. It is "
        "the objective's limit here, beyond which the plan counts a request as late anyway."
    )
