"""Pods: replicas as an autoscaler sees them, grouped by whether their metrics count."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from capacity.question.autoscaler import Metric

# Defaults of kube-controller-manager: --horizontal-pod-autoscaler-cpu-initialization-period and
# --horizontal-pod-autoscaler-initial-readiness-delay. [s]
INITIALIZATION_S = 300.0
READINESS_DELAY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One replica at an instant. All instants are on one clock. [s]

    Attributes:
        used: thousandths of its request, or of one request that it holds; None if no metric is known.
        request: what `used` is a share of.
        measured_s: end of the metric's window.
        window_s: length of the metric's window.
        started_s: when the pod was created.
        is_ready: whether it serves.
        changed_s: when it last became ready or unready.
        is_pending: whether it has no machine yet.
        is_gone: whether it has failed, or is about to be deleted.
    """

    used: int | None
    request: int = 1000
    measured_s: float = 0.0
    window_s: float = 60.0
    started_s: float = 0.0
    is_ready: bool = True
    changed_s: float = 0.0
    is_pending: bool = False
    is_gone: bool = False


class Group(NamedTuple):
    """Pods whose metric counts, pods that are ignored as they are not ready, and pods without a metric."""

    counted: list[Pod]
    ignored: list[Pod]
    missing: list[Pod]


def grouped(
    pods: Iterable[Pod],
    metric: Metric,
    now_s: float,
    *,
    initialization_s: float = INITIALIZATION_S,
    readiness_delay_s: float = READINESS_DELAY_S,
) -> Group:
    """The pods by whether their metrics count. Readiness matters for utilization alone.

    Source:
        Kubernetes, pkg/controller/podautoscaler/replica_calculator.go, groupPods.
    """
    group = Group([], [], [])
    for pod in pods:
        if pod.is_gone:
            continue
        if pod.is_pending:
            group.ignored.append(pod)
        elif pod.used is None:
            group.missing.append(pod)
        elif metric is Metric.UTILIZATION and _is_ignored(pod, now_s, initialization_s, readiness_delay_s):
            group.ignored.append(pod)
        else:
            group.counted.append(pod)
    return group


def _is_ignored(pod: Pod, now_s: float, initialization_s: float, readiness_delay_s: float) -> bool:
    """Whether a young pod has not been ready for a whole window, or an older one has never been ready."""
    if pod.started_s + initialization_s > now_s:
        return not pod.is_ready or pod.measured_s < pod.changed_s + pod.window_s
    return not pod.is_ready and pod.started_s + readiness_delay_s > pod.changed_s
