"""Controller: the settings of a plan's confirmed autoscaler for the HPA and for KEDA."""

from collections.abc import Iterable, Iterator

from capacity.autoscaling.controller import SCALE_UP_FACTOR, SCALE_UP_PODS
from capacity.question.autoscaler import SYNC_S, Autoscaler, Metric
from capacity.units import format_duration

METRICS = {Metric.UTILIZATION: "replica_busy_share", Metric.CONCURRENCY: "requests_in_progress"}


def behavior(autoscaler: Autoscaler) -> str:
    """The pace of scaling that was simulated, as `behavior` of an HPA."""
    period = f"periodSeconds: {SYNC_S:.0f}"
    percent = 100 * (SCALE_UP_FACTOR - 1)
    return f"""\
  behavior: # as simulated
    scaleUp:
      stabilizationWindowSeconds: 0
      selectPolicy: Max
      policies: [{{type: Percent, value: {percent}, {period}}}, {{type: Pods, value: {SCALE_UP_PODS}, {period}}}]
    scaleDown:
      stabilizationWindowSeconds: {autoscaler.stabilization_s:.0f}
      policies: [{{type: Percent, value: 100, {period}}}]
"""


def metric_name(autoscaler: Autoscaler) -> str:
    """Name of the pods' metric.

    >>> from capacity.question.autoscaler import read_target
    >>> metric_name(Autoscaler(target=read_target("concurrency:4"), replicas_max=2))
    'requests_in_progress'
    """
    return METRICS[autoscaler.target.metric]


def quantity(autoscaler: Autoscaler) -> str:
    """The target as a quantity of Kubernetes, in thousandths.

    >>> from capacity.question.autoscaler import read_target
    >>> quantity(Autoscaler(target=read_target("utilization:0.65"), replicas_max=2))
    '650m'
    """
    return f"{round(1000.0 * autoscaler.target.level)}m"


def metric_query(autoscaler: Autoscaler, model: str) -> str:
    """Query in PromQL for the sum of the metric over all pods, from Triton's metrics.

    Requests in progress are the rate of requests times their time in the server (Little 1961).
    """
    if autoscaler.target.metric is Metric.UTILIZATION:
        return f'sum(nv_gpu_utilization{{pod=~"{model}-.*"}})'
    return f'sum(rate(nv_inference_request_duration_us{{model="{model}"}}[1m])) / 1e6'


def controller_notes(autoscaler: Autoscaler, near: Iterable[str]) -> Iterator[str]:
    """Notes on the settings with which the autoscaler was confirmed, and their conditions.

    Args:
        near: how the servers' own metrics come near to its metric.
    """
    lag, startup = (format_duration(seconds) for seconds in (autoscaler.metric_lag_s, autoscaler.startup_s))
    yield (
        f"The autoscaler is the one that was confirmed over the day of the plan: {autoscaler.target}, "
        f"{autoscaler.replicas_min} to {autoscaler.replicas_max} replicas, with metrics that are {lag} old and "
        f"replicas that serve {startup} after they are asked for. Plan again where yours are slower."
    )
    what = {
        Metric.UTILIZATION: "the share of time in which the pod has a batch in service",
        Metric.CONCURRENCY: "the requests that wait or are served at the pod",
    }[autoscaler.target.metric]
    own, *others = near
    yield f"{metric_name(autoscaler)} is {what}, over the last {SYNC_S:.0f} s. {own}"
    yield from others
    if autoscaler.target.metric is Metric.UTILIZATION:
        yield (
            "Pods without a metric count as idle on the way up, as pods that start do in the simulation; on the way "
            "down the HPA takes them for fully used, where the simulation leaves out those that start."
        )


def near_by_triton(autoscaler: Autoscaler, model: str) -> Iterator[str]:
    """How the metrics of Triton come near to that of the autoscaler."""
    yield f"Triton comes near to the sum over all pods by {metric_query(autoscaler, model)}."
    if autoscaler.target.metric is Metric.CONCURRENCY:
        yield "That rate over a minute is some 30 s older than what it counts; add it to --metric-lag."
