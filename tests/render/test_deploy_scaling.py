"""Files that scale, load and watch a fleet: their targets follow from the plan's headroom and start-up time."""

import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import autoscaled, fleet, saved_plan

from capacity.answer.saved_autoscaler import read_autoscaler
from capacity.errors import InputError
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.resilience import Spike, Survival
from capacity.render.deploy import k6, keda, kserve, kubernetes, prometheus, ray_serve
from capacity.render.deploy.scaling import (
    HPA_TOLERANCE,
    asking_rate_rps,
    hpa_target_rps,
    rounded_down,
    scaling_of,
)
from capacity.traffic.workload import ClosedPopulation

SPIKE = Survival(spare=1, zones=3, unavailable_share=0.4, spike=Spike(factor=1.1, startup_time_s=60.0))
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on PATH; `bash .ci/promtool FOLDER` fetches it on Debian"
)
FLEETS: list[dict[str, Any]] = [
    {},
    {"survival": SPIKE},
    {"replicas": 6, "instances_per_device": 2, "survival": SPIKE},
    {"queue_limit": None, "kind": "cpu", "headroom_rps": None},
    {"replicas": 1, "name": "7B_model", "routing": Routing.RANDOM},
]


def documents(text: str) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.floats(0.1, 1e5), st.floats(1.0, 5.0), st.none() | st.floats(1.001, 10.0), st.integers(1, 1000))
def test_a_server_is_asked_for_before_it_is_needed(planned_rps, room, growth, servers) -> None:
    headroom_rps = planned_rps * room
    asking_rps = asking_rate_rps(planned_rps, headroom_rps, growth)
    assert planned_rps <= asking_rps <= headroom_rps * (1.0 + 1e-12)
    if growth is not None and asking_rps > planned_rps:
        assert asking_rps * growth == pytest.approx(headroom_rps)
    target_rps = hpa_target_rps(asking_rps, planned_rps, servers)
    assert (
        math.ceil(planned_rps / target_rps - 1e-9) <= servers
    )  # at the planned rate the fleet stays as it is
    acts_rps = target_rps * servers * (1.0 + HPA_TOLERANCE)
    assert acts_rps == pytest.approx(max(asking_rps, 1.1 * planned_rps))
    k = 7.0  # all rates times k
    assert asking_rate_rps(k * planned_rps, k * headroom_rps, growth) == pytest.approx(k * asking_rps)


@settings(derandomize=True, deadline=None)
@given(st.floats(1e-6, 1e9))
def test_four_digits_are_never_more(value: float) -> None:
    assert value * 0.9989 <= float(rounded_down(value)) <= value * (1.0 + 1e-11)


def test_a_fleet_as_an_hpa_moves_it() -> None:
    """The HPA's own rule, step by step: at the planned rate it keeps the plan, at the asking rate it adds."""
    scaling = scaling_of(fleet(headroom_rps=1600.0, survival=SPIKE))
    target_rps = float(rounded_down(scaling.hpa_target_rps))

    def pods(rate_rps: float, now: int) -> int:
        ratio = rate_rps / (target_rps * now)
        return now if abs(ratio - 1.0) <= HPA_TOLERANCE else math.ceil(rate_rps / target_rps)

    assert scaling.asking_rps == pytest.approx(1600.0 / 1.1)
    assert pods(1000.0, 5) <= 5
    assert pods(scaling.asking_rps * 0.995, 5) == 5
    assert pods(scaling.asking_rps * 1.005, 5) == 6


def test_little_headroom_is_told() -> None:
    text = " ".join(kubernetes.render(fleet(headroom_rps=1050.0)).replace("#", "").split())
    assert "Too little headroom: the autoscaler acts from 1100 rps" in text
    assert "Too little" not in kserve.render(fleet(headroom_rps=1050.0))  # Knative has no tolerance


@pytest.mark.parametrize("given", FLEETS, ids=str)
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_knows_every_field(given: dict[str, Any], version: str) -> None:
    import kubernetes_validate  # takes a second or two, which every worker would wait for

    found = documents(kubernetes.render(fleet(**given)))
    assert set(found) == {"Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    for document in found.values():
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize(
    ("target", "kubernetes_metric", "keda_query", "threshold"),
    [
        (
            "utilization:0.65",
            {
                "metric": {"name": "replica_busy_share"},
                "target": {"type": "AverageValue", "averageValue": "650m"},
            },
            'sum(nv_gpu_utilization{pod=~"resnet50-.*"})',
            "0.65",
        ),
        (
            "concurrency:3.4",
            {
                "metric": {"name": "requests_in_progress"},
                "target": {"type": "AverageValue", "averageValue": "3400m"},
            },
            'sum(rate(nv_inference_request_duration_us{model="resnet50"}[1m])) / 1e6',
            "3.4",
        ),
    ],
)
def test_kubernetes_and_keda_have_exactly_the_autoscaler_that_was_confirmed(
    target: str, kubernetes_metric: dict[str, Any], keda_query: str, threshold: str
) -> None:
    planned = fleet(autoscaled=autoscaled(target))
    found = documents(kubernetes.render(planned))
    hpa, spec = found["HorizontalPodAutoscaler"]["spec"], yaml.safe_load(keda.render(planned))["spec"]
    assert (
        (hpa["minReplicas"], hpa["maxReplicas"])
        == (spec["minReplicaCount"], spec["maxReplicaCount"])
        == (2, 7)
    )
    assert found["Deployment"]["spec"]["replicas"] == 2
    assert hpa["metrics"] == [{"type": "Pods", "pods": kubernetes_metric}]
    (trigger,) = spec["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", threshold)
    assert trigger["metadata"]["query"] == keda_query
    behavior = hpa["behavior"]
    assert behavior == spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"] == {
        "stabilizationWindowSeconds": 240,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    }
    assert behavior["scaleUp"]["selectPolicy"] == "Max"
    assert [(one["type"], one["value"]) for one in behavior["scaleUp"]["policies"]] == [
        ("Percent", 100),
        ("Pods", 4),
    ]


def test_kubernetes_knows_every_field_of_a_confirmed_autoscaler() -> None:
    import kubernetes_validate

    for document in documents(kubernetes.render(fleet(autoscaled=autoscaled()))).values():
        kubernetes_validate.validate(document, "1.31", strict=True)


def test_an_autoscaler_that_was_not_confirmed_is_not_written() -> None:
    planned = fleet(autoscaled=autoscaled(verdict="inconclusive"))
    assert kubernetes.render(planned) == kubernetes.render(fleet()).replace(
        "--rate 1000rps", "--daily day.csv --autoscale any"
    )


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"autoscaler": 3}, "answer.autoscaled.autoscaler"),
        ({"autoscaler": {"target": "utilization:2"}}, "answer.autoscaled.autoscaler"),
        ({"day": {"name": "d", "times_s": [5.0, 1.0], "rates_rps": [1.0, 2.0]}}, "times must rise"),
        ({"day": None}, "answer.autoscaled.day"),
        ({"verdict": "good"}, "answer.autoscaled.verdict"),
    ],
)
def test_a_saved_autoscaler_that_is_none_is_named(broken: dict[str, Any], said: str) -> None:
    saved = saved_plan(autoscaled=autoscaled())
    edited = {**saved.answer, "autoscaled": saved.answer["autoscaled"] | broken}
    with pytest.raises(InputError, match=said):
        read_autoscaler(replace(saved, answer=edited))


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_kubernetes_and_keda_have_the_plan(given: dict[str, Any]) -> None:
    planned = fleet(**given)
    scaling, found = scaling_of(planned), documents(kubernetes.render(planned))
    target = found["HorizontalPodAutoscaler"]["spec"]
    (metric,) = target["metrics"]
    spec = yaml.safe_load(keda.render(planned))["spec"]
    (trigger,) = spec["triggers"]
    assert (
        found["Deployment"]["spec"]["replicas"]
        == target["minReplicas"]
        == spec["minReplicaCount"]
        == planned.servers
    )
    assert target["maxReplicas"] == spec["maxReplicaCount"] == scaling.servers_max > planned.servers
    threshold = trigger["metadata"]["threshold"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": threshold}
    assert float(threshold) == pytest.approx(scaling.hpa_target_rps, rel=1e-3)
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == target["behavior"]
    assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (15, 300)
    name = found["Deployment"]["metadata"]["name"]
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert {one["metadata"]["name"] for one in found.values()} == {name, spec["scaleTargetRef"]["name"]}
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert found[kind]["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}


def test_what_may_be_gone_is_what_the_plan_survives() -> None:
    def found(**given: Any) -> tuple[int, int, bool]:
        parts = documents(kubernetes.render(fleet(**given)))
        spec = parts["Deployment"]["spec"]
        spread = "topologySpreadConstraints" in spec["template"]["spec"]
        update = spec["strategy"]["rollingUpdate"]["maxUnavailable"]
        return parts["PodDisruptionBudget"]["spec"]["maxUnavailable"], update, spread

    assert found() == (0, 0, False)
    assert found(survival=SPIKE) == (1, 2, True)
    assert found(survival=SPIKE, replicas=6, instances_per_device=2) == (0, 1, True)  # half a pod is none


def test_patience_at_start_up_is_twice_that_of_the_plan() -> None:
    def patience_s(**given: Any) -> int:
        spec = documents(kubernetes.render(fleet(**given)))["Deployment"]["spec"]["template"]["spec"]
        probe = spec["containers"][0]["startupProbe"]
        return int(probe["periodSeconds"] * probe["failureThreshold"])

    assert (patience_s(survival=SPIKE), patience_s()) == (120, 300)


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_kserve_has_the_plan(given: dict[str, Any]) -> None:
    planned = fleet(**given)
    scaling, found = scaling_of(planned), yaml.safe_load(kserve.render(planned))
    spec = found["spec"]["predictor"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (planned.servers, scaling.servers_max)
    assert (spec["scaleMetric"], type(spec["scaleTarget"])) == ("rps", int)
    assert math.ceil(scaling.planned_rps / spec["scaleTarget"]) <= planned.servers
    assert spec["scaleTarget"] == pytest.approx(scaling.asking_rps / planned.servers, abs=1.0)
    limit = planned.server_queue_limit
    assert spec["containerConcurrency"] == (0 if limit is None else planned.server_batch_requests + limit)
    annotations = found["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/target-utilization-percentage"] == "100"
    assert (
        annotations["serving.kserve.io/deploymentMode"] == "Knative"
    )  # KServe's default cannot scale by rps
    assert "batcher" not in spec


@pytest.mark.parametrize("target", [kubernetes, keda, kserve, ray_serve, prometheus, k6])
def test_users_have_no_rate_to_scale_by(target: Any) -> None:
    with pytest.raises(InputError, match=r"plan\.json was made for 50 users, .* plan with --rate"):
        target.render(fleet(workload=ClosedPopulation(users=50, think_time_s=1.0)))


@needs_promtool
@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_prometheus_takes_its_rules(given: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(prometheus.render(fleet(**given)), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", "--lint-fatal", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 rules found" in done.stdout


def servers(rate_rps: float, batch: float, queue: int) -> list[dict[str, str]]:
    """Five servers that share a rate, in batches of a size, with a queue of a length."""
    found = []
    for number in range(5):
        labels = f'{{model="resnet50",instance="{number}"}}'
        each = rate_rps / 5 * 15  # of a scrape
        found += [
            {"series": f"nv_inference_request_success{labels}", "values": f"0+{each * 0.9}x200"},
            {"series": f"nv_inference_request_failure{labels}", "values": f"0+{each * 0.1}x200"},
            {"series": f"nv_inference_count{labels}", "values": f"0+{each}x200"},
            {"series": f"nv_inference_exec_count{labels}", "values": f"0+{each / batch}x200"},
            {"series": f"nv_inference_pending_request_count{labels}", "values": f"{queue}x200"},
        ]
    return found


@needs_promtool
@pytest.mark.parametrize(
    ("state", "fires"),
    [
        ((1000.0, 4.0, 3), set()),
        ((1270.0, 5.5, 3), set()),  # another rate has other batches by right
        ((1290.0, 6.0, 3), {"LoadAboveHeadroom"}),
        ((1000.0, 2.9, 3), {"BatchSizeOffPlan"}),
        ((1000.0, 5.5, 3), {"BatchSizeOffPlan"}),
        ((1000.0, 4.0, 63), set()),
        ((1000.0, 4.0, 64), {"QueueAboveLimit"}),
    ],
)
def test_alerts_fire_in_trouble_alone(state, fires, tmp_path) -> None:
    rules = prometheus.render(fleet())
    (tmp_path / "rules.yml").write_text(rules, encoding="utf-8")
    firing = [
        {"eval_time": "40m", "expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "exp_samples": [
            {"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(fires)
        ]}
    ]  # fmt: skip
    test = {"interval": "15s", "input_series": servers(*state), "promql_expr_test": firing}
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [test]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", "test.yml"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_queue_without_a_limit_is_watched_by_littles_law() -> None:
    """200 rps on a server times the limit of 50 ms are 10; without a limit on P99, times the 21 ms found, 4."""
    mean = Objective.of(response_mean=0.05)
    for planned, requests in (
        (fleet(queue_limit=None), 10),
        (fleet(queue_limit=None, objective=mean), 4),
        (fleet(), 64),
    ):
        assert prometheus.queue_length_max(planned, scaling_of(planned)) == requests
