"""Kubernetes, for engines: a Deployment of its server with the model's volume, a Service, and an autoscaler."""

import json
from collections.abc import Iterator
from math import ceil

from capacity.answer.saved_plan import SavedPlan
from capacity.question.plan import Routing
from capacity.render.deploy.controller import controller_notes
from capacity.render.deploy.engine_servers import PORT, SERVERS
from capacity.render.deploy.engines import Engines, read_engines, require_scheduler, require_seen
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.header import header_of
from capacity.render.deploy.kubernetes import (
    autoscaler,
    budget,
    confirmed_autoscaler,
    deployment_head,
    external,
)
from capacity.render.deploy.router import router_notes
from capacity.render.deploy.scaling import Scaling, scaling_of

NAME = "kubernetes"
FILE = "kubernetes.yaml"
PLANS = SavedPlan
SCHEDULERS = tuple(SERVERS)
COVERS = Coverage(
    sets={
        Feature.REPLICAS,
        Feature.ENGINE,
        Feature.QUEUE_LIMIT,
        Feature.SPARE,
        Feature.ZONES,
        Feature.UPDATES,
        Feature.GROWTH,
        Feature.AUTOSCALER,
    },
    says={Feature.ROUTING},
)
_PROBE_PERIOD_S = 10
_STARTUP_S = 1800  # patience to load a model if the plan names no start-up time


def render(saved: SavedPlan) -> str:
    """A Deployment, a Service, a PersistentVolumeClaim, a PodDisruptionBudget and a HorizontalPodAutoscaler.

    Raises:
        InputError: the plan is for an engine with other rules, or its autoscaler is on what no metric tells.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    engines = read_engines(saved)
    require_seen(engines, NAME)
    scaling, scaler = scaling_of(engines), engines.autoscaler
    parts = (
        _deployment(engines),
        _service(engines),
        _claim(engines),
        budget(engines),
        autoscaler(engines, scaling, _waiting(engines))
        if scaler is None
        else confirmed_autoscaler(engines.name, scaler),
    )
    return header_of(saved, NAME, _notes(engines, scaling)) + "---\n".join(parts)


def waiting_target(engines: Engines) -> int | None:
    """Waiting requests on each pod at which an autoscaler adds one: half of those that make first tokens late."""
    late = engines.waiting_late
    return None if late is None else max(1, late // 2)


def waiting_note(engines: Engines) -> Iterator[str]:
    """Where the limit on waiting requests comes from."""
    if (target := waiting_target(engines)) is not None:
        yield (
            f"Behind {engines.waiting_late} waiting requests at an engine a first token comes too late, by Little's "
            f"law at the planned rate; the autoscaler asks for another engine from {target} on each."
        )


def device_notes(engines: Engines) -> Iterator[str]:
    """What is left out because the profile does not say it."""
    if engines.resource is None:
        yield (
            "The profile's device is none that is known here, and none is asked for; add resources: {limits: "
            f"{{nvidia.com/gpu: {engines.profile.devices}}}}} or the like."
        )
    if engines.image is None:
        yield (
            f"The profile does not say with which version of {engines.server.name} it was measured: replace the image."
        )


def image_of(engines: Engines) -> str:
    """The image, with what to do about it."""
    return engines.image or f"{engines.server.image}:latest # replace: the version that was measured"


def devices_of(engines: Engines) -> str:
    """The devices of a pod, as a line of a container; empty if they are not known."""
    if engines.resource is None:
        return ""
    return f"          resources: {{limits: {{{engines.resource}: {engines.profile.devices}}}}}\n"


def service_note(engines: Engines) -> Iterator[str]:
    """What a Service does to the routing of the plan; empty if it does the same, or if a router is needed."""
    plan = engines.plan
    if plan.replicas == 1 or plan.routing.needs_sessions or plan.routing is Routing.RANDOM:
        return
    yield (
        f"Routing: a Service has random, and the plan was evaluated with {plan.routing.value}; plan with --routing "
        "random, or put a router with the plan's routing in front (--target inference-pool)."
    )


def _notes(engines: Engines, scaling: Scaling) -> Iterator[str]:
    yield from engines.notes()
    yield from device_notes(engines)
    yield from service_note(engines)
    yield from router_notes(engines.plan)
    yield from _scaling_notes(engines, scaling)
    yield "Use this autoscaler or that of --target keda, not both."
    yield "To replace: the size of the volume, and the secret with which the model is fetched if it needs one."


def near_by_server(engines: Engines) -> Iterator[str]:
    """How the server's metrics give the requests in progress, which an autoscaler was confirmed with."""
    yield f"{engines.server.name}'s metrics give its sum over all pods: {engines.in_progress_query}."


def _scaling_notes(engines: Engines, scaling: Scaling) -> Iterator[str]:
    """Where the autoscaler comes from, and what its metrics are."""
    if engines.autoscaler is not None:
        yield from controller_notes(engines.autoscaler, near_by_server(engines))
        return
    yield from scaling.notes()
    yield (
        f"requests_per_second is {engines.answers_query}, from an adapter for Prometheus: the rate of answers, which "
        "is that of arrivals until engines fall behind; then requests wait."
    )
    if waiting_target(engines) is not None:
        yield f"requests_waiting is {engines.waiting_query}."
    yield from waiting_note(engines)


def _deployment(engines: Engines) -> str:
    name = engines.name
    shared = "        - {name: shm, emptyDir: {medium: Memory}}\n" if _shares_memory(engines) else ""
    return (
        deployment_head(engines)
        + f"""\
{_container(engines)}      volumes:
        - {{name: models, persistentVolumeClaim: {{claimName: {name}-models}}}}
{shared}"""
    )


def _shares_memory(engines: Engines) -> bool:
    """Whether a pod has several devices, whose processes exchange data by shared memory."""
    return bool(engines.profile.tensor_parallel > 1)


def _container(engines: Engines) -> str:
    server = engines.server
    settings = (one.replace(" ", "=", 1) for one in server.flags(engines.saved))
    args = [f"{server.model}={engines.model}", *settings, *server.host, f"--port={PORT}"]
    runs = f"          command: {json.dumps(server.command)}\n" if server.command else ""
    listed = "".join(f"            - {json.dumps(one)}\n" for one in args)
    mounted = "            - {name: shm, mountPath: /dev/shm}\n" if _shares_memory(engines) else ""
    patience = ceil((2 * engines.startup_s if engines.startup_s else _STARTUP_S) / _PROBE_PERIOD_S)
    return f"""\
        - name: {server.container}
          image: {image_of(engines)}
{runs}          args:
{listed}          ports: [{{name: http, containerPort: {PORT}}}]
          env: [{{name: HF_HOME, value: /models}}]
{devices_of(engines)}          volumeMounts:
            - {{name: models, mountPath: /models}}
{mounted}          startupProbe: # twice the start-up time of the plan, or {_STARTUP_S} s to load the model
{_asks(engines, server.ready)}            failureThreshold: {patience}
          readinessProbe:
{_asks(engines, server.ready)}          livenessProbe:
{_asks(engines, server.alive)}            failureThreshold: 6
          lifecycle: {{preStop: {{sleep: {{seconds: 5}}}}}} # until every node sends its requests elsewhere
"""


def _asks(engines: Engines, path: str) -> str:
    """What a probe asks for and how often, and how long it waits if the server takes its time."""
    wait_s = engines.server.probe_timeout_s
    waits = "" if wait_s is None else f"            timeoutSeconds: {wait_s} # it waits for a token\n"
    return f"""\
            httpGet: {{path: {path}, port: http}}
            periodSeconds: {_PROBE_PERIOD_S}
{waits}"""


def _service(engines: Engines) -> str:
    name = engines.name
    return f"""\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {name}}}
spec:
  selector: {{app.kubernetes.io/name: {name}}}
  ports: [{{name: http, port: {PORT}, targetPort: http}}]
"""


def _claim(engines: Engines) -> str:
    return f"""\
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {engines.name}-models
spec:
  accessModes: [ReadWriteMany] # read by every pod, and filled by the first
  resources: {{requests: {{storage: 200Gi}}}} # replace: room for the model
"""


def _waiting(engines: Engines) -> str:
    """The metric of waiting requests, if there is a limit from which it follows."""
    target = waiting_target(engines)
    if target is None:
        return ""
    return external("requests_waiting", engines.name, str(target)) + " # waiting requests on each pod\n"
