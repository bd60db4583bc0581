"""BentoML: a service with the plan's batches."""

from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import device_note, header, routing_note, shed_note, wait_in_words
from capacity.render.deploy.scaling import Scaling, scaling_of

NAME = "bentoml"
FILE = "bentoml_service.py"
PLANS = Fleet
COVERS = Coverage(
    sets={Feature.BATCH_SIZE, Feature.INSTANCES, Feature.QUEUE_LIMIT},
    says={
        Feature.REPLICAS,
        Feature.ROUTING,
        Feature.BATCH_WAIT,
        Feature.BATCHING,
        Feature.GROWTH,
        Feature.SHED_LATE,
    },
    refuses={Feature.SHED_CODEL, Feature.SHED_LIFO},
)


def render(plan: Fleet) -> str:
    """The file `service.py` with one batchable call."""
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
    """One worker for each replica that shares the device."""
    return min(fleet.profile.instances_per_device, fleet.plan.replicas)


def _traffic(fleet: Fleet) -> str:
    limit = fleet.server_queue_limit
    if limit is None:
        return ""
    return f'    traffic={{"max_concurrency": {fleet.server_batch_requests + limit}}},\n'


def _resources(fleet: Fleet) -> str:
    return '    resources={"gpu": 1},\n' if fleet.is_gpu else ""


def _batching(fleet: Fleet) -> str:
    """Arguments of the call; empty for batches of one, since a batchable call needs two or more."""
    size, late_s = fleet.plan.batch_size_max, _late_s(fleet)
    late = "" if late_s is None else f", max_latency_ms={max(1, round(1000 * late_s))}"
    return "" if size == 1 else f"(batchable=True, max_batch_size={size}{late})"


def _late_s(fleet: Fleet) -> float | None:
    """Latency beyond which a request is refused; None if none is refused. [s]

    BentoML itself subtracts the time that it expects a batch to take, as `--shed late` does with its margin.
    """
    if fleet.recovery is None:
        return fleet.response_limit_s
    return None if fleet.wait_limit_s is None else fleet.patience_s


def _inputs(fleet: Fleet) -> str:
    return "one request" if fleet.plan.batch_size_max == 1 else "the whole batch"


def _notes(fleet: Fleet, scaling: Scaling) -> Iterator[str]:
    if fleet.plan.batch_size_max > 1:
        yield from _batching_notes(fleet)
    elif fleet.wait_limit_s is not None:
        yield from shed_note(fleet, "BentoML has no such setting without batches; in predict, refuse")
    yield from device_note(fleet, 'no GPU is asked for; add resources={"gpu": 1} if it is one')
    yield from routing_note(fleet, Routing.RANDOM, "a Kubernetes Service in front")
    yield (
        f"Replicas: bentoml deploy --scaling-min {fleet.servers} --scaling-max {scaling.servers_max}. BentoCloud "
        'scales by the requests in progress, which traffic={"concurrency": ...} sets.'
    )


def _batching_notes(fleet: Fleet) -> Iterator[str]:
    yield (
        "BentoML has no batch wait: it learns how long batches take and chooses when to send one off. The plan was "
        f"evaluated with a fixed {wait_in_words(fleet)}, so that measured latencies will differ; run `capacity verify` "
        "against it."
    )
    refuses = (
        "max_latency_ms is not a delay: a request that BentoML expects to take longer is answered with 503."
    )
    if fleet.recovery is None:
        yield (
            f"{refuses} It is the objective's limit here, beyond which the plan counts a request as late anyway."
        )
    elif fleet.wait_limit_s is not None:
        yield f"{refuses} It stands for --shed {fleet.recovery.shed}: clients wait as long, and no longer."
