"""The law of the HPA against the tables of Kubernetes' own tests; figures alone are taken from there.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator_test.go and horizontal_test.go
(Apache 2.0); each case bears the name of its test there. Pods there have two containers alike, which cancels.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.autoscaling.calculator import desired_replicas
from capacity.autoscaling.controller import Controller
from capacity.autoscaling.pods import Group, Pod, grouped
from capacity.errors import InputError
from capacity.question.autoscaler import Autoscaler, Metric, Target, read_target

NOW_S = 100_000.0
WINDOW_S = 60.0
# The tests there set these two apart from the defaults.
INITIALIZATION_S, READINESS_DELAY_S = 120.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One of their tests: levels in thousandths, by pod, and what is said of the pods."""

    name: str
    current: int
    levels: tuple[int, ...]
    target: Target
    expected: int
    requests: tuple[int, ...] = ()
    unready: tuple[int, ...] = ()
    hot: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    pods: int = field(default=0)

    def group(self) -> Group:
        count = max(self.current, self.pods)
        pods = [
            Pod(
                used=self.levels[index] if index < len(self.levels) else None,
                request=self.requests[index] if self.requests else 1000,
                measured_s=0.0,
                window_s=WINDOW_S,
                started_s=NOW_S if index in self.hot else 0.0,
                changed_s=0.0,
                is_ready=index not in self.unready,
                is_pending=index in self.pending,
                is_gone=index in self.gone,
            )
            for index in range(count)
        ]
        return grouped(
            pods,
            self.target.metric,
            NOW_S,
            initialization_s=INITIALIZATION_S,
            readiness_delay_s=READINESS_DELAY_S,
        )


def cpu(percent: int) -> Target:
    return Target(metric=Metric.UTILIZATION, level=percent / 100.0)


def qps(milli: int) -> Target:
    return Target(metric=Metric.CONCURRENCY, level=milli / 1000.0)


THREE, FIVE = (300, 500, 700), (100, 300, 500, 250, 250)
CASES = [
    Case(name="ScaleUp", current=3, levels=THREE, target=cpu(30), expected=5),
    Case(name="ScaleUpUnreadyLessScale", current=3, levels=THREE, target=cpu(30), expected=4, unready=(0,)),
    Case(name="ScaleUpHotCpuLessScale", current=3, levels=THREE, target=cpu(30), expected=4, hot=(0,)),
    Case(name="ScaleUpUnreadyNoScale", current=3, levels=(400, 500, 700), target=cpu(30), expected=3, unready=(1, 2)),
    Case(
        name="ScaleHotCpuNoScale",
        current=3,
        levels=(400, 500, 700),
        target=cpu(30),
        expected=3,
        unready=(1, 2),
        hot=(1, 2),
    ),
    Case(
        name="ScaleUpIgnoresFailedPods",
        current=2,
        levels=(500, 700),
        target=cpu(30),
        expected=4,
        gone=(2, 3),
        unready=(2, 3),
        pods=4,
    ),
    Case(name="ScaleUpCM", current=3, levels=(20_000, 10_000, 30_000), target=qps(15_000), expected=4),
    Case(
        name="ScaleUpCMUnreadyHotCpuNoLessScale",
        current=3,
        levels=(50_000, 10_000, 30_000),
        target=qps(15_000),
        expected=6,
        unready=(2,),
        hot=(2,),
    ),
    Case(
        name="ScaleUpCMUnreadyHotCpuScaleWouldScaleDown",
        current=3,
        levels=(50_000, 15_000, 30_000),
        target=qps(15_000),
        expected=7,
        unready=(0, 2),
        hot=(0, 2),
    ),
    Case(name="ScaleDown", current=5, levels=FIVE, target=cpu(50), expected=3),
    Case(name="ScaleDownCM", current=5, levels=(12_000,) * 5, target=qps(20_000), expected=3),
    Case(name="ScaleDownIncludeUnreadyPods", current=5, levels=FIVE, target=cpu(50), expected=2, unready=(3, 4)),
    Case(
        name="ScaleDownExcludeUnscheduledPods",
        current=5,
        levels=(100,),
        target=cpu(50),
        expected=1,
        pending=(1, 2, 3, 4),
        unready=(1, 2, 3, 4),
    ),
    Case(name="ScaleDownIgnoreHotCpuPods", current=5, levels=FIVE, target=cpu(50), expected=2, hot=(3, 4)),
    Case(name="ScaleDownIgnoresDeletionPods", current=5, levels=FIVE, target=cpu(50), expected=3, gone=(5, 6), pods=7),
    Case(
        name="Tolerance",
        current=3,
        levels=(1010, 1030, 1020),
        target=cpu(100),
        expected=3,
        requests=(900, 1000, 1100),
    ),
    Case(name="ToleranceCM", current=3, levels=(20_000, 21_000, 21_000), target=qps(20_000), expected=3),
    Case(name="SuperfluousMetrics", current=4, levels=(4000, 9500, 3000, 7000), target=cpu(100), expected=24),
    Case(name="MissingMetrics", current=4, levels=(400, 95), target=cpu(100), expected=3),
    Case(name="MissingMetricsNoChangeEq", current=2, levels=(1000,), target=cpu(100), expected=2),
    Case(name="MissingMetricsNoChangeGt", current=2, levels=(1900,), target=cpu(100), expected=2),
    Case(name="MissingMetricsNoChangeLt", current=2, levels=(600,), target=cpu(100), expected=2),
    Case(name="MissingMetricsUnreadyChange", current=3, levels=(100, 450), target=cpu(50), expected=3, unready=(0,)),
    Case(name="MissingMetricsHotCpuNoChange", current=3, levels=(100, 450), target=cpu(50), expected=3, hot=(0,)),
    Case(name="MissingMetricsUnreadyScaleUp", current=3, levels=(100, 2000), target=cpu(50), expected=4, unready=(0,)),
    Case(
        name="MissingMetricsHotCpuScaleUp",
        current=3,
        levels=(100, 2000),
        target=cpu(50),
        expected=4,
        unready=(0,),
        hot=(0,),
    ),
    Case(
        name="MissingMetricsUnreadyScaleDown",
        current=4,
        levels=(100, 100, 100),
        target=cpu(50),
        expected=3,
        unready=(0,),
    ),
    Case(name="DuringRollingUpdateWithMaxSurge", current=2, levels=(100, 100), target=cpu(50), expected=2, pods=3),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_replicas_are_those_of_kubernetes_own_table(case: Case) -> None:
    assert desired_replicas(case.target, case.current, case.group()) == case.expected


def test_without_any_metric_nothing_is_recommended() -> None:
    """EmptyMetrics: an error there, after which the number of replicas stays."""
    pods = [Pod(used=None) for _ in range(4)]
    assert desired_replicas(cpu(100), 4, grouped(pods, Metric.UTILIZATION, NOW_S)) is None
    scaler = Autoscaler(target=cpu(100), replicas_min=2, replicas_max=6)
    assert Controller(scaler).replicas(NOW_S, 4, pods) == 4


@pytest.mark.parametrize(
    ("name", "pod", "expected"),
    [
        ("count in a fresh one", Pod(used=1, started_s=-60, changed_s=-30, measured_s=0, window_s=30), "counted"),
        ("not without a window", Pod(used=1, started_s=-60, changed_s=-30, measured_s=0, window_s=60), "ignored"),
        ("unready from the start", Pod(used=1, started_s=-600, is_ready=False, changed_s=-594), "ignored"),
        ("old metrics later", Pod(used=1, started_s=-180, changed_s=-180, measured_s=-120), "counted"),
        ("unready but once ready", Pod(used=1, started_s=-600, is_ready=False, changed_s=-540), "counted"),
        ("never ready, late", Pod(used=1, started_s=-600, is_ready=False, changed_s=-590), "counted"),
        ("missing", Pod(used=None, started_s=-180), "missing"),
        ("pending", Pod(used=None, is_pending=True), "ignored"),
    ],
)  # fmt: skip
def test_pods_are_grouped_as_in_kubernetes_own_table(name: str, pod: Pod, expected: str) -> None:
    """TestGroupPods: instants are seconds from now."""
    group = grouped(
        [pod], Metric.UTILIZATION, 0.0, initialization_s=INITIALIZATION_S, readiness_delay_s=READINESS_DELAY_S
    )
    assert getattr(group, expected) == [pod]


@pytest.mark.parametrize(
    ("recommended", "desired", "expected"),
    [
        ([], 5, 5),
        ([(4, 120.0), (5, 60.0)], 3, 5),
        ([(1, 120.0), (2, 60.0)], 3, 3),
        ([(10, 600.0), (9, 540.0)], 3, 3),
        ([(10, 600.0), (4, 60.0), (5, 120.0), (9, 540.0)], 3, 5),
    ],
)
def test_fleets_shrink_to_the_largest_recommendation_of_the_window(recommended, desired, expected) -> None:
    """TestNormalizeDesiredReplicas: what was recommended so many seconds ago. The fleet is larger all along."""
    controller = Controller(Autoscaler(target=cpu(100), replicas_max=100))
    current = 50
    for count, ago_s in sorted(recommended, key=lambda one: -one[1]):
        controller.replicas(NOW_S - ago_s, current, pods_that_want(count, current))
    assert controller.replicas(NOW_S, current, pods_that_want(desired, current)) == expected


def pods_that_want(count: int, current: int) -> list[Pod]:
    """As many pods as there are, used to such an extent that `count` are wanted at a target of 100 %."""
    percent = 100 * count // current
    assert -(-percent * current // 100) == count
    return [Pod(used=10 * percent)] * current


@pytest.mark.parametrize(
    ("current", "levels", "requests", "target", "bounds", "expected"),
    [
        pytest.param(3, (10, 95, 10), (900, 1000, 1100), 90, (2, 5), 2, id="MinReplicas"),
        pytest.param(3, (0, 0, 0), (900, 1000, 1100), 90, (2, 5), 2, id="MinReplicasDesiredZero"),
        pytest.param(2, (), (1000, 1000), 90, (3, 5), 3, id="TooFewReplicas"),
        pytest.param(10, (), (1000,) * 10, 90, (3, 5), 5, id="TooManyReplicas"),
        pytest.param(3, (8000, 9500, 1000), (900, 1000, 1100), 90, (2, 5), 5, id="MaxReplicas"),
    ],
)
def test_replicas_stay_within_the_bounds(current, levels, requests, target, bounds, expected) -> None:
    scaler = Autoscaler(target=cpu(target), replicas_min=bounds[0], replicas_max=bounds[1])
    pods = [
        Pod(used=levels[index] if levels else None, request=request) for index, request in enumerate(requests)
    ]
    assert Controller(scaler).replicas(NOW_S, current, pods) == expected


@pytest.mark.parametrize(("current", "expected"), [(1, 5), (3, 7), (4, 8), (5, 10), (50, 100)])
def test_fleets_double_or_gain_four_in_one_sync(current: int, expected: int) -> None:
    """The default policies of an HPA's behavior: 100 % or 4 pods in 15 s, whichever is more."""
    scaler = Autoscaler(target=cpu(1), replicas_max=2000)
    assert Controller(scaler).replicas(NOW_S, current, [Pod(used=1000)] * current) == expected


def test_the_last_replica_leaves_after_the_cooldown_and_comes_back_at_a_poll() -> None:
    """KEDA: 300 s without requests to none; then asked every 30 s, whatever the metric is."""
    controller = Controller(Autoscaler(target=cpu(50), replicas_min=0, replicas_max=3))
    pods, idle = [Pod(used=500)], [Pod(used=0)]
    assert controller.replicas(0.0, 1, pods) == 1
    for now_s in range(15, 300, 15):
        assert controller.replicas(float(now_s), 1, idle, is_active=False) == 1
    assert controller.replicas(300.0, 1, idle, is_active=False) == 0
    assert controller.replicas(315.0, 0, [], is_active=False) == 0
    assert controller.replicas(330.0, 0, [], is_active=True) == 0  # between two polls
    assert controller.replicas(345.0, 0, [], is_active=True) == 1


@settings(deadline=None)
@given(
    uses=st.lists(st.integers(0, 1000), min_size=1, max_size=20),
    percent=st.integers(1, 100),
    factor=st.integers(2, 7),
)
def test_only_ratios_matter(uses: list[int], percent: int, factor: int) -> None:
    """Uses and requests in another unit change nothing, and neither does the order of the pods."""
    target, count = cpu(percent), len(uses)
    one = grouped([Pod(used=use) for use in uses], Metric.UTILIZATION, NOW_S)
    other = grouped(
        [Pod(used=factor * use, request=1000 * factor) for use in reversed(uses)], Metric.UTILIZATION, NOW_S
    )
    assert desired_replicas(target, count, one) == desired_replicas(target, count, other)


@settings(deadline=None)
@given(busy=st.integers(1, 100), percent=st.integers(1, 100), count=st.integers(1, 50))
def test_the_fleet_that_is_recommended_does_not_grow_again(busy: int, percent: int, count: int) -> None:
    """The same work on the recommended fleet is at or below the target; whole percents, as upstream cuts them."""
    target, work = cpu(percent), 10 * busy * count
    first = desired_replicas(target, count, grouped([Pod(used=10 * busy)] * count, Metric.UTILIZATION, NOW_S))
    assert first is not None
    again = desired_replicas(
        target, first, grouped([Pod(used=work // first)] * first, Metric.UTILIZATION, NOW_S)
    )
    assert again is not None
    assert again <= first


@pytest.mark.parametrize(
    "text", ["utilization:1", "utilization:0.01", "concurrency:0.001", "concurrency:4.5"]
)
def test_a_target_in_steps_of_the_hpa_is_what_it_says(text: str) -> None:
    assert str(read_target(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("utilization:1.01", "must be a share up to 1, got 1.01"),
        ("utilization:1.5", "must be a share up to 1, got 1.5"),
        ("utilization:0", "above 0 and finite, got 0"),
        ("concurrency:inf", "above 0 and finite, got inf"),
        ("utilization:0.605", "whole percents, such as 0.65, got 0.605"),
        ("concurrency:0.0004", "whole thousandths, got 0.0004"),
        ("concurrency:1.0005", "whole thousandths, got 1.0005"),
        ("load:0.5", "write utilization:0.6 or concurrency:4"),
        ("concurrency:0", "above 0 and finite, got 0"),
        ("concurrency:x", "write utilization:0.6 or concurrency:4"),
        ("", "write utilization:0.6 or concurrency:4"),
        ("utilization", "write utilization:0.6 or concurrency:4"),
    ],
)
def test_a_target_that_the_hpa_has_no_number_for_is_refused(text: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_target(text)


def test_a_pod_by_default_is_ready_and_has_served_from_the_start() -> None:
    assert Pod(used=5) == Pod(
        used=5,
        request=1000,
        measured_s=0.0,
        window_s=60.0,
        started_s=0.0,
        is_ready=True,
        changed_s=0.0,
        is_pending=False,
        is_gone=False,
    )


def test_the_default_settings_are_those_of_kubernetes() -> None:
    """A tolerance of 0.1 and five minutes of stabilization; nothing takes time unless it is given."""
    target = cpu(60)
    assert Autoscaler(target=target, replicas_max=3) == Autoscaler(
        target=target,
        replicas_min=1,
        replicas_max=3,
        startup_s=0.0,
        metric_lag_s=0.0,
        tolerance=0.1,
        stabilization_s=300.0,
    )
