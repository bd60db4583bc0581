"""Pods: the replicas as an autoscaler sees them, and whose metrics it counts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from capacity.autoscaling.target import Metric

# The defaults of kube-controller-manager: --horizontal-pod-autoscaler-cpu-initialization-period and
# --horizontal-pod-autoscaler-initial-readiness-delay. [s]
INITIALIZATION_S = 300.0
READINESS_DELAY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One replica at an instant. All instants are those of one clock. [s]

    Attributes:
        used: of its request in thousandths, or thousandths of a request that it holds; None where no metric is known.
        request: what `used` is a share of.
        measured_s: when the metric's window ended.
        window_s: length of that window.
        started_s: when it was created.
        is_ready: whether it serves.
        changed_s: when it last became ready, or unready.
        is_pending: it has no machine yet.
        is_gone: it has failed, or is about to be deleted.
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
    """Pods by what counts of them: their metric, nothing as they are not ready, or nothing as it is missing."""

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
    """Whose metrics count. Readiness matters for utilization alone.

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
    """A pod that is young counts once it was ready for a whole window; later one, unless it never was ready."""
    if pod.started_s + initialization_s > now_s:
        return not pod.is_ready or pod.measured_s < pod.changed_s + pod.window_s
    return not pod.is_ready and pod.started_s + readiness_delay_s > pod.changed_s
