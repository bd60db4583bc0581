"""KEDA: a ScaledObject that reads the rate of requests from Prometheus."""

import textwrap
from collections.abc import Iterator

from capacity.render.deploy.controller import behavior, controller_notes, metric_query, near_by_triton
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.fleet import Deployed, Fleet
from capacity.render.deploy.header import header
from capacity.render.deploy.kubernetes import BEHAVIOR, arrivals_query
from capacity.render.deploy.scaling import SYNC_S, Scaling, rounded_down, scaling_of

NAME = "keda"
FILE = "keda.yaml"
PLANS = Fleet
COVERS = Coverage(sets={Feature.REPLICAS, Feature.GROWTH, Feature.AUTOSCALER})


def render(plan: Fleet) -> str:
    """A ScaledObject for the Deployment of `--target kubernetes`, replacing that target's autoscaler."""
    scaling, scaler = scaling_of(plan), plan.autoscaler
    query, threshold = arrivals_query(plan.name), rounded_down(scaling.hpa_target_rps)
    what = "requests per second on each pod"
    if scaler is not None:
        query, threshold = metric_query(scaler, plan.name), f"{scaler.target.level:g}"
        what = f"{scaler.target}, on each pod"
    head = header(plan, NAME, _notes(plan, scaling))
    return head + scaled_object(plan, scaling, trigger(query, threshold, what))


def scaled_object(plan: Deployed, scaling: Scaling, triggers: str) -> str:
    """The object that sizes the Deployment of a plan, by some triggers."""
    scaler, least, most, note = plan.autoscaler, plan.servers, scaling.servers_max, "the plan"
    limit, pace = "twice the plan or what its spike needs; what may be spent is yours to say", BEHAVIOR
    if scaler is not None:
        least, most, note = scaler.replicas_min, scaler.replicas_max, "as confirmed over the day of the plan"
        limit, pace = note, behavior(scaler)
    return f"""\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {plan.name}
spec:
  scaleTargetRef: {{name: {plan.name}}}
  pollingInterval: {SYNC_S} # seconds; KEDA's default of 30 would add to the reaction time
  cooldownPeriod: 300 # only before scaling to zero, which minReplicaCount rules out
  minReplicaCount: {least} # {note}
  maxReplicaCount: {most} # {limit}
  fallback: # when Prometheus does not answer
    failureThreshold: 3
    replicas: {plan.servers}
  advanced:
    horizontalPodAutoscalerConfig:
{textwrap.indent(pace, "    ")}\
  triggers:
{triggers}"""


def trigger(query: str, threshold: str, what: str) -> str:
    """A query of Prometheus whose value, divided by the threshold, is how many servers it asks for."""
    return f"""\
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: http://prometheus:9090 # replace
        query: '{query.replace("'", "''")}'
        threshold: "{threshold}" # {what}
"""


def _notes(plan: Fleet, scaling: Scaling) -> Iterator[str]:
    if plan.autoscaler is not None:
        yield from controller_notes(plan.autoscaler, near_by_triton(plan.autoscaler, plan.name))
        yield (
            "KEDA's metric is the sum over all pods, so that a pod without a metric counts as idle, also on the way "
            "down."
        )
    else:
        yield from scaling.notes()
        yield "The query is for Triton; with another server take its counter of requests, rejected ones included."
    yield "Use this object or the HorizontalPodAutoscaler of --target kubernetes, not both."
