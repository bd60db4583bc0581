"""KServe: an InferenceService on Knative, scaled by requests per second."""

import math
from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import device_note, header, routing_note
from capacity.render.deploy.scaling import Scaling, scaling_of

NAME = "kserve"
FILE = "kserve.yaml"
PLANS = Fleet
COVERS = Coverage(
    sets={Feature.REPLICAS, Feature.GROWTH, Feature.QUEUE_LIMIT, Feature.OUTSTANDING_MAX},
    says={Feature.ROUTING},
)
_TIMEOUT_S = 60  # of a request, if the objective has no limit on responses


def render(plan: Fleet) -> str:
    """An InferenceService whose model server, Triton, forms the batches."""
    scaling = scaling_of(plan)
    return f"""\
{header(plan, NAME, _notes(plan, scaling))}\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {plan.name}
  annotations:
    # Requests per second are Knative's to scale by; KServe's own default has the HPA, and processors and memory only.
    serving.kserve.io/deploymentMode: Knative # before KServe 0.16: Serverless
    # Knative aims at 70 % of a target unless told otherwise; this one leaves its room already.
    autoscaling.knative.dev/target-utilization-percentage: "100"
{_activator(plan)}spec:
  predictor:
    minReplicas: {plan.servers} # the plan
    maxReplicas: {scaling.servers_max} # twice the plan or what its spike needs; what may be spent is yours to say
    scaleMetric: rps
    scaleTarget: {scale_target(scaling)} # requests per second on each pod
    containerConcurrency: {_concurrency(plan)} # a full batch in service and the queue; 0 is no limit
    timeout: {_timeout_s(plan)} # seconds
    model:
      modelFormat: {{name: triton}}
      protocolVersion: v2
      storageUri: pvc://models/{plan.name} # replace: a folder with the config.pbtxt of --target triton
{_resources(plan)}"""


def scale_target(scaling: Scaling) -> int:
    """Requests per second on each pod, a whole number: Knative wants ceil(rate / target) pods, without a tolerance.

    At least the planned rate of a pod, below which it would add to a fleet that is large enough.
    """
    each_rps = scaling.asking_rps / scaling.servers
    return max(math.floor(each_rps), math.ceil(scaling.planned_rps / scaling.servers))


def _notes(fleet: Fleet, scaling: Scaling) -> Iterator[str]:
    yield (
        "KServe's own batcher is left out: it sends a batch off once maxLatency is over even if the model is busy, "
        "cannot be greedy, and so differs from the plan's rule. Triton batches by that rule, set by its config.pbtxt."
    )
    yield from device_note(
        fleet, "no GPU is asked for; add resources: {limits: {nvidia.com/gpu: 1}} if it is one"
    )
    yield from routing_note(fleet, Routing.RANDOM, "Knative")
    yield from scaling.notes(tolerance=0.0)


def _activator(fleet: Fleet) -> str:
    """What keeps Knative's activator in the path, where requests wait for a pod with a place."""
    if fleet.plan.outstanding_max is None:
        return ""
    return (
        "    # Requests always pass the activator, which holds back what no pod has a place for.\n"
        '    autoscaling.knative.dev/target-burst-capacity: "-1"\n'
    )


def _concurrency(fleet: Fleet) -> int:
    if fleet.plan.outstanding_max is not None:
        return fleet.plan.outstanding_max
    limit = fleet.server_queue_limit
    return 0 if limit is None else fleet.server_batch_requests + limit


def _timeout_s(fleet: Fleet) -> int:
    """Timeout in whole seconds, long enough for any request that is not late or that its client still waits for."""
    late_s = max(fleet.response_limit_s or 0.0, fleet.patience_s or 0.0)
    return max(1, math.ceil(late_s)) if late_s else _TIMEOUT_S


def _resources(fleet: Fleet) -> str:
    return "      resources: {limits: {nvidia.com/gpu: 1}}\n" if fleet.is_gpu else ""
