"""Inference pool: the pods of a plan behind the Gateway API, with an endpoint picker that routes among them."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.question.plan import Routing
from capacity.render.deploy.engine_servers import PORT, SERVERS, VLLM
from capacity.render.deploy.engines import Engines, read_engines, require_scheduler
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.header import header_of
from capacity.render.deploy.router import router_notes

NAME = "inference-pool"
FILE = "inference-pool.yaml"
PLANS = SavedPlan
SCHEDULERS = tuple(SERVERS)
COVERS = Coverage(says={Feature.ROUTING})
_PICKER_PORT = 9002


def render(saved: SavedPlan) -> str:
    """An InferencePool of the pods of `--target kubernetes`, and an HTTPRoute that leads to it.

    Raises:
        InputError: the plan is for users without a rate, or for an engine with other rules.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    engines = read_engines(saved)
    name = engines.name
    return f"""\
{header_of(saved, NAME, _notes(engines))}\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata:
  name: {name}
spec:
  selector:
    matchLabels: {{app.kubernetes.io/name: {name}}}
  targetPorts: [{{number: {PORT}}}]
  endpointPickerRef:
    name: {name}-epp # replace: the Service of your endpoint picker
    port: {{number: {_PICKER_PORT}}}
    failureMode: FailOpen # without its picker the gateway picks at random
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {name}
spec:
  parentRefs: [{{name: inference-gateway}}] # replace: your Gateway
  rules:
    - matches: [{{path: {{type: PathPrefix, value: /v1}}}}]
      backendRefs: [{{group: inference.networking.k8s.io, kind: InferencePool, name: {name}}}]
      timeouts: {{request: 0s}} # a stream lasts as long as its answer
"""


def picker_notes(engines: Engines) -> Iterator[str]:
    """What the endpoint picker of a pool has to do with the routing of the plan."""
    plan = engines.plan
    if plan.replicas == 1:
        return
    if plan.routing.needs_sessions:
        yield from router_notes(plan)
        return
    nearest = Routing.LEAST_OUTSTANDING
    if plan.routing.base is nearest:
        yield "Routing: an endpoint picker with its queue scorer alone comes near to the least-outstanding of the plan."
        return
    yield (
        "Routing: an endpoint picker looks at queues and caches, and the plan was evaluated with "
        f"{plan.routing.value}; plan with --routing {nearest.value}, to which one with its queue scorer alone comes "
        "near."
    )


def _notes(engines: Engines) -> Iterator[str]:
    yield "The pods are those of --target kubernetes, found by their label."
    yield from _metrics_notes(engines)
    yield from picker_notes(engines)


def _metrics_notes(engines: Engines) -> Iterator[str]:
    """Which metrics an endpoint picker reads, and whether it must be told."""
    server, chart = engines.server, "the chart inferencepool of the Gateway API inference extension runs one"
    if server is VLLM:
        yield f"The endpoint picker reads vLLM's metrics; {chart}."
        return
    waiting, used = (f"{server.metrics}:{one}" for one in (server.waiting, server.cache_use))
    yield (
        f"The endpoint picker must be told to read {server.name}'s metrics, {waiting} and {used}, as vLLM's are its "
        f"default; {chart}."
    )
