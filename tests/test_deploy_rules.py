"""The deployment files keep every rule, and every rule sees what breaks it."""

import copy
from typing import Any

import deployment_agreement
import deployment_confinement
import deployment_monitoring
import pytest
from deployment import documents

RULES = {
    rule.__name__: rule
    for file in (deployment_confinement, deployment_agreement, deployment_monitoring)
    for rule in file.RULES
}
REMOVED = object()
POD = ("Deployment", "spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
COMPOSE = ("compose", "services", "serve-api")
ARGS = (*CONTAINER, "args")
HPA = ("HorizontalPodAutoscaler", "spec")
JOB = ("jobs", "publish", "spec", "template", "spec")
SCRAPE = ("prometheus in Kubernetes", "scrape_configs", 0)
# Rule, place, what is put there.
BROKEN: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("containers_are_bounded", (*CONTAINER, "resources"), REMOVED),
    ("containers_are_bounded", (*CONTAINER, "resources", "limits", "memory"), REMOVED),
    ("containers_are_bounded", (*CONTAINER, "resources", "requests", "cpu"), "1"),
    ("containers_are_bounded", (*CONTAINER, "resources"), {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "500m", "memory": "1Gi"}}),
    ("containers_are_bounded", (*POD, "initContainers"), [{"name": "first"}]),
    ("containers_are_bounded", (*JOB, "containers", 0, "resources"), REMOVED),
    ("pods_share_nothing_with_their_node", (*POD, "hostNetwork"), True),
    ("pods_share_nothing_with_their_node", (*POD, "hostPID"), True),
    ("pods_share_nothing_with_their_node", (*POD, "volumes", 0), {"name": "artifacts", "hostPath": {"path": "/"}}),
    ("pods_share_nothing_with_their_node", (*CONTAINER, "ports", 0, "hostPort"), 80),
    ("pods_share_nothing_with_their_node", (*JOB, "hostNetwork"), True),
    ("pods_share_nothing_with_their_node", (*JOB, "volumes", 0), {"name": "artifacts", "hostPath": {"path": "/"}}),
    ("containers_are_restricted", (*CONTAINER, "securityContext"), REMOVED),
    ("containers_are_restricted", (*CONTAINER, "securityContext", "allowPrivilegeEscalation"), REMOVED),
    ("containers_are_restricted", (*CONTAINER, "securityContext", "privileged"), True),
    ("containers_are_restricted", (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), REMOVED),
    ("containers_are_restricted", (*CONTAINER, "securityContext", "capabilities", "drop"), REMOVED),
    ("containers_are_restricted", (*CONTAINER, "securityContext", "capabilities", "add"), ["NET_ADMIN"]),
    ("containers_are_restricted", (*CONTAINER, "securityContext", "runAsNonRoot"), False),
    ("containers_are_restricted", (*POD, "securityContext", "runAsNonRoot"), REMOVED),
    ("containers_are_restricted", (*POD, "securityContext", "runAsUser"), 0),
    ("containers_are_restricted", (*POD, "securityContext", "seccompProfile"), REMOVED),
    ("containers_are_restricted", (*POD, "initContainers"), [{"name": "first"}]),
    ("containers_are_restricted", (*JOB, "containers", 0, "securityContext"), REMOVED),
    ("containers_are_restricted", (*JOB, "securityContext", "runAsNonRoot"), REMOVED),
    ("namespace_refuses_others", ("Namespace", "metadata", "labels", "pod-security.kubernetes.io/enforce"), REMOVED),
    ("models_are_read_only", (*CONTAINER, "volumeMounts", 0, "readOnly"), REMOVED),
    ("models_are_read_only", (*POD, "volumes", 0, "persistentVolumeClaim", "readOnly"), False),
    ("models_are_read_only", ("PersistentVolumeClaim", "metadata", "name"), "models"),
    ("models_are_read_only", (*COMPOSE, "volumes", 0, "read_only"), REMOVED),
    ("models_are_read_only", (*CONTAINER, "volumeMounts", 0, "mountPath"), "/models"),
    ("jobs_write_the_store_that_is_read", ("PersistentVolumeClaim", "spec", "accessModes"), ["ReadOnlyMany"]),
    ("jobs_write_the_store_that_is_read", (*JOB, "volumes", 0, "persistentVolumeClaim", "readOnly"), True),
    ("jobs_write_the_store_that_is_read", (*JOB, "volumes", 0, "persistentVolumeClaim", "claimName"), "models"),
    ("jobs_write_the_store_that_is_read", (*JOB, "containers", 0, "volumeMounts", 0, "readOnly"), True),
    ("jobs_write_the_store_that_is_read", (*JOB, "securityContext", "fsGroup"), REMOVED),
    ("jobs_write_the_store_that_is_read", (*JOB, "containers", 0, "args", -1), "--artifacts=/artifacts/other"),
    ("something_may_be_written_to", (*CONTAINER, "volumeMounts", 1), REMOVED),
    ("something_may_be_written_to", (*JOB, "containers", 0, "volumeMounts", 1), REMOVED),
    ("something_may_be_written_to", (*COMPOSE, "tmpfs"), []),
    ("something_may_be_written_to", ("dockerfile", "ENV"), ["PYTHONDONTWRITEBYTECODE=1"]),
    ("environment_is_its_own", (*POD, "enableServiceLinks"), REMOVED),
    ("environment_is_its_own", (*POD, "automountServiceAccountToken"), REMOVED),
    ("environment_is_its_own", (*JOB, "automountServiceAccountToken"), REMOVED),
    ("traffic_is_let_in_by_name", ("NetworkPolicy", "spec", "policyTypes"), ["Ingress"]),
    ("traffic_is_let_in_by_name", ("NetworkPolicy", "spec", "egress"), [{}]),
    ("traffic_is_let_in_by_name", ("NetworkPolicy", "spec", "egress"), REMOVED),
    ("traffic_is_let_in_by_name", ("NetworkPolicy", "spec", "ingress", 0, "from"), REMOVED),
    ("traffic_is_let_in_by_name", ("NetworkPolicy", "spec", "ingress", 0, "from", 0, "namespaceSelector"), {}),
    *(
        ("compose_confines", (*COMPOSE, key), REMOVED)
        for key in ("read_only", "cap_drop", "security_opt", "mem_limit", "cpus", "pids_limit", "healthcheck")
    ),
    ("compose_confines", ("compose", "services", "prometheus", "read_only"), REMOVED),
    ("compose_confines", (*COMPOSE, "ports", 0), "8000:8000"),
    ("image_is_pinned_and_plain", ("dockerfile", "ARG", 0), "BASE=python:3.11-slim-bookworm"),
    ("image_is_pinned_and_plain", ("dockerfile", "ARG", 0), "BASE=python:latest"),
    ("image_is_pinned_and_plain", ("dockerfile", "FROM", 0), REMOVED),
    ("image_is_pinned_and_plain", ("dockerfile", "FROM", 1), REMOVED),
    ("image_is_pinned_and_plain", ("dockerfile", "FROM", 1), "build"),
    ("image_is_pinned_and_plain", ("dockerfile", "FROM", 1), "python:latest"),
    ("image_is_pinned_and_plain", ("dockerfile", "COPY", 3), REMOVED),
    ("image_is_pinned_and_plain", ("dockerfile", "COPY", 3), "/opt/serve /opt/serve"),
    ("image_is_pinned_and_plain", ("dockerfile", "USER", 0), "0:0"),
    ("image_is_pinned_and_plain", (*POD, "securityContext", "runAsUser"), 10002),
    ("image_is_pinned_and_plain", ("dockerfile", "ENV"), ["HOME=/tmp"]),
    ("containers_are_probed", (*CONTAINER, "startupProbe"), REMOVED),
    ("containers_are_probed", (*CONTAINER, "livenessProbe"), REMOVED),
    ("containers_are_probed", (*CONTAINER, "readinessProbe"), REMOVED),
    ("containers_are_probed", (*CONTAINER, "livenessProbe", "httpGet", "path"), "/readyz"),
    ("containers_are_probed", (*CONTAINER, "readinessProbe", "httpGet", "port"), "metrics"),
    ("selectors_match", ("Deployment", "spec", "template", "metadata", "labels"), {"app": "serve-api"}),
    ("selectors_match", ("Service", "spec", "selector"), {}),
    ("selectors_match", ("PodDisruptionBudget", "spec", "selector", "matchLabels"), {"app": "serve-api"}),
    ("selectors_match", ("NetworkPolicy", "spec", "podSelector", "matchLabels"), {"app": "serve-api"}),
    ("selectors_match", (*POD, "topologySpreadConstraints", 0, "labelSelector", "matchLabels"), {"app": "serve-api"}),
    ("replicas_are_spread", (*POD, "topologySpreadConstraints"), REMOVED),
    ("replicas_are_spread", (*POD, "topologySpreadConstraints", 0), REMOVED),
    *(("namespaces_match", (kind, "metadata", "namespace"), REMOVED) for kind in deployment_agreement._NAMESPACED),
    ("ports_agree", ("dockerfile", "EXPOSE", 0), "8080"),
    ("ports_agree", (*ARGS, 2), "--port=8080"),
    ("ports_agree", (*CONTAINER, "ports", 0, "containerPort"), 8080),
    ("ports_agree", (*COMPOSE, "command", 5), "--port=8080"),
    ("ports_agree", (*COMPOSE, "ports", 0), "127.0.0.1:8000:8080"),
    ("ports_agree", (*COMPOSE, "healthcheck", "test", 4), "--port=8080"),
    ("ports_agree", ("dockerfile", "HEALTHCHECK", 0), 'CMD ["python", "-m", "serve_api.health_check"]'),
    ("ports_agree", ("Service", "spec", "ports", 0, "targetPort"), "web"),
    ("ports_agree", ("NetworkPolicy", "spec", "ingress", 0, "ports", 0, "port"), 8080),
    ("ports_agree", ("prometheus", "scrape_configs", 0, "static_configs", 0, "targets", 0), "serve-api:8080"),
    ("disruption_leaves_enough", ("Deployment", "spec", "replicas"), 1),
    ("disruption_leaves_enough", ("PodDisruptionBudget", "spec", "maxUnavailable"), 0),
    ("disruption_leaves_enough", ("Deployment", "spec", "strategy", "rollingUpdate", "maxUnavailable"), 1),
    ("disruption_leaves_enough", ("Deployment", "spec", "strategy", "rollingUpdate", "maxSurge"), 0),
    ("it_ends_in_time", (*POD, "terminationGracePeriodSeconds"), 40),
    ("it_ends_in_time", (*CONTAINER, "lifecycle"), REMOVED),
    ("it_ends_in_time", (*ARGS, -1), "--drain-max=60s"),
    ("it_ends_in_time", (*ARGS, -2), "--drain-delay=0s"),
    ("it_ends_in_time", (*COMPOSE, "stop_grace_period"), "30s"),
    ("scaling_starts_from_the_plan", (*HPA, "minReplicas"), 1),
    ("scaling_starts_from_the_plan", (*HPA, "maxReplicas"), 3),
    ("scaling_starts_from_the_plan", (*HPA, "scaleTargetRef", "name"), "serve"),
    ("scaling_starts_from_the_plan", (*HPA, "metrics", 0, "pods", "target", "averageValue"), "200"),
    ("scaling_starts_from_the_plan", (*HPA, "metrics", 0, "type"), "Resource"),
    ("a_growing_queue_is_longer_than_a_batch", (*ARGS, 3), "--batch-size-max=64"),
    ("health_is_checked", (*COMPOSE, "healthcheck", "test", 3), "serve_api"),
    ("health_is_checked", (*COMPOSE, "healthcheck", "test", 5), "--end-hung=7"),
    ("health_is_checked", (*COMPOSE, "restart"), "no"),
    ("health_is_checked", ("dockerfile", "HEALTHCHECK", 0), 'CMD ["true"]'),
    ("memory_is_enough", (*ARGS, 6), "--connections-max=16384"),
    ("memory_is_enough", (*ARGS, 6), REMOVED),
    ("memory_is_enough", (*ARGS, 7), "--open-bytes-max=536870912"),
    ("memory_is_enough", (*CONTAINER, "resources", "limits", "memory"), "512Mi"),
    ("memory_is_enough", (*COMPOSE, "mem_limit"), "512m"),
    ("memory_is_enough", (*CONTAINER, "resources", "limits", "memory"), "1550Mi"),
    ("memory_is_enough", (*COMPOSE, "mem_limit"), "1550m"),
    ("memory_is_enough", (*ARGS, 5), "--queue-max=65536"),
    ("jobs_are_no_replicas", (*JOB[:4], "metadata", "labels", "app.kubernetes.io/name"), "serve-api"),
    ("jobs_are_no_replicas", (*JOB[:4], "metadata", "labels", "app.kubernetes.io/part-of"), REMOVED),
    ("jobs_are_no_replicas", (*JOB, "restartPolicy"), "OnFailure"),
    ("jobs_are_no_replicas", (*JOB[:3], "backoffLimit"), 6),
    ("jobs_are_no_replicas", (*JOB[:3], "activeDeadlineSeconds"), REMOVED),
    ("jobs_are_no_replicas", (*JOB[:2], "metadata", "generateName"), REMOVED),
    ("commands_are_lists_of_words", (*CONTAINER, "command"), ["sh", "-c", "python -m serve_api"]),
    ("image_holds_what_is_run", ("dockerfile", "COPY"), ["capacity capacity"]),
    ("image_holds_what_is_run", ("dockerignore",), ["*", "!capacity"]),
    ("image_holds_what_is_run", ("dockerignore", 1), "# everything"),
    ("images_are_of_this_version", (*CONTAINER, "image"), "serve-api:latest"),
    ("images_are_of_this_version", (*COMPOSE, "image"), "serve-api:0.0.9"),
    ("images_are_of_this_version", ("compose", "services", "prometheus", "image"), "prom/prometheus"),
    ("images_are_of_this_version", (*JOB, "containers", 0, "image"), "serve-api-models:v1.0.0"),
    ("images_are_of_this_version", ("jobs", "rollback", "spec", "template", "spec", "containers", 0, "image"), "serve-api:latest"),
    ("prometheus_finds_all", ("prometheus", "rule_files"), ["rules.yml", "more.yml"]),
    ("prometheus_finds_pods", (*SCRAPE, "job_name"), "kubernetes-pods"),
    ("prometheus_finds_pods", ("prometheus in Kubernetes", "rule_files"), []),
    ("prometheus_finds_pods", (*SCRAPE, "kubernetes_sd_configs", 0, "role"), "node"),
    ("prometheus_finds_pods", (*SCRAPE, "kubernetes_sd_configs", 0, "namespaces", "names"), ["default"]),
    ("prometheus_finds_pods", (*SCRAPE, "relabel_configs", 0, "regex"), "serve-api;web"),
    ("prometheus_finds_pods", (*SCRAPE, "relabel_configs", 3), {}),
    ("prometheus_finds_pods", ("Deployment", "spec", "template", "metadata", "annotations"), {"prometheus.io/scrape": "true"}),
    ("prometheus_finds_pods", ("Role", "rules", 0, "verbs"), ["get"]),
    ("prometheus_finds_pods", ("RoleBinding", "roleRef", "name"), "admin"),
    ("prometheus_finds_pods", ("RoleBinding", "subjects", 0, "namespace"), "default"),
    ("prometheus_finds_all", ("prometheus", "scrape_configs", 0, "job_name"), "serve"),
    ("prometheus_finds_all", ("prometheus", "scrape_configs", 0, "static_configs", 0, "targets", 0), "serve:8000"),
]  # fmt: skip


@pytest.fixture(scope="module")
def files():
    return documents()


def broken(files: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """The files with something else at a place, or nothing."""
    changed = copy.deepcopy(files)
    *way, last = place
    inner = changed
    for step in way:
        inner = inner[step]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return changed


@pytest.mark.parametrize("name", RULES)
def test_rule_is_kept(name, files):
    assert list(RULES[name](files)) == []


@pytest.mark.parametrize(("name", "place", "value"), BROKEN)
def test_rule_sees_what_breaks_it(name, place, value, files):
    assert list(RULES[name](broken(files, place, value)))


def test_every_rule_has_been_broken():
    assert {name for name, _, _ in BROKEN} == set(RULES)
