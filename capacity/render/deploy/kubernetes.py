"""Kubernetes: a Deployment, its disruption budget, and an autoscaler on the rate of requests."""

from collections.abc import Iterator
from math import ceil

from capacity.question.autoscaler import Autoscaler
from capacity.question.plan import Routing
from capacity.question.resilience import Survival
from capacity.render.deploy.controller import (
    behavior,
    controller_notes,
    metric_name,
    near_by_triton,
    quantity,
)
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.fleet import Deployed, Fleet
from capacity.render.deploy.header import device_note, header, routing_note
from capacity.render.deploy.scaling import Scaling, rounded_down, scaling_of

NAME = "kubernetes"
FILE = "kubernetes.yaml"
PLANS = Fleet
COVERS = Coverage(
    sets={
        Feature.REPLICAS,
        Feature.SPARE,
        Feature.ZONES,
        Feature.UPDATES,
        Feature.GROWTH,
        Feature.AUTOSCALER,
    },
    says={Feature.ROUTING},
)
_PROBE_PERIOD_S = 5
_STARTUP_S = 300  # patience if the plan names no start-up time


def render(plan: Fleet) -> str:
    """A Deployment, a PodDisruptionBudget and a HorizontalPodAutoscaler."""
    scaling, confirmed = scaling_of(plan), plan.autoscaler
    scaler = autoscaler(plan, scaling) if confirmed is None else confirmed_autoscaler(plan.name, confirmed)
    notes = scaling_notes(plan, scaling)
    return header(plan, NAME, _notes(plan, notes)) + "---\n".join((_deployment(plan), budget(plan), scaler))


def pods_lost(fleet: Deployed) -> int:
    """Pods that maintenance may take away at once: whole pods among the plan's spare replicas."""
    survival: Survival = fleet.saved.question.survival
    return int(survival.spare // fleet.profile.instances_per_device)


def scaling_notes(fleet: Fleet, scaling: Scaling) -> Iterator[str]:
    """Where the autoscaler comes from, and what its metric is."""
    if fleet.autoscaler is not None:
        yield from controller_notes(fleet.autoscaler, near_by_triton(fleet.autoscaler, fleet.name))
        return
    yield from scaling.notes()
    yield (
        "The metric is the rate of arrivals of the whole service, rejected ones included, from an adapter for "
        "Prometheus. For Triton its query is " + arrivals_query(fleet.name) + "."
    )


def _notes(fleet: Fleet, scaling: Iterator[str]) -> Iterator[str]:
    yield from routing_note(fleet, Routing.RANDOM, "a Kubernetes Service")
    yield from scaling
    yield "Use this autoscaler or that of --target keda, not both."
    yield from device_note(
        fleet, "no GPU is asked for; add resources: {limits: {nvidia.com/gpu: 1}} if it is one"
    )
    yield "To replace: the image, by that of your server with the model."


def arrivals_query(model: str) -> str:
    """Rate at which requests arrive at a model of Triton, in PromQL. [requests/s]

    Rejected requests count as failures; without them an overloaded fleet would look large enough.

    >>> arrivals_query("m")
    'sum(rate(nv_inference_request_success{model="m"}[1m])) + sum(rate(nv_inference_request_failure{model="m"}[1m]))'
    """
    return " + ".join(
        f'sum(rate(nv_inference_request_{end}{{model="{model}"}}[1m]))' for end in ("success", "failure")
    )


def deployment_head(plan: Deployed) -> str:
    """A Deployment up to its containers."""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {plan.name}
  labels: {{app.kubernetes.io/name: {plan.name}}}
spec:
  # The autoscaler goes on from here; leave the line out of later `kubectl apply`, which would set it back.
  replicas: {plan.servers_first}
  strategy:
    type: RollingUpdate
    rollingUpdate: {{maxUnavailable: {unavailable(plan)}, maxSurge: 1}}
  selector:
    matchLabels: {{app.kubernetes.io/name: {plan.name}}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: {plan.name}}}
    spec:
{spread(plan)}      containers:
"""


def _deployment(fleet: Fleet) -> str:
    name, patience = fleet.name, ceil(2 * (fleet.startup_s or _STARTUP_S / 2) / _PROBE_PERIOD_S)
    return (
        deployment_head(fleet)
        + f"""\
        - name: server
          image: {name}:latest # replace: your server with the model
          ports: [{{name: http, containerPort: 8000}}]
{_resources(fleet)}          startupProbe: # twice the start-up time of the plan, or {_STARTUP_S} s
            httpGet: {{path: /v2/health/ready, port: http}}
            periodSeconds: {_PROBE_PERIOD_S}
            failureThreshold: {patience}
          lifecycle: {{preStop: {{sleep: {{seconds: 5}}}}}} # until every node sends its requests elsewhere
          readinessProbe:
            httpGet: {{path: /v2/health/ready, port: http}}
            periodSeconds: {_PROBE_PERIOD_S}
"""
    )


def unavailable(fleet: Deployed) -> int:
    """Pods that an update may take away before new ones are ready."""
    survival: Survival = fleet.saved.question.survival
    losses = survival.losses(fleet.plan.replicas, fleet.profile.instances_per_device)
    return int(losses.get("rolling update", 0) // fleet.profile.instances_per_device)


def spread(fleet: Deployed) -> str:
    """Spread over zones in equal parts, if the plan must survive the loss of one."""
    if fleet.saved.question.survival.zones is None:
        return ""
    return f"""\
      topologySpreadConstraints: # the plan survives the loss of a zone while pods are spread evenly
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {{matchLabels: {{app.kubernetes.io/name: {fleet.name}}}}}
"""


def _resources(fleet: Fleet) -> str:
    if not fleet.is_gpu:
        return ""
    return "          resources: {limits: {nvidia.com/gpu: 1}}\n"


def budget(fleet: Deployed) -> str:
    """The PodDisruptionBudget of the plan's spare replicas."""
    lost = pods_lost(fleet)
    why = (
        "as many as the plan can lose"
        if lost
        else "the plan has no pod to spare, so that drains wait; plan with --survive n-1 to let them go on"
    )
    return f"""\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {fleet.name}
spec:
  maxUnavailable: {lost} # {why}
  selector:
    matchLabels: {{app.kubernetes.io/name: {fleet.name}}}
"""


def autoscaler(fleet: Deployed, scaling: Scaling, more: str = "") -> str:
    """A HorizontalPodAutoscaler on the rate of requests, and on more metrics if they are given."""
    rate = external("requests_per_second", fleet.name, rounded_down(scaling.hpa_target_rps))
    return f"""\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {fleet.name}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {fleet.name}}}
  minReplicas: {fleet.servers} # the plan
  maxReplicas: {scaling.servers_max} # twice the plan or what its spike needs; what may be spent is yours to say
  metrics:
{rate} # requests per second on each pod
{more}{BEHAVIOR}"""


def external(metric: str, name: str, each: str) -> str:
    """An external metric of a HorizontalPodAutoscaler with its mean over the pods, without the end of its line."""
    return f"""\
    - type: External
      external:
        metric:
          name: {metric}
          selector: {{matchLabels: {{service: {name}}}}}
        target:
          type: AverageValue
          averageValue: "{each}\""""


def confirmed_autoscaler(name: str, autoscaler: Autoscaler) -> str:
    """The autoscaler that was confirmed over a day."""
    return f"""\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {name}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  minReplicas: {autoscaler.replicas_min}
  maxReplicas: {autoscaler.replicas_max}
  metrics:
    - type: Pods
      pods:
        metric: {{name: {metric_name(autoscaler)}}}
        target: {{type: AverageValue, averageValue: {quantity(autoscaler)}}} # {autoscaler.target}
{behavior(autoscaler)}"""


# Up at once, since the room for growth is counted from there; down slowly, since too few replicas make answers late.
BEHAVIOR = """\
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      policies: [{type: Percent, value: 100, periodSeconds: 15}]
    scaleDown:
      stabilizationWindowSeconds: 300
      policies: [{type: Pods, value: 1, periodSeconds: 60}]
"""
