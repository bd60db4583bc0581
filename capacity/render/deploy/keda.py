"""KEDA: a ScaledObject that reads the rate of requests from Prometheus."""

import textwrap
from collections.abc import Iterator

from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import header
from capacity.render.deploy.kubernetes import BEHAVIOR, arrivals_query
from capacity.render.deploy.scaling import SYNC_S, Scaling, rounded_down, scaling_of

NAME = "keda"
FILE = "keda.yaml"
PLANS = Fleet
COVERS = Coverage(
    sets=frozenset({Feature.REPLICAS, Feature.GROWTH}),
)


def render(plan: Fleet) -> str:
    """A ScaledObject for the Deployment of `--target kubernetes`, in place of its autoscaler."""
    scaling = scaling_of(plan)
    return f"""\
{header(plan, NAME, _notes(scaling))}\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {plan.name}
spec:
  scaleTargetRef: {{name: {plan.name}}}
  pollingInterval: {SYNC_S} # seconds; KEDA's default of 30 would add to the reaction time
  cooldownPeriod: 300 # only before scaling to zero, which minReplicaCount rules out
  minReplicaCount: {plan.servers} # the plan
  maxReplicaCount: {scaling.servers_max} # twice the plan or what its spike needs; what may be spent is yours to say
  fallback: # when Prometheus does not answer
    failureThreshold: 3
    replicas: {plan.servers}
  advanced:
    horizontalPodAutoscalerConfig:
{textwrap.indent(BEHAVIOR, "    ")}\
  triggers:
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: http://prometheus:9090 # replace
        query: '{arrivals_query(plan.name)}'
        threshold: "{rounded_down(scaling.hpa_target_rps)}" # requests per second on each pod
"""


def _notes(scaling: Scaling) -> Iterator[str]:
    yield from scaling.notes()
    yield "The query is for Triton; with another server take its counter of requests, rejected ones included."
    yield "Use this object or the HorizontalPodAutoscaler of --target kubernetes, not both."
