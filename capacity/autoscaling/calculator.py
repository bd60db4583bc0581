"""Replica calculator: the number of replicas that an autoscaler wants, from what each pod uses."""

import math
from collections.abc import Sequence

from capacity.autoscaling.pods import Group, Pod
from capacity.question.autoscaler import TOLERANCE, Metric, Target

Use = tuple[int, int]  # what a pod uses, and what it requests


def desired_replicas(target: Target, current: int, pods: Group, tolerance: float = TOLERANCE) -> int | None:
    """Replicas that would hold the target, ceil(n x metric / target); None if no metric is known.

    On the way up, pods that are not ready and those without a metric count as idle. On the way down, those without a
    metric count as fully used, and those that are not ready do not count. The number does not change within
    the tolerance, nor if such pods would reverse the direction.

    Args:
        current: replicas that were last asked for.
        tolerance: largest relative deviation from the target that changes nothing.

    Source:
        Kubernetes, pkg/controller/podautoscaler/replica_calculator.go, GetResourceReplicas and
        calcPlainMetricReplicas.

    >>> from capacity.autoscaling.pods import Pod, grouped
    >>> pods = grouped([Pod(used=300), Pod(used=500), Pod(used=700)], Metric.UTILIZATION, 600.0)
    >>> desired_replicas(Target(metric=Metric.UTILIZATION, level=0.3), 3, pods)
    5
    """
    uses = [_use(pod) for pod in pods.counted]
    if not uses:
        return None
    ratio = _ratio(target, uses)
    counts_ignored = bool(pods.ignored) and ratio > 1.0
    if not counts_ignored and not pods.missing:
        return current if abs(1.0 - ratio) <= tolerance else math.ceil(ratio * len(uses))
    uses += _missing(target, ratio, pods.missing)
    if counts_ignored:
        uses += [(0, pod.request) for pod in pods.ignored]
    again = _ratio(target, uses)
    if abs(1.0 - again) <= tolerance or (ratio < 1.0 < again) or (again < 1.0 < ratio):
        return current
    desired = math.ceil(again * len(uses))
    turns_round = (again < 1.0 and desired > current) or (again > 1.0 and desired < current)
    return current if turns_round else desired


def _use(pod: Pod) -> Use:
    assert pod.used is not None  # noqa: S101  (else it would be missing)
    return pod.used, pod.request


def _ratio(target: Target, uses: Sequence[Use]) -> float:
    """Mean use over the target; Kubernetes cuts it off to whole percents and whole thousandths."""
    used = sum(use for use, _ in uses)
    if target.metric is Metric.UTILIZATION:
        return (100 * used // sum(request for _, request in uses)) / target.count
    return (used // len(uses)) / target.count


def _missing(target: Target, ratio: float, pods: Sequence[Pod]) -> list[Use]:
    """Assumed use of pods without a metric; at the target itself Kubernetes leaves those of utilization out."""
    if target.metric is Metric.CONCURRENCY:
        return [(target.count if ratio < 1.0 else 0, pod.request) for pod in pods]
    if ratio < 1.0:
        return [(pod.request * max(100, target.count) // 100, pod.request) for pod in pods]
    return [(0, pod.request) for pod in pods] if ratio > 1.0 else []
